"""What every term that a log line, a table or a report shows means, in one line: ``labelspace explain``, and hover text.

A meaning is written once. Training options, model arguments and data settings have theirs in a docstring (``Options``, the
model's class, :func:`labelspace.data.sources.open`), and so has what one function measures; they are read from there. The table
below holds the rest. Its entries are found by their term and by other names of it, whatever the case and whether words are
joined by ``_``, ``-`` or spaces; ``*`` in a name stands for a label's or a block's.
"""

from __future__ import annotations

import fnmatch
import functools
import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from labelspace.errors import unknown

_FROM_DATA = ("self", "shape", "schema", "frequencies")  # of a model's arguments those that users do not give


@dataclass(frozen=True)
class Entry:
    """A term with its meaning.

    Attributes:
        term: as it is shown.
        meaning: in one line, with its unit; empty where ``source`` has it.
        symbol: as an equation in plain text, or empty.
        also: other names of it, ``*`` for any text.
        source: "module:function" below ``labelspace`` whose docstring begins with the meaning, or empty.
        group: what it is one of.
        page: page of the documentation.
        models: names of the models that have it, of arguments of models.
    """

    term: str
    meaning: str = ""
    symbol: str = ""
    also: tuple[str, ...] = ()
    source: str = ""
    group: str = ""
    page: str = ""
    models: tuple[str, ...] = ()

    def named(self, term: str) -> bool:
        """Whether this is the entry's term or another name of it."""
        return any(fnmatch.fnmatchcase(_plain(term), _plain(name)) for name in (self.term, *self.also))

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {key: value for key, value in asdict(self).items() if key != "source"}


TERMS, TRAINING, EDITS, READ, DATA, EXPLORER = (
    "loss terms",
    "training",
    "edits and generation",
    "codes and predictions",
    "data",
    "blocks and edits of samples",
)
OPTIONS, ARGUMENTS, SETTINGS = "training options", "model arguments", "data settings"

_PAGES = {
    TERMS: "docs/models.md",
    TRAINING: "docs/training.md",
    EDITS: "docs/evaluation.md",
    READ: "docs/evaluation.md",
    DATA: "docs/data.md",
    EXPLORER: "docs/explorer.md",
    OPTIONS: "docs/training.md",
    ARGUMENTS: "docs/models.md",
    SETTINGS: "docs/data.md",
}

