"""Metrics of codes, predictions and samples: functions of plain arrays, without a model, a data set or torch.

``from labelspace.metrics import mig, suite``: functions of ``codes (n, d)`` and ``factors (n, k)`` or ``(n,)``, or of what they
name. What each says, with floors and ceilings, is in docs/metrics.md and in the file::

    name                       what it measures                                    paper                   file

    One latent per factor?
    mig                        gap in information between best latent and second   Chen 2018               information.py
    dci                        disentanglement, completeness, informativeness      Eastwood, Williams 2018 predictability.py
    sap                        gap in linear predictability of best and second     Kumar 2018              predictability.py
    modularity                 whether a latent informs about one factor only      Ridgeway, Mozer 2018    information.py
    explicitness               whether a linear probe knows the factor             Ridgeway, Mozer 2018    predictability.py
    beta_vae                   whether a linear probe tells which factor is fixed  Higgins 2017            fixed_factor.py
    factor_vae                 whether the latent of least variance tells it       Kim, Mnih 2018          fixed_factor.py
    irs                        how little a latent moves while its factor is fixed Suter 2019              independence.py
    mcc                        correlation of latents and sources, one to one      Khemakhem 2020          matching.py
    mutual_information         nats of every latent and factor, a matrix           Chen 2018               information.py
    suite                      all scores of codes and factors at once             Locatello 2019          disentanglement.py

    Without factors
    udr                        whether several models agree on their latents       Duan 2020               agreement.py
    mcc_between                correlation of their latents, one to one            Khemakhem 2020          matching.py
    gaussian_total_correlation dependence of Gaussian latents, in nats             Locatello 2019          independence.py
    gaussian_wasserstein       the same as a distance                              Locatello 2019          independence.py
    mutual_information_score   information between latents, in nats                Locatello 2019          information.py
    active_units               latents whose mean varies                           Burda 2016              leakage.py
    block_use                  KL, active units and collapse of blocks             Burda 2016              leakage.py

    Does a code know a label?
    probe                      balanced accuracy of small fresh classifiers        Alain, Bengio 2016      leakage.py
    probe_nats                 what they find, in nats                             Xu 2020                 leakage.py
    probe_scores               both and the area under the ROC curve, trained once                         leakage.py
    reader_scores              the same of anybody's reader                                                leakage.py
    probe_values               R^2 of fresh regressions                            Alain, Bengio 2016      leakage.py
    strong_probe               balanced accuracy of a large fresh classifier                               leakage.py
    entropy                    nats that can be known about a label                                        leakage.py
    nearest_neighbour_kl       KL between two sets of codes, in nats               Wang 2009               leakage.py
    kl_permuted                its floor: the same under shuffled labels                                   leakage.py
    kl_floor                   its floor for Gaussian codes                                                leakage.py

    Are predictions right?
    accuracy                   share of right classes                                                      prediction.py
    balanced_accuracy          the same as a mean over classes                                             prediction.py
    log_loss                   nats per label                                                              prediction.py
    brier                      squared error of probabilities                      Brier 1950              prediction.py
    calibration_error          expected calibration error, and its floor           Naeini 2015             prediction.py
    r_squared                  explained variance of predicted numbers                                     prediction.py
    interval_coverage          share of truths inside predicted intervals                                  prediction.py

    Are generated samples like real ones?
    frechet                    distance of Gaussians fitted to features            Heusel 2017             generation.py
    kernel_distance            maximum mean discrepancy, unbiased                  Binkowski 2018          generation.py
    inception_style_score      sure classes, and many of them                      Salimans 2016           generation.py
    precision_recall           precision, recall, density, coverage                Naeem 2020              generation.py
    real_halves                what real samples get                                                       generation.py
    two_sample_auc             whether drawn rows of a table can be told       Lopez-Paz, Oquab 2017   rows.py
    gaussian_copula            rows of the simplest model to compare with      Patki 2016              rows.py
    read_as_asked              whether drawn rows have the class asked for                             rows.py
    missing_like               drawn rows with missing cells as real ones have                         rows.py
    intra_class                spread within a class beside that of real ones                              diversity.py
    style_coverage             true styles that draws hit                                                  diversity.py
    variance_map               where in the picture draws differ                                           diversity.py

    Which latent carries a measured property?
    within_class               R^2 of latents and properties within classes                                alignment.py
    traversal                  what moving a latent does to properties                                     alignment.py
    measure_traversal          decodes and measures such traversals                                        alignment.py
    morphology                 stroke thickness, slant, width of digits (module)   Castro 2019             morphology.py

    What they return
    Metric                     score, floor, ceiling, parameters                                           scoring.py
    Score                      value, bootstrap 95% interval, sample size                                  scores.py
    mean, column_means         such scores of values per sample                                            scores.py
    statistic                  such a score of any statistic                                               scores.py
    balanced_rate, wilson      balanced accuracy of answers; interval of a rate        Wilson 1927             scores.py
    is_discrete                which factors count as classes where nothing is said                        scoring.py
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelspace.metrics.agreement import udr
    from labelspace.metrics.alignment import measure_traversal, traversal, within_class
    from labelspace.metrics.disentanglement import suite
    from labelspace.metrics.diversity import intra_class, style_coverage, variance_map
    from labelspace.metrics.fixed_factor import beta_vae, factor_vae
    from labelspace.metrics.generation import frechet, inception_style_score, kernel_distance, precision_recall, real_halves
    from labelspace.metrics.independence import gaussian_total_correlation, gaussian_wasserstein, irs
    from labelspace.metrics.information import mig, modularity, mutual_information, mutual_information_score
    from labelspace.metrics.leakage import (
        active_units,
        block_use,
        entropy,
        kl_floor,
        kl_permuted,
        nearest_neighbour_kl,
        probe,
        probe_nats,
        probe_scores,
        probe_values,
        reader_scores,
        strong_probe,
    )
    from labelspace.metrics.matching import mcc, mcc_between
    from labelspace.metrics.predictability import dci, explicitness, sap
    from labelspace.metrics.prediction import (
        accuracy,
        balanced_accuracy,
        brier,
        calibration_error,
        interval_coverage,
        log_loss,
        r_squared,
    )
    from labelspace.metrics.rows import gaussian_copula, missing_like, read_as_asked, two_sample_auc
    from labelspace.metrics.scores import Score, balanced_rate, column_means, mean, statistic, wilson
    from labelspace.metrics.scoring import Metric, is_discrete

# File -> what it offers. Imported when first used, so that a metric costs no more than it needs.
_OFFERS = {
    "agreement": "udr",
    "alignment": "measure_traversal traversal within_class",
    "disentanglement": "suite",
    "diversity": "intra_class style_coverage variance_map",
    "fixed_factor": "beta_vae factor_vae",
    "generation": "frechet inception_style_score kernel_distance precision_recall real_halves",
    "independence": "gaussian_total_correlation gaussian_wasserstein irs",
    "information": "mig modularity mutual_information mutual_information_score",
    "leakage": "active_units block_use entropy kl_floor kl_permuted nearest_neighbour_kl "
    "probe probe_nats probe_scores probe_values reader_scores strong_probe",
    "matching": "mcc mcc_between",
    "predictability": "dci explicitness sap",
    "prediction": "accuracy balanced_accuracy brier calibration_error interval_coverage log_loss r_squared",
    "rows": "gaussian_copula missing_like read_as_asked two_sample_auc",
    "scores": "Score balanced_rate column_means mean statistic wilson",
    "scoring": "Metric is_discrete",
}
_WHERE = {name: file for file, names in _OFFERS.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'labelspace.metrics' has no attribute {name!r}")
    return getattr(importlib.import_module(f"labelspace.metrics.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return __all__


__all__ = [
    "Metric",
    "Score",
    "accuracy",
    "active_units",
    "balanced_accuracy",
    "balanced_rate",
    "beta_vae",
    "block_use",
    "brier",
    "calibration_error",
    "column_means",
    "dci",
    "entropy",
    "explicitness",
    "factor_vae",
    "frechet",
    "gaussian_copula",
    "gaussian_total_correlation",
    "gaussian_wasserstein",
    "inception_style_score",
    "interval_coverage",
    "intra_class",
    "irs",
    "is_discrete",
    "kernel_distance",
    "kl_floor",
    "kl_permuted",
    "log_loss",
    "mcc",
    "mcc_between",
    "mean",
    "measure_traversal",
    "mig",
    "missing_like",
    "modularity",
    "mutual_information",
    "mutual_information_score",
    "nearest_neighbour_kl",
    "precision_recall",
    "probe",
    "probe_nats",
    "probe_scores",
    "probe_values",
    "r_squared",
    "read_as_asked",
    "reader_scores",
    "real_halves",
    "sap",
    "statistic",
    "strong_probe",
    "style_coverage",
    "suite",
    "traversal",
    "two_sample_auc",
    "udr",
    "variance_map",
    "wilson",
    "within_class",
]
