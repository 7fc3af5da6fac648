"""Where vlm keeps things and how it behaves: flags > environment > user file > home file > defaults."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomllib

from lifecycle.domain.defaults import DEFAULT_TORCH
from lifecycle.domain.errors import UsageError

APP = "vlm"
HERE = ".vlm"

# A file inside VLM_HOME travels with it, so it may name no program, index, URL or key.
_SAFE_IN_HOME = frozenset({"default_torch", "default_policy", "verify_device", "case_term"})
# A password may also stand behind the question mark of a database's URL.
_SECRET_IN_QUERY = re.compile(r"(?i)\b(password|passfile|sslpassword|sslkey)=[^&#]*")
_ENVIRONMENT: Mapping[str, str] = {
    "home": "VLM_HOME",
    "keys": "VLM_KEYS",
    "runtimes": "VLM_RUNTIMES",
    "database_url": "VLM_DATABASE_URL",
    "torch_index": "VLM_TORCH_INDEX",
    "wheels": "VLM_WHEELS",
    "default_torch": "VLM_DEFAULT_TORCH",
    "default_policy": "VLM_DEFAULT_POLICY",
    "verify_device": "VLM_VERIFY_DEVICE",
    "case_term": "VLM_CASE_TERM",
    "offline": "VLM_OFFLINE",
    "sandbox": "VLM_SANDBOX",
    "notify": "VLM_NOTIFY",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, resolved; `sources` says where each value comes from."""

    home: Path
    keys: Path
    runtimes: Path
    user_config: Path
    database_url: str | None = field(default=None, repr=False)
    torch_index: str | None = None
    wheels: tuple[Path, ...] = ()
    default_torch: str = DEFAULT_TORCH
    default_policy: str = "default"
    verify_device: str = "auto"
    case_term: str = "P1M"
    offline: bool = False
    sandbox: str = "auto"
    notify: tuple[str, ...] = field(default=(), repr=False)
    here: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)


def load_settings(
    environment: Mapping[str, str], *, flags: Mapping[str, Any] | None = None, cwd: Path | None = None
) -> Settings:
    """Resolve all settings.

    Args:
        environment: The process environment.
        flags: Values given on the command line; None values do not count.
        cwd: Where a `./.vlm` would lie; the current folder by default.

    Raises:
        UsageError: An unknown or forbidden key in a settings file, or a value of the wrong kind.
    """
    from platformdirs import user_cache_path, user_config_path, user_data_path

    user_config = Path(environment.get("VLM_CONFIG", "") or user_config_path(APP) / "vlm.toml")
    keys_default = user_config_path(APP) / "keys"
    here = (cwd or Path.cwd()) / HERE
    defaults: dict[str, Any] = {
        "home": user_data_path(APP),
        "keys": keys_default,
        "runtimes": user_cache_path(APP) / "runtimes",
    }
    layers: list[tuple[str, Mapping[str, Any]]] = [
        ("flag", {key: value for key, value in (flags or {}).items() if value is not None}),
        ("environment", {k: environment[v] for k, v in _ENVIRONMENT.items() if environment.get(v)}),
        (str(user_config), _read(user_config, allowed=frozenset(_ENVIRONMENT))),
    ]
    chosen, sources = _merge(layers)
    keys = Path(chosen.get("keys", keys_default)).expanduser()
    if "home" not in chosen and is_trusted_here(here, keys):
        chosen["home"], sources["home"] = here, "the ./.vlm that `vlm init --here` made"
    home = Path(chosen.get("home", defaults["home"])).expanduser()
    from_home = _read(home / "vlm.toml", allowed=_SAFE_IN_HOME)
    for key, value in from_home.items():
        if key not in chosen:
            chosen[key], sources[key] = value, str(home / "vlm.toml")
    return _build(chosen, defaults, sources, user_config)


def is_trusted_here(folder: Path, keys: Path) -> bool:
    """Whether a `./.vlm` is ours: owned by the caller, and recorded beside the keys by `vlm init --here`."""
    marker = folder / "installation"
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        installation = marker.read_text(encoding="ascii").strip()
        recorded = (keys / installation / "here").read_text(encoding="utf-8")
    except (OSError, UnicodeError, ValueError):
        return False
    return len(installation) == 32 and recorded == str(folder.resolve())


