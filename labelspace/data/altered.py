"""The same samples, split or labelled otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from labelspace.data.splits import SPLITS, Split
from labelspace.errors import UserError, unknown

if TYPE_CHECKING:
    from labelspace.data.dataset import Dataset


def grouped(data: Dataset, name: str, seed: int) -> Dataset:
    """See :meth:`~labelspace.data.dataset.Dataset.group`."""
    groups = _groups(data, name)
    together = replace(data, grouped=name)
    homes = [set(np.unique(groups[rows])) for rows in data.splits.values()]
    if sum(map(len, homes)) == len(set().union(*homes)):
        return together
    _, codes = np.unique(groups, return_inverse=True)
    order = np.random.default_rng([seed, 3]).permutation(codes.max() + 1)
    if len(order) < len(data.splits):
        raise UserError(
            f"{data.address}: {name!r} has {len(order)} groups, too few for {len(data.splits)} splits that share none"
        )
    sizes = np.bincount(codes)[order]
    taken, splits = 0, {}
    behind = len(data.splits)
    for split in sorted(data.splits, key=lambda split: len(data.splits[split])):  # the largest gets what is left
        behind -= 1
        end = taken + 1
        while behind and end < len(order) - behind and sizes[taken:end].sum() < len(data.splits[split]):
            end += 1
        chosen = order[taken : end if behind else len(order)]
        splits[split] = np.flatnonzero(np.isin(codes, chosen))
        taken = end
    note = f"split so that samples of one {name} are in one split (seed {seed})"
    return replace(together, splits={split: splits[split] for split in SPLITS if split in splits}, notes=(*data.notes, note))


def _groups(data: Dataset, name: str) -> np.ndarray:
    """Per sample a text that samples of its group share."""
    if name in data.keys:
        groups, known = data.keys[name], data.keys[name] != ""
    elif name in data.schema.names and data.schema[name].discrete:
        column = data.schema.index(name)
        groups, known = data.values[:, column].astype(int).astype(str), data.observed[:, column]
    else:
        discrete = [label.name for label in data.schema if label.discrete]
        raise unknown("group", name, [*data.keys, *discrete])
    return np.where(known, np.char.add("=", groups.astype(str)), np.arange(len(data)).astype(str))


def hidden(data: Dataset, supervision: float, seed: int) -> Dataset:
    """See :meth:`~labelspace.data.dataset.Dataset.hide`."""
    if not 0 < supervision <= 1:
        raise UserError(f"supervision is the fraction of samples whose labels are used, above 0 up to 1; got {supervision}")
    if supervision == 1:
        return data
    observed = data.observed.copy()
    kept = {}
    for i, split in enumerate(_trained_on(data)):
        rows = data.rows(split)
        kept[split] = max(1, round(supervision * len(rows)))
        observed[np.random.default_rng([seed, i]).permutation(rows)[kept[split] :]] = False
    note = (
        f"labels of {kept['train']:,} of {len(data.rows('train')):,} training samples are used "
        f"(supervision {supervision:g}, seed {seed})"
    )
    values = np.where(observed, data.values, 0).astype(data.values.dtype)
    return replace(data, values=values, observed=observed, notes=(*data.notes, note), supervision=supervision)


def mislabelled(data: Dataset, share: float, seed: int) -> Dataset:
    """See :meth:`~labelspace.data.dataset.Dataset.with_label_noise`."""
    if not 0 <= share < 1:
        raise UserError(f"label_noise is the fraction of labels that are wrong, from 0 up to below 1; got {share}")
    if share == 0:
        return data
    values = data.values.copy()
    rng = np.random.default_rng([seed, 2])
    rows = np.concatenate([data.rows(split) for split in _trained_on(data)])
    for i, label in enumerate(data.schema):
        wrong = rows[(rng.random(len(rows)) < share) & data.observed[rows, i]]
        if label.discrete:
            shift = rng.integers(1, len(label.values), len(wrong))
            values[wrong, i] = (values[wrong, i] + shift) % len(label.values)
        else:
            taken = rng.permutation(wrong)
            values[taken, i] = values[np.roll(taken, 1), i]  # each the next one's, so that none keeps its own
    note = f"{100 * share:g}% of the labels for training are wrong on purpose (seed {seed})"
    return replace(data, values=values, notes=(*data.notes, note), label_noise=share)


def _trained_on(data: Dataset) -> list[Split]:
    """The splits that training looks at."""
    return [split for split in SPLITS if split != "test" and split in data.splits]
