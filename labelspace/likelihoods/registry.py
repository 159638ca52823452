"""Likelihoods by name."""

from __future__ import annotations

import re

from labelspace.errors import UserError, unknown
from labelspace.likelihoods.base import Likelihood
from labelspace.likelihoods.bernoulli import Bernoulli
from labelspace.likelihoods.location_scale import Gaussian, Laplace, LocationScale, Scale
from labelspace.likelihoods.negative_binomial import NegativeBinomial
from labelspace.likelihoods.table import Column, Table

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "gaussian": Gaussian,
    "laplace": Laplace,
    "negative-binomial": NegativeBinomial,
    "table": Table,
}


def build_likelihood(text: str, shape: tuple[int, ...], scale: Scale, learned: bool) -> Likelihood:
    """The likelihood that a text names.

    Args:
        text: "bernoulli", "gaussian", "laplace", "negative-binomial", or "table(...)" with one of "continuous", "count" and
            "categorical:K" (K classes) per column, as in "table(continuous,categorical:3,count)".
        shape: shape of one sample.
        scale, learned: of a Gaussian or Laplace: its scale or "auto", and whether it is learned.

    Raises:
        UserError: an unknown name, or a likelihood that samples of this shape cannot have.
    """
    name = text.partition("(")[0].strip()
    if name == "table":
        listed = re.fullmatch(r"\s*table\s*\((.+)\)\s*", text)
        if not listed:
            raise UserError(f"likelihood {text!r} must list its columns, as in table(continuous,categorical:3,count)")
        return Table(shape, [Column.parse(column) for column in listed[1].split(",")])
    if text not in LIKELIHOODS:
        raise unknown("likelihood", text if name in LIKELIHOODS else name, LIKELIHOODS)
    kind = LIKELIHOODS[text]
    return kind(shape, scale, learned) if issubclass(kind, LocationScale) else kind(shape)
