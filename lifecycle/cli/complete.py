"""What a shell offers for a word that is being typed; silent and empty where anything is in the way."""

from __future__ import annotations


def voices(incomplete: str) -> list[str]:
    """Return the names of voices that begin like the word."""
    import os

    try:
        from lifecycle.registry.names import voice_names
        from lifecycle.settings import load_settings

        settings = load_settings(os.environ)
        return voice_names(settings.database_url or settings.home / "registry.db", incomplete)
    except Exception:  # noqa: BLE001 - a shell that completes a word has nowhere to print an error
        return []