_E = Entry
_TABLE: dict[str, tuple[Entry, ...]] = {
    TERMS: (
        _E(
            "reconstruction", "how badly decoded codes explain x, in nats per sample; lower is better", "E_q[-log p(x | codes)]"
        ),
        _E("kl_z", "what the free block z tells of x beyond its prior, in nats per sample", "KL(q(z | x) || p(z))", ("KL",)),
        _E("kl_u", "what the free block z_u tells of x beyond its prior, in nats per sample", "KL(q(z_u | x) || p(z_u))"),
        _E(
            "kl_w",
            "what a label's block tells of x beyond its prior under the label, in nats per sample, for each label",
            "KL(q(w | x, y) || p(w | y))",
        ),
        _E(
            "kl_s",
            "what a label's salient block tells of x beyond its prior, in nats per sample, for each label; 0 of the background",
            "KL(q(s | x) || N(0, I)) where y is not the background",
        ),
        _E(
            "empty",
            "how far what the salient encoder says of the background is from the empty block's point, for each label; no unit",
            "|mean(x)|^2 + |scale(x)|^2 where y is the background",
        ),
        _E(
            "kl_index_code",
            "what a code tells of which sample it is of, in nats, estimated from the batch",
            "I(z; n) = E log q(z | x) / q(z)",
        ),
        _E(
            "kl_total_correlation",
            "how much coordinates of z tell of each other, in nats, estimated from the batch",
            "KL(q(z) || prod_j q(z_j))",
        ),
        _E(
            "kl_coordinates",
            "how far each coordinate of z is from its prior over all samples, in nats, estimated from the batch, summed",
            "sum_j KL(q(z_j) || p(z_j))",
        ),
        _E(
            "total_correlation",
            "how much coordinates of z, or z and the salient blocks, tell of each other, in nats, as a discriminator reads it",
            "E log D / (1 - D)",
        ),
        _E(
            "density_ratio",
            "the loss of the discriminator of codes and shuffled ones, in nats; log 2 = 0.69 where they are alike",
            "-log D(z) / 2 - log(1 - D(z')) / 2",
        ),
        _E(
            "kl_y",
            "the label's part of the bound in nats per sample, for each label: its block against its prior, and -log p(y)",
            "KL(q(z_y | x) || p(z_y | y)) - log p(y); M2: KL(q(y | x) || p(y)), or -log p(y) where y is known",
        ),
        _E(
            "kl_views",
            "the KLs of all views of a sample but that of x alone, in nats per sample",
            "sum over views of KL(q(z | view) || p(z))",
        ),
        _E(
            "reconstruction_views",
            "the reconstruction of all views that hold x, but that of x alone, in nats per sample",
            "sum over views of E_q(z | view)[-log p(x | z)]",
        ),
        _E("labels", "how badly codes of all views explain the labels in them, in nats per sample", "E_q[-log p(y | z)]"),
        _E(
            "leak",
            "what the adversary still reads of the labels from the free block, in nats per sample, as the model's own term: "
            "weighted, it drives labels out of z; only its changes mean something",
            "KL(p(y) or uniform || q(y | z)), -H(q(y | z)), or log q(y | z), by model",
        ),
        _E(
            "adversary",
            "the adversary's own loss in nats per sample, for each label: the higher, the less the free block tells",
            "-log q(y | z), z detached",
        ),
        _E(
            "block_leak",
            "what other labels' adversaries read from a label's block, in nats per sample, for each pair block.label, as the "
            "model's own term",
        ),
        _E(
            "adversary_chance",
            "what the adversary's loss is where the free block tells nothing, all classes alike frequent; nats per sample",
            "-log h(y)",
        ),
        _E(
            "block_adversary_chance",
            "what the loss of a block's adversary is where the block tells no more of a label than its own label does",
            "-log h_i(y_j | y_i)",
        ),
        _E(
            "block_adversary",
            "the loss of the adversaries that read a label from another label's block, nats per sample, for each block.label",
            "-log q(y_j | w_i, y_i), w_i detached",
        ),
        _E(
            "consistency_z",
            "how far z moves when a counterfactual is encoded again, in nats per sample",
            "log(1 + distance^2 / 2), distance in deviations of z, summed over z",
        ),
        _E(
            "consistency_w",
            "how badly a counterfactual, encoded again, gives back the label codes that it was made from; nats, for each label",
            "-log q(w | decoded)",
        ),
        _E(
            "label_head",
            "the loss of the head that predicts labels from x, in nats per sample, for each label; nothing else feels it",
            "-log q(y | x)",
            ("labeller",),
        ),
        _E(
            "classification",
            "how badly the model itself predicts known labels, in nats per sample that has the label, for each label",
            "-log q(y | x), or -log q(y_i | z_i)",
        ),
        _E(
            "joint_classification",
            "how badly the model itself predicts all known labels of a sample together, in nats per sample",
            "-log q(y | x)",
        ),
        _E("gm", "how badly the classes' Gaussians tell the class from its code, in nats, for each label", "-log p(y | z_s)"),
        _E(
            "gaussian",
            "how far codes lie from their class's Gaussian, which moves too, in nats, for each label",
            "-log p(z_s | y)",
        ),
        _E(
            "pull",
            "the same with the Gaussians held, so that only the encoder moves; in nats, for each label",
            "-log p(z_s | y)",
        ),
        _E(
            "discriminator",
            "the discriminator's loss on real and made samples; it stays near its start where samples are good",
            "cross entropy in nats (CVAE-GAN), hinge loss (Lr-LiVAE-GAN)",
        ),
        _E("gan", "minus the discriminator's verdict on made samples: lower is more real; no unit", "-D(x', y) - D(x'', y)"),
        _E("classifier", "the loss of the classifier of samples, in nats per sample, for each label", "-log C(y | x)"),
        _E(
            "features",
            "squared distance of samples and reconstructions in features of discriminator and classifier",
            "(|f_D(x) - f_D(x')|^2 + |f_C(x) - f_C(x')|^2) / 2",
        ),
        _E(
            "matching_d",
            "squared distance of mean discriminator features, real against new samples",
            "|E f_D(x) - E f_D(x'')|^2 / 2",
        ),
        _E(
            "matching_c",
            "the same in the classifier's features, summed over label values",
            "sum of |E f_C(x) - E f_C(x'')|^2 / 2",
        ),
    ),
    TRAINING: (
        _E(
            "score",
            "what epochs are compared by, from validation terms; nats per sample, lower is better",
            "mostly -ELBO",
            ("score (lower is better)", "score of that epoch"),
        ),
        _E("ELBO", "lower bound of log p(x) in nats per sample; higher is better", "-reconstruction - KL"),
        _E("weights", "what each term is multiplied by in the objective; terms are shown before it", also=("weight",)),
        _E("best epoch", "the epoch with the lowest score so far: its weights are kept; * in the log", also=("best",)),
        _E(
            "samples/s",
            "training samples processed a second, over all devices",
            also=("/s", "samples_per_second", "samples a second"),
        ),
        _E("epoch", "one pass over the training split", also=("passes",)),
        _E("train", "terms on training samples, mean over the epoch", also=("training",)),
        _E("val", "terms on validation samples, with the same noise every epoch", also=("validation",)),
        _E("readers", "terms that only other players than the model minimise: it does not feel them"),
        _E("skipped", "steps that were left out, for their gradient was far outside its running range"),
        _E("undone", "steps that training went back, to weights and optimisers of when all was well"),
        _E("pace", "factor on learning rates: below 1 after steps that were skipped or undone, until it recovers"),
        _E("seconds", "time that it took", also=("time", "training minutes", "training_minutes", "training_seconds")),
        _E("nats", "unit of information with natural logarithms; 1 nat is 1.44 bits", also=("nat",)),
        _E("parameters", "numbers that training changes, of all players"),
        _E("started from", "the run whose tensors this one took before training, where they fit", also=("init-from",)),
        _E(
            "run",
            "a training with all that it wrote: model, configuration, labels, metrics, checkpoints",
            also=("run directory",),
        ),
        _E("checkpoint", "all that training needs to go on: weights, optimisers, position, random state"),
        _E("starter", "a small model that is trained already, with a few hundred samples: demo:NAME", also=("starters",)),
        _E("player", "parameters with an objective and an optimiser of their own: the model, an adversary, a label head"),
        _E("schedule", "a weight that changes during training, such as linear:0->1@10"),
        _E("dual ascent", "how a weight is found: it grows while a constraint is broken, and shrinks while it holds"),
        _E("temperature", "what a label head's answers are divided by, to be as sure as validation samples say it may be"),
        _E("Muon", "an optimiser of matrices: steps of momentum, made orthogonal (Jordan et al. 2024)"),
        _E("plug-in", "a Python file or package that registers models or data sources; giving one runs it", also=("plugin",)),
        _E("made with", "versions, threads and processor that trained the run"),
        _E("model", "the model's name; labelspace models says what each is for", also=("model.name",)),
        _E("setting", "a model argument, training option or data setting, as --set and config.yaml name it"),
        _E("state", "runs of the recipe that are there, of those planned, and what they said", also=("results at --scale *",)),
        _E("claim", "the published statement that a recipe tests"),
        _E("paper", "where a claim or a model was published"),
        _E("recipe", "runs, measurements and verdicts for one published claim; labelspace reproduce NAME"),
        _E("seed", "start of all that is random: the same seed gives the same result"),
        _E("fresh seed", "a seed that no choice was made on: from 100 on", also=("fresh seeds",)),
        _E("verdict", "what follows of a claim, by rule", also=("verdicts", "held", "did not hold", "cannot be said")),
    ),
    EDITS: (
        _E(
            "judge",
            "a classifier trained on real samples alone, whose reading of edited or new samples decides",
            also=("judge_accuracy", "judge's own accuracy"),
        ),
        _E(
            "transfer accuracy",
            also=(
                "judge reads the new value",
                "judge reads new value",
                "transfer *",
                "exchange: class read",
                "swap: donor's labels read",
                "as_asked",
                "new samples read as the * asked for",
                "generated: class read",
            ),
            source="evaluation.manipulation:hit_rate",
        ),
        _E("doing nothing", "the same score where the sample is left as it is", also=("without an edit", "doing_nothing")),
        _E("side effects", source="evaluation.manipulation:side_effect_matrix", also=("side_effects", "side effect")),
        _E(
            "others kept",
            "rate at which the judge still reads the same value of another label; worst: of the label that suffers most",
            also=("others kept, worst", "other verdicts unchanged", "other labels kept, worst", "kept"),
        ),
        _E("read as set", "rate at which the judge reads the value that a label was set to; of a number R^2"),
        _E("told by z", "what a strong reader of draws of the free blocks says of a label, all classes alike"),
        _E("block's own", "the most that a strong reader of a label's block says of any other factor, the label given"),
        _E("share", "where a figure lies between its floor (0) and its ceiling (1)", also=("median share", "share of *")),
        _E("cells that hold", "figures on kinds of data whose worst label and seed come close enough to the ceiling"),
        _E("judge reads", "what the judge reads off true counterfactuals, or off real samples where there are none"),
        _E("steps not taken", "training steps that were left out or undone, of all runs"),
        _E("trained", "runs that were trained and measured"),
        _E("longest", "time of the longest training"),
        _E("flipped", "rate at which the judge reads another value of a label after the edit"),
        _E("log-odds", "log of p / (1 - p) of the judge's answer, in nats", also=("log_odds", "others' log-odds / own, worst")),
        _E("absolute", "mean size of the change of the judge's log-odds, in nats"),
        _E("signed", "mean change of the judge's log-odds in the direction that was asked for, in nats"),
        _E(
            "error to truth",
            source="evaluation.manipulation:error_to_truth",
            also=("error", "target - changed", "to_truth"),
        ),
        _E(
            "error to truth / doing nothing",
            "squared error of the edit to the nearest true picture over that of leaving the sample alone: 0 perfect, 1 no use",
            also=(
                "error / doing nothing",
                "error to truth / doing nothing (adding / removing)",
                "ratio",
                "target - changed / target - original",
            ),
        ),
        _E("better_rate", "share of edited samples that are nearer to the truth than the sample left alone"),
        _E("adding", "of edits that turn the label on"),
        _E("removing", "of edits that turn the label off"),
        _E("all", "of all samples or views together"),
        _E("changed", "mean squared change of an entry by the edit", also=("original - changed",)),
        _E("target - original", "mean squared error to the nearest true picture of leaving the sample alone"),
        _E("identity cost", source="evaluation.manipulation:identity_cost", also=("identity_cost",)),
        _E(
            "styles hit",
            "share of the true ways of having a label that draws of its block reach",
            also=("share of true styles hit", "styles_hit", "styles hit by 8 draws *", "true styles hit by 8 draws *"),
        ),
        _E("style", "a way of having a label's value, such as one frame of glasses", also=("styles",)),
        _E(
            "counterfactual",
            "a sample as it would be with a label changed; a true one where data come from known factors",
            also=("counterfactuals", "true counterfactual", "true counterfactuals"),
        ),
        _E("set", "give a label another value and keep everything else", also=("setting a label",)),
        _E("move", "put the code of a block where it is asked for"),
        _E("inpaint", "fill a hole in a sample with what the model expects there"),
        _E("record", "what an edit changed and held, from which values and to which"),
        _E("resolution", "size of a change in an entry at which keep detail leaves 37% of what was not reconstructed"),
        _E("effect", "what setting a label changes in a column, from samples alike in other labels", also=("effects",)),
        _E("false-discovery rate", "share of wrong ones to expect among all that are called found"),
        _E("extrapolated", "beyond what training data had: what a model makes of it is a guess", also=("outside of the data",)),
        _E("scorecard", "all figures of a model, each between its floor and its ceiling"),
        _E("diagnosis", "what the figures of an evaluation mean in words, and what to try", also=("alarm", "alarms")),
        _E("spread", "how much draws of a label's block differ: their variance, mean over entries", also=("spread_of_draws",)),
        _E("spread / real spread", "spread of new points of a class over that of real ones; 1 is right"),
        _E(
            "variance inside", source="metrics.diversity:share_inside", also=("variance_inside", "variance where truth differs")
        ),
        _E(
            "donor transfer",
            source="evaluation.edits:donor_transfer",
            also=("donor_transfer", "donor's style", "donor's style transferred"),
        ),
        _E("walks: steps that rise", "share of steps of a walk towards the label in which the judge's log-odds rise"),
        _E("label flipped", "the label that was set to another value", also=("label set to another value", "asked for")),
        _E("edit", "how the label was set: plain, or with keep detail"),
        _E("of real data", "the same score of real samples: as good as it gets", also=("real",)),
        _E("slides Z / W", "the two divergences that the paper's slides show, in nats"),
        _E(
            "z of test faces",
            "where the free block of a face under asked-for labels is from: an encoded face, new codes, or the prior",
            also=("*, z of test faces", "*, z drawn where codes lie", "*, z of p(z)"),
        ),
        _E("of no use", "what the score is where a model does nothing useful: its floor"),
        _E("made", "of new samples"),
        _E("what", "what is measured, or what is said of the run"),
        _E(
            "reconstruction error",
            "squared error of an entry of samples decoded from their mean codes; 0 is perfect",
            also=("reconstruction_error", "reconstruction MSE", "MSE", "reconstruction error (squared, an entry)"),
        ),
        _E("error / variance", "squared error of reconstructions over the data's variance; 1 is answering with the mean"),
        _E("variance", "mean variance of an entry of the data"),
        _E("likelihood", "how well x is modelled: squared error, and log-likelihood where the model has one"),
        _E(
            "log p(x | y)",
            "log-likelihood of a sample in nats, estimated from below with so many draws; higher is better",
            "log mean over draws of p(x, codes | y) / q(codes | x, y)",
            ("log_likelihood", "log-likelihood", "log p(x | y), nats, * draws"),
        ),
        _E("draws", "samples of the posterior that an estimate is made of"),
        _E("generation", "how new samples compare with real ones, in the judge's features"),
        _E("frechet", source="metrics.generation:frechet", also=("Frechet distance", "frechet distance of *")),
        _E("kernel", source="metrics.generation:kernel_distance", also=("kernel distance", "kernel distance of *")),
        _E("precision", "share of new samples that lie among real ones", also=("precision of new samples",)),
        _E("recall", "share of real samples that lie among new ones", also=("recall of new samples",)),
        _E("density", "how many neighbourhoods of real samples a new one lies in, over their expected number; 1 is right"),
        _E("coverage", "share of real points with a new point nearer than their neighbours: 1 is all"),
        _E(
            "rows drawn vs real rows, AUC",
            source="metrics.rows:two_sample_auc",
            also=("auc",),
        ),
        _E("copula", source="metrics.rows:gaussian_copula", also=("rows",)),
        _E("asked", source="metrics.rows:read_as_asked", also=("rows drawn read as the * asked for",)),
        _E("real_halves", "the score of one half of the real samples against the other: as good as it gets"),
        _E(
            "Inception-style score",
            source="metrics.generation:inception_style_score",
            also=("inception_style", "inception-style score, *"),
        ),
        _E("diversity", "mean squared distance between two samples of one class"),
        _E("diversity / real", "diversity of new samples of a class over that of real ones; 1 is right", also=("in pixels",)),
        _E("exchange: style kept", "how much of a digit's style stays when its class is exchanged; 1 is all"),
        _E("inpainting error", "squared error in the hole over that of filling it with the mean"),
        _E("manipulation", "what setting a label to another value does to it and to everything else"),
    ),
    READ: (
        _E("prediction", "the model's own answer about labels of x", "q(y | x)"),
        _E("accuracy", source="metrics.prediction:accuracy", also=("predicts *",)),
        _E("balanced accuracy", source="metrics.prediction:balanced_accuracy", also=("balanced", "balanced_accuracy")),
        _E("majority rate", source="metrics.prediction:majority_rate", also=("majority_rate", "commonest value")),
        _E("log loss", source="metrics.prediction:log_loss", also=("log_loss",)),
        _E("log_loss_of_frequencies", "log loss of answering with the label's frequencies, in nats: the floor of log loss"),
        _E("brier", source="metrics.prediction:brier"),
        _E("brier_of_frequencies", "Brier score of answering with the label's frequencies: the floor of it"),
        _E("calibration error", source="metrics.prediction:calibration_error", also=("calibration_error",)),
        _E("calibration_error_floor", "calibration error of the same answers if they were calibrated: what chance alone gives"),
        _E("R^2", source="metrics.prediction:r_squared", also=("r_squared", "R²", "r2")),
        _E("absolute error", source="metrics.prediction:absolute_error", also=("absolute_error",)),
        _E("absolute_error_of_median", "absolute error of answering with the median: the floor of it"),
        _E("interval coverage", source="metrics.prediction:interval_coverage", also=("interval_coverage", "coverage_*")),
        _E("interval", "where 95% of bootstrap values of a score lie", "[low, high]", ("low", "high", "bootstrap")),
        _E("Wilson", "the interval of a rate (Wilson 1927): 20 of 20 is from 0.84 to 1"),
        _E("value", "the score itself"),
        _E("n", "how many samples, votes or answers a score is of", also=("samples",)),
        _E("floor", "what noise, or doing nothing, scores: of no use", also=("floor (noise)",)),
        _E("ceiling", "what real data, or a perfect code, scores: as good as it gets"),
        _E("chance", "what answering without looking scores", "1 / number of values"),
        _E("entropy", "the most that can be known about a label, in nats", "H(y)"),
        _E("leakage", "what a fresh probe reads of a label from codes that should not tell it"),
        _E(
            "probe",
            "a classifier or regression trained after the model, to see what codes tell",
            also=(
                "z, probe",
                "probe of z*",
                "probe of w*",
                "own block, probe",
                "probe of the class block",
                "probe of z, worst",
            ),
        ),
        _E("strong probe", source="metrics.leakage:strong_probe", also=("strong reader", "reader")),
        _E(
            "draws",
            "what the decoder gets: a draw of the posterior. What a fresh reader says of a label from it, classes alike",
            also=(
                "draws of z tell it",
                "draws of z tell, worst (AUC)",
                "draws of z_u or z tell",
                "draws of the class block tell",
                "draws of free blocks",
                "draws of other labels' blocks, worst",
                "draws of its block, label hidden",
                "draws of own block, label hidden",
            ),
        ),
        _E(
            "means",
            "what is written out: the mean of the posterior. What a fresh reader says of a label from it, classes alike",
            also=(
                "means of z tell it",
                "means of z tell, worst (AUC)",
                "means of z_u or z tell",
                "means of free blocks",
                "means of its block, label hidden",
                "means of own block, label hidden",
            ),
        ),
        _E(
            "AUC",
            "area under the ROC curve: how often a sample with the value is ranked above one without it; chance .5",
            also=("auc", "AUC off Z", "AUC off W", "AUC off W, label hidden"),
        ),
        _E("nats_floor", "nats that the same answers get under shuffled labels: the noise floor"),
        _E(
            "edited by",
            "the operator that did best on validation samples: which point of a label, how far, one of drawn points",
            also=("operator",),
        ),
        _E("worst label", "the label for which it is worst", also=("the last of the worst label",)),
        _E("active latents", "latents whose mean varies by more than 0.01"),
        _E("KL of that latent", "its divergence from the prior, in nats a sample", also=("KL of that latent, nats",)),
        _E(
            "judge on true counterfactuals",
            "how many true counterfactuals the judge reads right, classes alike: below 97% it is no judge of edits",
            also=("truths",),
        ),
        _E("logistic", "a linear probe of classes"),
        _E("ridge", "a linear probe of numbers"),
        _E("mlp", "a probe with one hidden layer of 64"),
        _E("free block", "a latent block that is tied to no label: everything else about x", also=("free blocks", "free")),
        _E("own block", "the latent block that is tied to the label", also=("own", "label's block")),
        _E("empty block", "a label's block that holds nothing of a sample, because the label is off there"),
        _E("code", "what an encoder makes of a sample: numbers, in blocks", also=("codes",)),
        _E(
            "own block, label hidden",
            "the label's block of codes made without telling the encoder the label",
            also=("own_hidden",),
        ),
        _E(
            "other labels' blocks",
            "the blocks that are tied to other labels; worst: the one that tells most",
            also=("other labels' blocks, worst", "other.*"),
        ),
        _E("together", "what another label's value alone tells of this one: as far as they go together in the data"),
        _E(
            "KL in free blocks",
            "divergence of the free codes of samples with the label from those without it, in nats",
            "KL(q(z | y = 1) || q(z | y = 0)), by nearest neighbours",
            ("KL in free blocks, nats", "KL in Z", "KL in W", "KL in W, label hidden"),
        ),
        _E("floor_sd", "standard deviation of the floor over shuffles of the labels"),
        _E("blocks", "the parts of a model's code, each free or tied to one label", also=("block", "latent blocks")),
        _E(
            "KL from the prior",
            "what a block tells of x beyond its prior, in nats per sample",
            "KL(q(block | x) || p(block))",
            ("KL from the prior, nats", "kl"),
        ),
        _E("active coordinates", "coordinates of a block whose mean code varies over samples", also=("active units", "active")),
        _E("size", "coordinates of a block"),
        _E(
            "collapsed",
            "the block carries nothing: its KL is below 0.01 nats, or none of its coordinates varies",
            also=("collapse",),
        ),
        _E("disentanglement", "whether every factor of the data has a coordinate of its own"),
        _E("factors", "the labels that coordinates are compared with"),
        _E("latents", "coordinates of a code", also=("latent",)),
        _E("left_out", "blocks that hold a label's own value, which was told and not found"),
        _E("beta_vae", source="metrics.disentanglement:beta_vae"),
        _E("factor_vae", source="metrics.disentanglement:factor_vae"),
        _E("MIG", source="metrics.disentanglement:mig"),
        _E("DCI", source="metrics.disentanglement:dci"),
        _E(
            "dci_disentanglement",
            "whether a latent is important for one factor only: 1 yes, 0 no",
            also=("DCI disentanglement",),
        ),
        _E("dci_completeness", "whether a factor is read off one latent only: 1 yes, 0 no"),
        _E("dci_informativeness", "how well factors can be read off all latents: 1 perfectly"),
        _E("SAP", source="metrics.disentanglement:sap"),
        _E("modularity", source="metrics.disentanglement:modularity"),
        _E("explicitness", source="metrics.disentanglement:explicitness"),
        _E("IRS", source="metrics.disentanglement:irs"),
        _E("gaussian_total_correlation", source="metrics.disentanglement:gaussian_total_correlation"),
        _E("gaussian_wasserstein", source="metrics.disentanglement:gaussian_wasserstein"),
        _E("mutual_information_score", source="metrics.disentanglement:mutual_information_score"),
        _E("property", "thickness, slant or width of a digit, measured on its picture"),
        _E("best R^2", "share of a property's variance within classes that its best latent tells", also=("best less second",)),
        _E("next latent", "the same of the latent that tells most after the best"),
        _E("slope a unit", "how much the property changes when the latent moves by one"),
        _E("range of a walk / sd", "change of the property along a walk through the latent, in deviations of the data"),
        _E("walk: share of all latents", "the part of that change in what walks through all latents change"),
        _E("not measured", "what could not be measured, and why"),
    ),
    DATA: (
        _E("label", "an attribute of samples that models get a block for"),
        _E("kind", "of a label or column: binary, categorical or continuous; of a column also count"),
        _E("values", "how often each value occurs; of numbers their mean and standard deviation"),
        _E("missing or hidden", "samples whose value is not known, or was hidden from training", also=("missing",)),
        _E("sample", "a picture, a row or a cell, with its labels"),
        _E("column", "an entry of a vector or table", also=("variable", "variables", "entry")),
        _E("reading", "what was understood of every column, and what may be meant otherwise", also=("doubt",)),
        _E("framing", "how pictures were cropped, sized and coloured; later ones are read alike"),
        _E("store", "decoded pictures in one file of the cache, which is not read into memory as a whole"),
        _E("library size", "the total of a cell's counts"),
        _E("split", "train is learnt from, val chooses the epoch, test is measured on"),
        _E("name", "what --set, --data or --labels call it"),
        _E("what it is", "what a source reads or draws", also=("about",)),
        _E("note on the data", "what the source found worth knowing", also=("note", "notes")),
        _E("data", "the data address, or what a recipe needs", also=("address",)),
        _E("labelled", "share of the samples whose labels are used", also=("*% labelled", "all labelled", "* of labels")),
        _E("labels wrong", "share of the labels in training that were replaced by wrong ones", also=("*% of labels wrong",)),
    ),
    EXPLORER: (
        _E(
            "latent block",
            "a part of the code: tied to one label, or free, for everything else",
            also=("labels and latent blocks",),
        ),
        _E("keep detail", "add what the model could not reconstruct of the sample to the edit"),
        _E(
            "typical point",
            "where edits put a block: the middle of the value's training codes, or for each sample one of them that suits it",
            also=("typical",),
        ),
        _E("reads", "the model's own answer for a label of the edit; a side effect where it changed and no edit was about it"),
        _E("all samples", "draw the codes of all samples (20,000 at most); above 5,000 as a density, not as dots"),
        _E(
            "map by",
            "how a block of more than two coordinates is drawn: by PCA its two principal axes, on which the handle is dragged; "
            "by t-SNE which codes are near each other, which is only looked at",
        ),
        _E("Sheet", "several samples that the edit is done to at once, while the handle moves, too"),
        _E("Nearest", "the training samples that are nearest to the edit, and whether it is new or remembered"),
        _E("Many", "do the steps of this edit to all samples that the gallery has found, as a file"),
        _E("prior", "where codes should lie before x is seen", "p(block | y)"),
        _E("posterior", "where the code of x lies", "q(block | x)"),
        _E("difference", "what the edit changed: orange is lighter, violet is darker"),
        _E("predicted", "the sample lacks the label; the model's own answer is shown"),
        _E("donor", "a sample that lends its block of a label"),
        _E("transfer", "give a sample the donor's block of a label and keep everything else"),
        _E("generate", "draw new samples under labels"),
        _E("grid", "a walk through one or two coordinates of a block, everything else held", also=("walk", "traverse")),
        _E("map", "a block on a plane: its two coordinates or principal axes, with the data's codes and the priors"),
        _E("saved page", "a file of HTML with the model in it, for any browser and without a server"),
        _E("interpolate", "a walk from the sample's code to the donor's"),
        _E("truth", "the true picture with one label changed, where data are drawn from known factors"),
        _E("draw anew", "another point of the block, drawn from where codes of the same label lie", also=("resample",)),
        _E("back to its own", "the block's code of the sample before any edit"),
    ),
}


