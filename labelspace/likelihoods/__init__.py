"""Likelihoods: how data are described given codes.

A likelihood is a module that turns a decoder's raw output into a distribution over data, so that what a decoder emits is
never squashed twice; and it says what an encoder should read (counts are read through a logarithm, tables with flags for
their missing cells). All densities are in nats, summed over the dimensions of a sample.

- :class:`Bernoulli`: entries in [0, 1], such as grey values of digits.
- :class:`Gaussian`, :class:`Laplace`: real numbers that all live on one scale. Not for columns of different units.
- :class:`NegativeBinomial`: counts whose total differs from sample to sample, such as reads of genes.
- :class:`Table`: columns of different kinds and units, cells of which may be missing. Not for images.
"""

from labelspace.likelihoods.base import DataDistribution, Likelihood
from labelspace.likelihoods.bernoulli import Bernoulli
from labelspace.likelihoods.location_scale import Gaussian, Laplace
from labelspace.likelihoods.negative_binomial import NegativeBinomial
from labelspace.likelihoods.registry import LIKELIHOODS, build_likelihood
from labelspace.likelihoods.table import Column, Table

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "Column",
    "DataDistribution",
    "Gaussian",
    "Laplace",
    "Likelihood",
    "NegativeBinomial",
    "Table",
    "build_likelihood",
]
