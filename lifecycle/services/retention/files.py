"""Find and read the policies that ship with vlm, and the user's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lifecycle.bootstrap import Rooms
from lifecycle.domain.errors import NotFound, UsageError
from lifecycle.domain.policies import Policy
from lifecycle.domain.policy_reader import Draft, policy_of, read_draft
from lifecycle.domain.voices import checked_name

_MAX_BYTES = 200_000


def policy_folder(package: Path | None = None) -> Path:
    """Return the folder of the policies that ship: inside the package, else beside it in a checkout.

    Args:
        package: The folder of `lifecycle`; its own by default.

    Raises:
        NotFound: Neither is there: the installation is damaged.
    """
    root = package or Path(__file__).resolve().parents[2]
    for folder in (root / "_data" / "policies", root.parent / "policies"):
        if (folder / "default.yaml").is_file():
            return folder
    raise NotFound("the policies are missing from this installation", hint="vlm doctor")


def policy_home(rooms: Rooms) -> Path:
    """Return the folder of the user's own policies, beside the user's settings."""
    return rooms.settings.user_config.parent / "policies"


def load_policy(name: str, *, own: Path | None = None) -> Policy:
    """Read a policy by its name, with what it extends.

    Args:
        name: Such as "default".
        own: A folder of the user's own policies, which come first.

    Raises:
        NotFound: There is no such policy; the hint lists those that exist.
        UsageError: The file is wrong, or extends itself through others; with file and line.
    """
    checked_name(name)
    path = _path_of(name, own)
    if path is None:
        there = [each for each, _ in known_policies(own=own)]
        raise NotFound(f'there is no policy "{name}"', hint=f"there are: {', '.join(there)}")
    return read_policy(path, name=name, own=own)


def read_policy(path: Path, *, name: str | None = None, own: Path | None = None) -> Policy:
    """Read a policy from a file, with what it extends.

    Raises:
        UsageError: It cannot be read, is wrong, or extends itself through others; with file and line.
    """
    drafts = [_draft(path, name or path.stem)]
    while (base := drafts[-1].extends) is not None:
        seen = [draft.name for draft in drafts]
        if base in seen:
            raise drafts[-1].wrong("extends", f"a cycle: {' extends '.join([*seen, base])}")
        found = _path_of(base, own)
        if found is None:
            there = ", ".join(each for each, _ in known_policies(own=own))
            raise drafts[-1].wrong("extends", f'there is no policy "{base}"; there are: {there}')
        drafts.append(_draft(found, base))
    return policy_of(drafts)


def known_policies(*, own: Path | None = None) -> list[tuple[str, Path]]:
    """Return every policy that can be named, with its file, by name."""
    found: dict[str, Path] = {}
    for folder in (policy_folder(), *(() if own is None else (own,))):
        found |= {path.stem: path for path in folder.glob("*.yaml")}
    return sorted(found.items())


def load_policies(names: set[str], *, own: Path | None = None) -> tuple[dict[str, Policy], dict[str, str]]:
    """Read each policy once.

    Returns:
        The policies, and of those that cannot be read what is wrong with them ("is gone", "cannot be read"). In the
        place of such a one stands the shipped default without a rule: what nobody can read deletes nothing.
    """
    found: dict[str, Policy] = {}
    lost: dict[str, str] = {}
    for name in sorted(names):
        try:
            found[name] = load_policy(name, own=own)
        except (NotFound, UsageError) as error:
            lost[name] = "is gone" if isinstance(error, NotFound) else "cannot be read"
            found[name] = replace(load_policy("default"), name=name, rules=())
    return found, lost


def _path_of(name: str, own: Path | None) -> Path | None:
    folders = [folder for folder in (own, policy_folder()) if folder is not None]
    return next((path for folder in folders if (path := folder / f"{name}.yaml").is_file()), None)


def _draft(path: Path, name: str) -> Draft:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        text = content.decode("utf-8")
    except (OSError, UnicodeError) as error:
        raise UsageError(f'policy "{path}" could not be read: {error}') from None
    return read_draft(text, name=name, source=str(path))