@functools.cache
def entries() -> tuple[Entry, ...]:
    """All entries: the table's, then those of options, arguments and settings."""
    from labelspace.data import sources
    from labelspace.training.options import Options

    table = [replace(e, meaning=e.meaning or _first(e.source), group=g) for g, own in _TABLE.items() for e in own]
    options = [Entry(name, text, group=OPTIONS) for name, text in documented(Options).items()]
    opened = documented(sources.open)
    kept = ("address", "labels", "seed", "supervision", "label_noise", "group")
    settings = [Entry(name, opened[name], group=SETTINGS) for name in kept]
    found = (*table, *options, *_arguments(), *settings)
    return tuple(replace(e, meaning=f"{e.meaning[0].upper()}{e.meaning[1:]}", page=_PAGES[e.group]) for e in found)


def _arguments() -> Iterator[Entry]:
    """Every argument of every model once for each of its meanings, with the models that mean it so."""
    from labelspace.models import MODELS, model_class
    from labelspace.models.networks import Network

    found: dict[tuple[str, str], list[str]] = {}
    for model in MODELS:
        told: dict[str, str] = {}
        for cls in reversed(model_class(model).__mro__):
            told |= documented(cls)
        for name in inspect.signature(model_class(model)).parameters:
            if name not in _FROM_DATA:
                found.setdefault((name, told[name]), []).append(model)
    for (name, text), models in sorted(found.items()):
        yield Entry(name, text, group=ARGUMENTS, models=tuple(models))
    for name, text in documented(Network).items():
        yield Entry(f"network.{name}", text, group=ARGUMENTS, models=tuple(MODELS))


