"""Data sets by address; see :mod:`labelspace.data.sources`."""