def _merge(layers: list[tuple[str, Mapping[str, Any]]]) -> tuple[dict[str, Any], dict[str, str]]:
    chosen: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, values in layers:
        for key, value in values.items():
            if key not in chosen:
                chosen[key], sources[key] = value, source
    return chosen, sources


def _read(path: Path, *, allowed: frozenset[str]) -> Mapping[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        why = (error.strerror or "").lower() if isinstance(error, OSError) else error
        raise UsageError(f'settings file "{path}" could not be read: {why}') from None
    for key in values:
        if key in allowed:
            continue
        if key in _ENVIRONMENT:
            raise UsageError(
                f'setting "{key}" may not stand in "{path}", because that file travels with the registry',
                hint="set it in your user configuration or the environment; see: vlm config show",
            )
        raise UsageError(f'"{key}" in "{path}" is not a setting', hint="vlm config show")
    return values


def _build(
    chosen: Mapping[str, Any], defaults: Mapping[str, Any], sources: dict[str, str], user_config: Path
) -> Settings:
    for key in _ENVIRONMENT:
        sources.setdefault(key, "default")
    wheels = chosen.get("wheels", ())
    if isinstance(wheels, str):
        wheels = [part for part in wheels.split(os.pathsep) if part]
    return Settings(
        home=Path(chosen.get("home", defaults["home"])).expanduser().absolute(),
        keys=Path(chosen.get("keys", defaults["keys"])).expanduser().absolute(),
        runtimes=Path(chosen.get("runtimes", defaults["runtimes"])).expanduser().absolute(),
        user_config=user_config,
        database_url=_database(chosen.get("database_url")),
        torch_index=chosen.get("torch_index"),
        wheels=tuple(Path(wheel).expanduser() for wheel in wheels),
        default_torch=str(chosen.get("default_torch", DEFAULT_TORCH)),
        default_policy=str(chosen.get("default_policy", "default")),
        verify_device=str(chosen.get("verify_device", "auto")),
        case_term=_period("case_term", chosen.get("case_term", "P1M")),
        offline=_truth("offline", chosen.get("offline", False)),
        sandbox=str(chosen.get("sandbox", "auto")),
        notify=_addresses(chosen.get("notify", ())),
        here=sources["home"].startswith("the ./.vlm"),
        sources=sources,
    )


def _database(value: object) -> str | None:
    """Return a URL of PostgreSQL; None for SQLite in VLM_HOME, which may be said as `sqlite`."""
    if value is None or value in ("", "sqlite"):
        return None
    if not isinstance(value, str) or not value.startswith(
        ("postgresql:", "postgresql+psycopg:", "postgres:")
    ):
        raise UsageError(
            'the setting "database_url" is neither "sqlite" nor a URL such as postgresql://user@host/database',
            hint="vlm config show",
        )
    return value


def _addresses(value: object) -> tuple[str, ...]:
    """Return where news go: a list in a file, separated by white space in the environment."""
    listed = value.split() if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)) or not all(isinstance(one, str) for one in listed):
        raise UsageError('the setting "notify" is not a list of addresses', hint="vlm config show")
    return tuple(listed)


def _period(key: str, value: object) -> str:
    """Return a span of the calendar, such as P1M or P45D, as it was written."""
    from lifecycle.domain.policies import Period

    try:
        Period.parse(str(value))
    except ValueError as error:
        raise UsageError(f'setting "{key}": {error}', hint="vlm config show") from None
    return str(value)


def _truth(key: str, value: object) -> bool:
    text = str(value).lower()
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off", ""}:
        return False
    raise UsageError(f'setting "{key}" is "{value}", which is neither true nor false')


def scheme_of(address: str) -> str:
    """Return what may be shown of an address that news go to: its scheme, never what follows."""
    if address == "-" or address.startswith("@"):
        return address
    found = re.match(r"[A-Za-z][A-Za-z0-9+.-]{0,30}(?=://)", address)
    return f"{found.group()}://***" if found else "***"


def masked(value: object) -> str:
    """Return a setting for people, with credentials in URLs hidden."""
    text = str(value)
    if "://" not in text:
        return text
    scheme, _, rest = text.partition("://")
    rest = f"***@{rest.rpartition('@')[2]}" if "@" in rest else rest
    shown = _SECRET_IN_QUERY.sub(r"\1=***", rest)
    return f"{scheme}://{shown}"
