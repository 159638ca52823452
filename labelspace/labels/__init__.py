"""Labels: their kinds, their encoding, and distributions over them.

This is the only room that knows what kinds of label exist. A label is **binary** (0 or 1), **categorical** (one of named
classes) or **continuous** (a number with a mean and a scale). Inside the library the labels of ``n`` samples are two
arrays: ``values`` of shape ``(n, labels)`` (float32: 0/1, the class index, or the number itself) and ``observed`` of the
same shape (bool). A missing entry is ``observed = False`` and its value is 0, never a sentinel.

A kind is one file that fulfils the contract of :class:`Label`; :class:`Schema` and :class:`LabelDistribution` put labels of
all kinds side by side.
"""

from labelspace.labels.binary import BOOLEANS, binary
from labelspace.labels.categorical import categorical
from labelspace.labels.continuous import continuous, origin_of
from labelspace.labels.distribution import LabelDistribution
from labelspace.labels.label import Kind, Label
from labelspace.labels.schema import Schema, frequencies, parse_assignments

__all__ = [
    "BOOLEANS",
    "Kind",
    "Label",
    "LabelDistribution",
    "Schema",
    "binary",
    "categorical",
    "continuous",
    "frequencies",
    "origin_of",
    "parse_assignments",
]
