"""Erasure of what a linear classifier reads."""

from __future__ import annotations

import torch

from labelspace.models.parts import Erasure


def test_erasure_takes_away_what_a_linear_probe_reads_and_little_else() -> None:
    g = torch.Generator().manual_seed(0)
    y = (torch.rand(4000, 1, generator=g) < 0.3).float()
    code = torch.randn(4000, 6, generator=g)
    code[:, 2] += 2 * y[:, 0]
    code = code @ torch.randn(6, 6, generator=g)
    erasure = Erasure(6, 1)
    erasure.fix(code, y - y.mean(0))
    erased = erasure(code)

    def explained(c: torch.Tensor) -> float:
        """The share of the label's variance that a linear probe explains."""
        centred, target = c - c.mean(0), y - y.mean()
        fitted = centred @ torch.linalg.lstsq(centred, target).solution
        return float(fitted.square().mean() / target.square().mean())

    assert explained(code) > 0.4
    assert explained(erased) < 1e-6
    assert int(torch.linalg.matrix_rank(erasure.projection, atol=1e-4)) == 1


def test_running_statistics_of_erasure_approach_the_exact_ones() -> None:
    g = torch.Generator().manual_seed(0)
    running, exact = Erasure(4, 1), Erasure(4, 1)
    mix = torch.randn(4, 4, generator=g)
    codes, labels = [], []
    for _ in range(400):
        y = (torch.rand(256, 1, generator=g) < 0.5).float() - 0.5
        code = (torch.randn(256, 4, generator=g) + y * torch.tensor([0.0, 2.0, 0.0, 1.0])) @ mix
        running.update(code, y)
        codes.append(code)
        labels.append(y)
    exact.fix(torch.cat(codes), torch.cat(labels))
    assert torch.allclose(running.projection, exact.projection, atol=0.1)


def test_an_erasure_that_is_loaded_goes_on_counting_where_it_was() -> None:
    data = torch.Generator().manual_seed(0)
    codes, labels = torch.randn(8, 40, 4, generator=data), torch.randn(8, 40, 1, generator=data)
    whole, loaded = Erasure(4, 1), Erasure(4, 1)
    for i in range(3):
        whole.update(codes[i], labels[i])
    assert loaded.count == 0
    loaded.load_state_dict(whole.state_dict())
    assert loaded.count == 3
    for erasure in (whole, loaded):
        for i in range(3, 8):
            erasure.update(codes[i], labels[i])
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in whole.state_dict().items())


def test_erasure_leaves_a_code_alone_that_does_not_tell_the_label() -> None:
    g = torch.Generator().manual_seed(0)
    erasure = Erasure(4, 1)
    for _ in range(400):
        y = (torch.rand(256, 1, generator=g) < 0.5).float() - 0.5
        erasure.update(torch.randn(256, 4, generator=g), y)
    code = torch.randn(1000, 4, generator=g)
    assert torch.equal(erasure(code), code)


def test_erasure_of_labels_that_samples_lack_is_that_of_the_samples_that_have_them() -> None:
    g = torch.Generator().manual_seed(0)
    whole, part = Erasure(3, 2), Erasure(3, 2)
    y = (torch.rand(4000, 2, generator=g) < 0.5).float() - 0.5
    code = torch.randn(4000, 3, generator=g)
    code[:, :2] += y
    whole.fix(code, y)
    seen = torch.rand(4000, 2, generator=g) < 0.5
    part.fix(code, y * seen, seen.float().mean(0))
    torch.testing.assert_close(part.projection, whole.projection, atol=0.15, rtol=0)


def test_what_noise_hides_of_a_label_is_left_alone() -> None:
    g = torch.Generator().manual_seed(0)
    y = (torch.rand(4000, 1, generator=g) < 0.5).float() - 0.5
    code = 0.02 * torch.randn(4000, 3, generator=g)
    code[:, :1] += 0.1 * y
    quiet, noisy = Erasure(3, 1), Erasure(3, 1)
    quiet.fix(code, y)
    noisy.fix(code, y, noise=torch.ones(3))
    assert torch.equal(noisy(code), code)
    assert float((quiet(code)[:, :1] * y).mean().abs()) < 1e-5 < float((code[:, :1] * y).mean())


def test_what_chance_explains_of_few_samples_is_left_alone() -> None:
    g = torch.Generator().manual_seed(0)
    kept = 0
    for _ in range(50):
        code, y = torch.randn(100, 4, generator=g), (torch.randperm(100, generator=g)[:, None] % 2) - 0.5
        few, many = Erasure(4, 1), Erasure(4, 1)
        few.samples.fill_(100)
        for erasure in (few, many):
            erasure.fix(code, y)
        kept += torch.equal(few(code), code)
        code[:, 0] += 3 * y[:, 0]
        few.fix(code, y)
        assert float((few(code) * y).mean(0).abs().max()) < 5e-3, "what labels do is taken away all the same"
    assert kept > 40
