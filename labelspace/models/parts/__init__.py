"""Parts that models are made of, one a file, each usable by any model.

=====================  ============================================================================================
``value_blocks``       labels as blocks that hold the label's own value
``label_prior``        p(block | label) and q(label | block), learned, label by label
``subspace_prior``     p(w | y) of a label's subspace, as Klys et al. 2018 fix it
``missing_labels``     every way of filling in labels that are missing, and Bayes' rule with a bound of log p(x | y)
``adversary``          what an adversary reads off a code, and what that costs the model; one per label's block
``dual_ascent``        a weight per constraint that grows while the constraint is violated
``independence``       an adversary of a free code, with a weight per label by dual ascent
``consistency``        a model's own counterfactuals must be encoded as what they were made from
``typical_points``     where in its block a label has a value: points for edits, one that suits each sample
``attribute_vectors``  directions along which labels change, where no block is a label's own
``discriminator``      spectrally normalised discriminators of samples
``total_correlation``  how much blocks or coordinates of a code tell of each other, by a discriminator
``related``            which columns of a table a label has to do with, told by training data
``stacking``           blocks side by side, and labels that are alike at once
=====================  ============================================================================================
"""

from labelspace.models.parts.adversary import (
    BlockAdversaries,
    ParallelMLP,
    between_mean_and_draw,
    class_weights,
    cross_entropy,
    divergence,
    frozen,
    negative_entropy,
    standardized,
)
from labelspace.models.parts.attribute_vectors import AttributeVectors
from labelspace.models.parts.consistency import counterfactual_consistency
from labelspace.models.parts.discriminator import Discriminator, SpectralFeatures, hinge, needs_numbers
from labelspace.models.parts.dual_ascent import DualAscent
from labelspace.models.parts.independence import Balance, Independence, Terms, balanced, is_dual, share_of_open
from labelspace.models.parts.label_prior import LabelClassifiers, LabelPrior, log_evidence_bound
from labelspace.models.parts.missing_labels import Completions, posterior_from_bounds
from labelspace.models.parts.related import related
from labelspace.models.parts.stacking import split, stack_blocks, ungroup
from labelspace.models.parts.styles import richer_when_off
from labelspace.models.parts.subspace_prior import SubspacePrior, subspace_blocks
from labelspace.models.parts.temperature import Temperatures
from labelspace.models.parts.total_correlation import DensityRatio
from labelspace.models.parts.typical_points import Choice, TypicalPoints
from labelspace.models.parts.value_blocks import value_blocks, value_points

__all__ = [
    "AttributeVectors",
    "Balance",
    "BlockAdversaries",
    "Choice",
    "Completions",
    "DensityRatio",
    "Discriminator",
    "DualAscent",
    "Independence",
    "LabelClassifiers",
    "LabelPrior",
    "ParallelMLP",
    "SpectralFeatures",
    "SubspacePrior",
    "Temperatures",
    "Terms",
    "TypicalPoints",
    "balanced",
    "between_mean_and_draw",
    "class_weights",
    "counterfactual_consistency",
    "cross_entropy",
    "divergence",
    "frozen",
    "hinge",
    "is_dual",
    "log_evidence_bound",
    "needs_numbers",
    "negative_entropy",
    "posterior_from_bounds",
    "related",
    "richer_when_off",
    "share_of_open",
    "split",
    "stack_blocks",
    "standardized",
    "subspace_blocks",
    "ungroup",
    "value_blocks",
    "value_points",
]
