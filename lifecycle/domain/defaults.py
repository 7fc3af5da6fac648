"""Values that more than one room falls back to."""

from __future__ import annotations

#: The torch that voices are verified on, and that `make dev` installs, where nobody says otherwise.
DEFAULT_TORCH = "2.13.0"
