"""Training: :func:`fit`, its options, and run directories."""

from labelspace.training.fit import Fitted, fit
from labelspace.training.options import Options

__all__ = ["Fitted", "Options", "fit"]
