"""Disentanglement of codes: does every factor that made the data have a latent of its own?

All scores are functions of codes ``(n, d)`` and of the factors ``(n, k)`` behind the same samples; nothing here knows a model.
A factor is discrete (any values, each many times) or continuous. Deterministic codes (posterior means) are the usual choice.
A score comes as a :class:`Metric`: value and interval, beside its floor (the same score of pure noise, measured) and its
ceiling (the same score of the factors themselves as codes, measured unless a function says otherwise). **Read the value
against both**: for some scores the floor is 0.66, for others the ceiling is 0.9.

- :func:`beta_vae`, 1/k to 1: does a linear probe tell which factor was held fixed? Blind to rotation (entangled codes get
  0.9), and saturates early.
- :func:`factor_vae`, 1/k to 1: does the latent of least variance tell it? Several latents for one factor cost nothing, and dead
  latents win unless they are pruned.
- :func:`mig`, 0 to 1: gap in information between a factor's best latent and its second. A factor in two latents (sine and
  cosine) gets 0; few bins cap it.
- :func:`dci`, 0 to 1: is a latent important for one factor only (D), a factor predicted by one latent only (C), and how
  well (I)? The importances of correlated latents are not unique.
- :func:`sap`, 0 to 1: gap in linear predictability between a factor's best latent and its second. A line cannot tell more
  than three ordered classes apart on one latent: the factors of dSprites themselves get 0.25.
- :func:`modularity`, 0 to 1: does a latent inform about one factor only? Dead latents count like live ones; noise gets 0.66.
- :func:`explicitness`, 0.5 to 1 (0 to 1 for continuous factors): does a linear probe of all latents know the factor? Blind to
  rotation: not about disentanglement at all.
- :func:`irs`, 0 to 1: does a latent stay put while other factors vary? Noise gets 0.4, and what it gets depends on n.
- :func:`gaussian_total_correlation`, :func:`gaussian_wasserstein`, :func:`mutual_information_score`, from 0, **lower is
  better**: are latents independent of each other? Independent latents need not be aligned with factors. Their floor is what
  independent latents get, and they have no ceiling.
- :func:`udr`, 0 to 1: do several trained models agree on their latents? An entangled optimum that every seed finds agrees too.

Sources: Higgins et al. 2017; Kim and Mnih 2018; Chen et al. 2018; Eastwood and Williams 2018; Kumar et al. 2018; Ridgeway and
Mozer 2018; Suter et al. 2019; Duan et al. 2020; estimators and parameters as in the study of Locatello et al. 2019, except that
groups of samples that share a factor are drawn from the rows given rather than from a simulator. Scores that train probes do
so on a random two thirds of the rows and score the other third. Information is in nats, by counting, after latents and
continuous factors are cut into ``bins`` bins of equal width between their extremes.

Intervals hold 95% of bootstrap values, shifted so that their median is the value: counts of resampled rows overstate
information (and gaps, and maxima) once more than the rows themselves do. What is resampled is said per score; probes are
never trained again, so what training on other rows would have changed is not in the interval.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from labelspace.metrics.agreement import udr
from labelspace.metrics.fixed_factor import beta_vae, factor_vae
from labelspace.metrics.independence import gaussian_total_correlation, gaussian_wasserstein, irs
from labelspace.metrics.information import mig, modularity, modularity_of, mutual_information, mutual_information_score
from labelspace.metrics.predictability import completeness_of, dci, disentanglement_of, explicitness, sap
from labelspace.metrics.scoring import Binning, Discrete, Metric

__all__ = [
    "Metric",
    "beta_vae",
    "completeness_of",
    "dci",
    "disentanglement_of",
    "explicitness",
    "factor_vae",
    "gaussian_total_correlation",
    "gaussian_wasserstein",
    "irs",
    "mig",
    "modularity",
    "modularity_of",
    "mutual_information",
    "mutual_information_score",
    "sap",
    "suite",
    "udr",
]


def suite(
    codes: np.ndarray,
    factors: np.ndarray,
    *,
    discrete: Discrete = None,
    bins: int = 20,
    binning: Binning = "width",
    prune: float = 0.05,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """All scores of one representation as plain data, by name.

    Args:
        codes: ``(n, d)``, at least two latents.
        factors: ``(n, k)``, at least two factors of numbers, booleans or words. Scores of single factors take ``(n,)`` too.
        discrete: which factors' values are classes: one bool for all, or one per factor. By default integers, booleans and
            words are, and floats that are all whole numbers, some of them more than once; other floats are continuous.
        bins: per latent and continuous factor.
        binning: "width", between the extremes, as papers have it, or "quantile", of as many samples each. One outlier leaves
            all others in one bin of equal width; a note (a warning) says so.
        prune: standard deviation below which :func:`factor_vae` leaves a latent out.
        seed: of splits, votes, noise and resampling.

    Raises:
        UserError: for arrays that cannot be scored: shapes, NaN, constant factors, too few samples.
    """
    given: dict[str, Any] = {"discrete": discrete, "bins": bins, "seed": seed}
    d, c, i = dci(codes, factors, **given)
    metrics = {
        "beta_vae": beta_vae(codes, factors, **given),
        "factor_vae": factor_vae(codes, factors, prune=prune, **given),
        "mig": mig(codes, factors, binning=binning, **given),
        "dci_disentanglement": d,
        "dci_completeness": c,
        "dci_informativeness": i,
        "sap": sap(codes, factors, **given),
        "modularity": modularity(codes, factors, binning=binning, **given),
        "explicitness": explicitness(codes, factors, **given),
        "irs": irs(codes, factors, **given),
        "gaussian_total_correlation": gaussian_total_correlation(codes, seed=seed),
        "gaussian_wasserstein": gaussian_wasserstein(codes, seed=seed),
        "mutual_information_score": mutual_information_score(codes, bins=bins, binning=binning, seed=seed),
    }
    return {name: metric.to_dict() for name, metric in metrics.items()}
