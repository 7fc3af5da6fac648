"""A sealer for tests that need no keys: reversible, and nothing of the text is left readable."""

from __future__ import annotations


class XorSealer:
    """Seals by exclusive or; not secret, but no text survives it as it was."""

    def seal_bytes(self, subject_uid: str | None, content: bytes) -> bytes:
        """Return the sealed form."""
        return bytes(byte ^ 0xA5 for byte in content)

    def open_bytes(self, sealed: bytes) -> bytes:
        """Return the plain form."""
        return bytes(byte ^ 0xA5 for byte in sealed)