def documented(described: Any) -> dict[str, str]:
    """Name -> what the docstring of a class or function itself says of it under Args or Attributes, as one line."""
    text = inspect.cleandoc((vars(described).get("__doc__") if isinstance(described, type) else described.__doc__) or "")
    section = re.search(r"^(?:Args|Attributes):\n((?: .*\n|\n)*)", text + "\n", re.M)
    return {
        name: _words(found[2])
        for found in re.finditer(r"^    ([\w, ]+): (.*(?:\n {8}.*)*)", section[1] if section else "", re.M)
        for name in found[1].split(", ")
    }


def _first(source: str) -> str:
    """The first paragraph of a function's docstring as one line."""
    module, name = source.split(":")
    function = getattr(importlib.import_module(f"labelspace.{module}"), name)
    return _words((inspect.getdoc(function) or "").split("\n\n")[0])


def _words(text: str) -> str:
    """A text of a docstring without its markup, in one line."""
    text = re.sub(r",?\s+(?:both )?``\([^`]*\)``|\s+\(\w,\)(?=``)|``|:\w+:`~?([^`]*)`", r"\1", " ".join(text.split()))
    return text.removesuffix(".")


def _plain(term: str) -> str:
    return re.sub(r"[\s_-]+", " ", term.strip().lower())


