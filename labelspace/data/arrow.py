"""Arrow, loaded when something of it is first used: most commands never read a column."""

from __future__ import annotations

import importlib
from typing import Any


class _Late:
    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._module), name)


pa: Any = _Late("pyarrow")
arrow_csv: Any = _Late("pyarrow.csv")
pc: Any = _Late("pyarrow.compute")
"""Its functions are made at run time, where no checker sees them."""
