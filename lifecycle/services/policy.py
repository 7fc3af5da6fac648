"""Find and read the policies that ship with vlm, and the user's own."""

from __future__ import annotations

from pathlib import Path

from lifecycle.bootstrap import Rooms
from lifecycle.domain.errors import NotFound, UsageError
from lifecycle.domain.policies import Policy, parse_policy
from lifecycle.domain.voices import checked_name


def policy_folder(package: Path | None = None) -> Path:
    """Return the folder of the policies that ship: inside the package, else beside it in a checkout.

    Args:
        package: The folder of `lifecycle`; its own by default.

    Raises:
        NotFound: Neither is there: the installation is damaged.
    """
    root = package or Path(__file__).resolve().parents[1]
    for folder in (root / "_data" / "policies", root.parent / "policies"):
        if (folder / "default.yaml").is_file():
            return folder
    raise NotFound("the policies are missing from this installation", hint="vlm doctor")


def policy_home(rooms: Rooms) -> Path:
    """Return the folder of the user's own policies, beside the user's settings."""
    return rooms.settings.user_config.parent / "policies"


def load_policy(name: str, *, own: Path | None = None) -> Policy:
    """Read a policy by its name.

    Args:
        name: Such as "default".
        own: A folder of the user's own policies, which come first.

    Raises:
        NotFound: There is no such policy; the hint lists those that exist.
        UsageError: The file is wrong, with file and line.
    """
    checked_name(name)
    folders = [folder for folder in (own, policy_folder()) if folder is not None]
    for folder in folders:
        path = folder / f"{name}.yaml"
        if path.is_file():
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeError) as error:
                raise UsageError(f'policy "{path}" could not be read: {error}') from None
            return parse_policy(text, name=name, source=str(path))
    there = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    raise NotFound(f'there is no policy "{name}"', hint=f"there are: {', '.join(there)}")


def load_policies(names: set[str], *, own: Path | None = None) -> dict[str, Policy]:
    """Read each policy once; see `load_policy`."""
    return {name: load_policy(name, own=own) for name in sorted(names)}