def find(term: str) -> tuple[Entry, ...]:
    """All entries of a term: a loss term and an argument that is its weight have the same name.

    An entry of a vector term, ``kl_w.Beard``, is explained as the term, and ``training.epochs`` as the option.

    Raises:
        UserError: there is no such term; the nearest is named.
    """
    if not (found := _found(term)):
        raise unknown("term", term, [name for entry in entries() for name in (entry.term, *entry.also) if "*" not in name])
    return found


@functools.cache
def _found(term: str) -> tuple[Entry, ...]:
    known = entries()
    exact = [e for e in known if any(_plain(term) == _plain(name) for name in (e.term, *e.also))]
    if found := exact or [e for e in known if e.named(term)]:
        return tuple(found)
    head, dot, rest = term.partition(".")
    if not dot:
        return ()
    return _found(rest if head in _PARTS else head)


_PARTS = {"model": ARGUMENTS, "training": OPTIONS, "data": SETTINGS}  # of a configuration -> the group of its settings


def meaning(term: str) -> str | None:
    """What is shown where a pointer rests on a term of a log, a table or the explorer; None where there is no entry."""
    found = _found(term)
    return found[0].meaning if found else None


def setting(key: str, model: str) -> str | None:
    """What a setting of a run's configuration means for its model, ``model.leak``; None where there is no entry."""
    part, _, name = key.partition(".")
    own = [e for e in entries() if e.group == _PARTS.get(part) and e.term == name and (not e.models or model in e.models)]
    return own[0].meaning if own else None
