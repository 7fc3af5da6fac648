"""What a file is, told without executing it: nothing here loads, unpickles or runs what it reads."""

from __future__ import annotations

from lifecycle.formats.detect import inspect
from lifecycle.formats.model import Finding, Inspection, TensorInfo, shown

__all__ = ["Finding", "Inspection", "TensorInfo", "inspect", "shown"]
