"""Encoders and decoders for every shape that is promised."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from labelspace.errors import UserError
from labelspace.models.networks import Network, decoder, encoder, mlp, revive

SIDES = st.integers(8, 256)


def check_both_ways(shape: tuple[int, ...], network: Network, n: int = 2) -> None:
    x = torch.rand(n, *shape)
    trunk, features = encoder(shape, network)
    head = decoder(5, shape, network)
    with torch.no_grad():
        code = trunk(x)
        raw = head(torch.randn(n, 5))
    assert code.shape == (n, features)
    assert raw.shape == x.shape
    assert code.isfinite().all()
    assert raw.isfinite().all()


@settings(max_examples=20)
@given(st.integers(1, 4), SIDES, SIDES, st.integers(1, 2))
@example(1, 8, 8, 1)
@example(3, 256, 8, 1)
@example(4, 8, 256, 2)
@example(1, 9, 9, 1)
@example(3, 17, 33, 1)
@example(1, 28, 28, 1)
@example(2, 255, 257 - 1, 1)
def test_images_of_any_promised_size(channels: int, height: int, width: int, n: int):
    for kind in ("conv", "strided"):
        check_both_ways((channels, height, width), Network(kind, width=2), n)


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 3))
def test_vectors_of_any_size(d: int, depth: int, n: int):
    check_both_ways((d,), Network(width=4, depth=depth), n)


@pytest.mark.parametrize("activation", ["silu", "relu", "tanh", "gelu"])
@pytest.mark.parametrize("shape", [(3,), (1, 8, 8)])
def test_every_activation(shape: tuple[int, ...], activation: str):
    check_both_ways(shape, Network(width=4, activation=activation))


def test_the_strided_network_is_the_published_one_at_64():
    network = Network("strided", activation="relu")
    trunk, features = encoder((3, 64, 64), network)
    kernels = [(m.in_channels, m.out_channels, *m.kernel_size, *m.stride) for m in trunk.modules() if isinstance(m, nn.Conv2d)]
    strided = [(3, 32, 4, 4, 2, 2), (32, 32, 4, 4, 2, 2), (32, 64, 4, 4, 2, 2), (64, 128, 4, 4, 2, 2)]
    assert kernels == [*strided, (128, 256, 4, 4, 1, 1)]
    assert features == 256
    back = [m for m in decoder(45, (3, 64, 64), network).modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [(m.in_channels, m.out_channels, *m.kernel_size, *m.stride) for m in back] == [
        (256, 128, 4, 4, 1, 1),
        (128, 64, 4, 4, 2, 2),
        (64, 32, 4, 4, 2, 2),
        (32, 32, 4, 4, 2, 2),
        (32, 3, 4, 4, 2, 2),
    ]


def test_an_unknown_kind_is_refused():
    with pytest.raises(UserError, match="kind of network"):
        Network(kind="transformer")  # type: ignore[arg-type]


def test_an_mlp_may_flatten_images():
    check_both_ways((5, 7, 3), Network(kind="mlp", width=4))


def test_default_widths_take_a_batch_of_one():
    check_both_ways((3, 64, 64), Network(), n=1)
    check_both_ways((3,), Network(), n=1)


def test_gradients_reach_every_parameter():
    for shape in ((4,), (3, 21, 40)):
        trunk, features = encoder(shape, Network(width=4))
        head = decoder(features, shape, Network(width=4))
        head(trunk(torch.rand(2, *shape))).square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for m in (trunk, head) for p in m.parameters())


def test_every_pixel_is_read_and_every_pixel_is_written():
    shape = (1, 13, 22)
    trunk, _ = encoder(shape, Network(width=4))
    x = torch.rand(1, *shape, requires_grad=True)
    trunk(x).square().sum().backward()
    assert (x.grad != 0).all()  # type: ignore[operator]
    raw = decoder(5, shape, Network(width=4))(torch.randn(2, 5))
    assert (raw[0] != raw[1]).all()


def test_samples_of_a_batch_do_not_mix():
    shape = (3, 20, 11)
    trunk, _ = encoder(shape, Network(width=4))
    x = torch.rand(3, *shape)
    with torch.no_grad():
        torch.testing.assert_close(trunk(x)[1:2], trunk(x[1:2]), atol=1e-5, rtol=1e-4)


def test_a_decoders_output_is_not_squashed():
    raw = decoder(2, (1, 8, 8), Network(width=4))(1e4 * torch.randn(4, 2))
    assert raw.min() < -1
    assert raw.max() > 1


@pytest.mark.parametrize("shape", [(5, 32, 32), (0, 32, 32), (1, 7, 32), (1, 32, 7), (3, 257, 64), (3, 64, 257), (3, 1, 1)])
def test_images_outside_the_range_are_refused(shape: tuple[int, ...]):
    for make in (lambda: encoder(shape, Network()), lambda: decoder(2, shape, Network())):
        with pytest.raises(UserError, match=r"1-4 channels.*8 to 256"):
            make()


@pytest.mark.parametrize("shape", [(), (3, 4), (1, 2, 3, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]):
    with pytest.raises(UserError, match="vectors"):
        encoder(shape, Network())


def test_a_conv_network_refuses_vectors():
    with pytest.raises(UserError, match="conv"):
        encoder((3,), Network(kind="conv"))


def test_wrong_settings_are_refused():
    with pytest.raises(UserError, match="did you mean 'relu'"):
        Network(activation="rellu")
    with pytest.raises(UserError, match="width -1"):
        Network(width=-1)
    with pytest.raises(UserError, match="depth 0"):
        Network(depth=0)


def test_kinds_resolve_by_shape():
    assert Network().resolve((3,)) == "mlp"
    assert Network().resolve((3, 8, 8)) == "conv"
    assert Network(kind="mlp").resolve((3, 8, 8)) == "mlp"


def test_mlp_layers_and_linear_output():
    net = mlp(3, [4, 5], 2, "relu")
    assert [tuple(p.shape) for p in net.parameters() if p.ndim == 2] == [(4, 3), (5, 4), (2, 5)]
    assert mlp(3, [], 2)(torch.zeros(1, 3)).shape == (1, 2)


def test_revive_rebuilds_the_network_alone():
    assert revive({"network": {"width": 8}, "beta": 1.0}) == {"network": Network(width=8), "beta": 1.0}
    assert revive({"network": Network()}) == {"network": Network()}
