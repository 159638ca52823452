"""Named latent blocks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labelspace.blocks import Block, Blocks, Latents, concatenate, modes, sample
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import UserError

BLOCKS = Blocks([Block("z", 3), Block("w_hat", 2, "hat"), Block("w_beard", 1, "beard")])


def codes(n: int = 4) -> Latents[torch.Tensor]:
    return BLOCKS.split(torch.arange(n * 6, dtype=torch.float32).reshape(n, 6))


@st.composite
def any_blocks(draw: st.DrawFn) -> Blocks:
    names = draw(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=5, unique=True))
    return Blocks(Block(name, draw(st.integers(1, 6))) for name in names)


@given(any_blocks(), st.integers(0, 4))
def test_split_is_the_inverse_of_concatenate(blocks: Blocks, n: int):
    code = torch.randn(n, blocks.size)
    latents = blocks.split(code)
    assert list(latents) == [block.name for block in blocks]
    assert [part.shape for part in latents.values()] == [(n, block.size) for block in blocks]
    assert torch.equal(concatenate(latents), code)
    again = blocks.split(concatenate(latents))
    assert all(torch.equal(again[name], latents[name]) for name in latents)


@given(any_blocks(), st.randoms())
def test_the_order_is_the_models_whatever_order_parts_are_given_in(blocks: Blocks, random):
    whole = blocks.split(torch.randn(2, blocks.size))
    names = list(whole)
    random.shuffle(names)
    assert torch.equal(concatenate(Latents(blocks, {name: whole[name] for name in names})), concatenate(whole))
    assert list(whole.take(names)) == list(whole)


def test_sizes_and_lookups():
    assert BLOCKS.size == 6
    assert [block.name for block in BLOCKS.free] == ["z"]
    assert BLOCKS.of("beard").name == "w_beard"
    assert BLOCKS.named("w_hat").label == "hat"


def test_lookups_name_what_is_missing_and_what_there_is():
    with pytest.raises(UserError, match="did you mean 'w_hat'"):
        BLOCKS.named("w_hut")
    with pytest.raises(UserError, match=r"'smile'.*hat, beard"):
        BLOCKS.of("smile")
    with pytest.raises(UserError, match="same name"):
        Blocks([Block("z", 1), Block("z", 2)])


def test_split_refuses_a_code_of_another_size():
    with pytest.raises(UserError, match=r"7 .*6"):
        BLOCKS.split(torch.zeros(1, 7))


def test_replace_returns_new_latents_and_leaves_the_old():
    old = codes()
    before = concatenate(old).clone()
    new = old.replace({"w_hat": torch.zeros(4, 2)})
    assert torch.equal(concatenate(old), before)
    assert torch.equal(new["w_hat"], torch.zeros(4, 2))
    assert torch.equal(new["z"], old["z"])
    assert new.blocks == old.blocks


def test_latents_cannot_be_assigned_to_and_do_not_follow_the_dictionary_they_came_from():
    parts = dict(codes())
    latents = Latents(BLOCKS, parts)
    parts["z"] = torch.zeros(4, 3)
    assert not torch.equal(latents["z"], parts["z"])
    with pytest.raises(TypeError):
        latents["z"] = torch.zeros(4, 3)  # type: ignore[index]


def test_take_keeps_only_some_blocks():
    some = codes().take(["w_beard", "z"])
    assert list(some) == ["z", "w_beard"]
    assert some.blocks.size == 4
    assert torch.equal(concatenate(some), torch.cat([codes()["z"], codes()["w_beard"]], 1))


def test_rows_select_samples_of_codes_and_distributions():
    assert torch.equal(concatenate(codes().rows([2, 0])), concatenate(codes())[[2, 0]])
    assert torch.equal(concatenate(codes().rows(slice(1, 3))), concatenate(codes())[1:3])
    beliefs = codes().map(lambda part: DiagonalGaussian(part, torch.ones_like(part)))
    assert torch.equal(beliefs.rows(torch.tensor([3]))["z"].mean, codes()["z"][3:])


def test_map_applies_to_every_block():
    assert torch.equal(concatenate(codes().map(lambda part: part + 1)), concatenate(codes()) + 1)


def test_samples_and_modes_of_distributions():
    beliefs = codes().map(lambda part: DiagonalGaussian(part, torch.full_like(part, 0.1)))
    assert torch.equal(concatenate(modes(beliefs)), concatenate(codes()))
    first, second = (concatenate(sample(beliefs, torch.Generator().manual_seed(0))) for _ in range(2))
    assert torch.equal(first, second)
    assert (first - concatenate(codes())).abs().max() < 1


def test_errors_name_the_block():
    good = dict(codes())
    with pytest.raises(UserError, match="'w_beard'"):
        Latents(BLOCKS, {name: part for name, part in good.items() if name != "w_beard"})
    with pytest.raises(UserError, match=r"'w_hat'.*2.*5"):
        codes().replace({"w_hat": torch.zeros(4, 5)})
    with pytest.raises(UserError, match="'w_hut'"):
        codes().replace({"w_hut": torch.zeros(4, 2)})
    with pytest.raises(UserError, match="'w_hut'"):
        codes().take(["w_hut"])
    with pytest.raises(UserError, match="'w_hut'"):
        codes()["w_hut"]


def test_a_block_has_at_least_one_coordinate():
    with pytest.raises(UserError, match="'z' needs at least one coordinate, got 0"):
        Block("z", 0)
