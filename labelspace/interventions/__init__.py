"""Interventions: changes to a sample's latent blocks, each returning the result and a record of what was done.

All are written against latent blocks, so they work alike on every model. ``x`` is one sample (``shape``) or a batch
(``(n, *shape)``); the result has the form that was given. Codes are posterior means unless a draw is asked for. Several edits
of the same samples follow each other with ``after``: the next one starts from the codes of the one before.

==================== ================================================================================
:func:`set`          give labels new values
:func:`transfer`     give a sample a donor's way of having a label
:func:`move`         put blocks at points that are given
:func:`traverse`     walk along one or two coordinates of a label's block
:func:`interpolate`  walk from one sample to another, in some blocks or all
:func:`resample`     draw one block anew, many times
:func:`generate`     new samples under labels
:func:`inpaint`      fill a hole in a sample
==================== ================================================================================
"""

from labelspace.interventions.coding import encode_all
from labelspace.interventions.generate import generate, resample
from labelspace.interventions.inpaint import inpaint
from labelspace.interventions.record import Intervention, Labels, Record
from labelspace.interventions.set_and_move import move, set
from labelspace.interventions.transfer import transfer
from labelspace.interventions.walks import interpolate, traverse

__all__ = [
    "Intervention",
    "Labels",
    "Record",
    "encode_all",
    "generate",
    "inpaint",
    "interpolate",
    "move",
    "resample",
    "set",
    "transfer",
    "traverse",
]
