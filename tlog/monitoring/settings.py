"""What a monitor is told: a TOML file, in which nothing unknown may stand. Source: docs/monitor.md, "Settings"."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tlog.errors import FormatError
from tlog.index.query import Query
from tlog.monitoring.alerts import SEVERITIES
from tlog.policy import MAX_POLICY_SIZE, Policy
from tlog.storage.disk import Files

MAX_SETTINGS_SIZE = 1 << 20
MAX_ITEMS = 1000
MAX_PEERS = 64

TLS = ("none", "starttls", "tls")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Growth:
    """When growth is out of the ordinary. interval_s: what is counted at a time. factor: deviations from the median.

    least, most: intervals that are learned from before anything is said, and that are remembered.
    """

    interval_s: int = 3600
    factor: float = 8.0
    least: int = 24
    most: int = 336


@dataclass(frozen=True, slots=True)
class LogSettings:
    """A log to follow. policy: its keys, witnesses and quorum. source: URL or directory of its site.

    stale_s: age of a checkpoint that is too old, None: any age will do. growth: None: nothing is said of growth.
    """

    policy: Policy
    origin: str
    source: str
    stale_s: int | None = None
    growth: Growth | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What to look for in entries. origins: of the logs it is for, all if empty. with_data: the alert has the event."""

    name: str
    query: Query
    severity: str = "warning"
    origins: tuple[str, ...] = ()
    with_data: bool = False


@dataclass(frozen=True, slots=True)
class Webhook:
    """A URL that gets alerts as POST. authorization_file: holds the value of its `Authorization` header."""

    name: str
    url: str
    least: str
    authorization_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Mail:
    """Addresses that get alerts by SMTP. tls: one of TLS. password_file: where the server asks for a name."""

    name: str
    host: str
    port: int
    sender: str
    to: tuple[str, ...]
    least: str
    tls: str = "starttls"
    user: str = ""
    password_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A program that gets each alert on its standard input."""

    name: str
    words: tuple[str, ...]
    least: str


Target = Webhook | Mail | Command


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a monitor is told. Times in seconds."""

    directory: Path
    interval_s: float
    unreachable_s: float
    unreconciled_s: float
    skew_s: float
    metrics_file: Path | None
    logs: tuple[LogSettings, ...]
    rules: tuple[Rule, ...]
    targets: tuple[Target, ...]
    peers: tuple[str, ...]


def read_settings(path: str | Path) -> Settings:
    """Return what a file says; paths in it are relative to it. Raises: FormatError naming the setting; StorageError."""
    place = Path(path)
    try:
        fields: dict[str, Any] = tomllib.loads(Files().read(place, MAX_SETTINGS_SIZE).decode())
    except (ValueError, RecursionError) as err:
        raise FormatError(str(path), f"is not TOML ({err})") from err
    return _settings(_Table(fields, ""), place.resolve().parent)


class _Table:
    """A table whose settings are taken one by one; what is left over at the end is unknown."""

    def __init__(self, fields: Mapping[str, Any], where: str) -> None:
        self._left = dict(fields)
        self._where = where

    def take(self, name: str, kind: type[T], default: T | None = None) -> T:
        """Return a setting. Raises: FormatError where it is missing without a default, or of another type."""
        value = self._left.pop(name, default)
        if value is None:
            raise FormatError(self.place(name), "is missing")
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise FormatError(self.place(name), f"is of type {type(value).__name__}, not {kind.__name__}")
        return value

    def number(self, name: str, default: float, minimum: float, maximum: float) -> float:
        """Return a number between two others."""
        value = self.take(name, float, default)
        if not minimum <= value <= maximum:
            raise FormatError(self.place(name), f"{value:g} is not between {minimum:g} and {maximum:g}")
        return value

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        """Return one of some words."""
        value = self.take(name, str, default)
        if value not in choices:
            raise FormatError(self.place(name), f"{value[:40]!r} is none of {', '.join(choices)}")
        return value

    def words(self, name: str, *, is_needed: bool = False) -> tuple[str, ...]:
        """Return an array of strings."""
        values = self.take(name, list, [])
        if len(values) > MAX_ITEMS or any(type(value) is not str or not value for value in values):
            raise FormatError(self.place(name), f"is no array of at most {MAX_ITEMS} strings")
        if is_needed and not values:
            raise FormatError(self.place(name), "is missing")
        return tuple(values)

    def path(self, name: str, base: Path) -> Path | None:
        """Return a path, None where there is none."""
        value = self.take(name, str, "")
        return base / value if value else None

    def has(self, name: str) -> bool:
        """Whether a setting is there, and not taken yet."""
        return name in self._left

    def tables(self, name: str) -> list[_Table]:
        """Return an array of tables."""
        values = self.take(name, list, [])
        if len(values) > MAX_ITEMS or not all(isinstance(value, dict) for value in values):
            raise FormatError(self.place(name), f"is no array of at most {MAX_ITEMS} tables; write [[{name}]]")
        return [_Table(value, f"{name} {number}, ") for number, value in enumerate(values, 1)]

    def table(self, name: str) -> _Table:
        """Return a table."""
        return _Table(self.take(name, dict, {}), f"{self._where}{name}, ")

    def place(self, name: str) -> str:
        """Return how errors call a setting."""
        return f"{self._where}{name}"

    def end(self) -> None:
        """Check that nothing is left over."""
        if self._left:
            raise FormatError(self.place(next(iter(self._left))[:40]), "is no setting; see docs/monitor.md")


def _settings(table: _Table, base: Path) -> Settings:
    logs = tuple(_log(part, base) for part in table.tables("log"))
    origins = [log.origin for log in logs]
    if not logs or len(set(origins)) < len(origins):
        raise FormatError("log", "each log stands in one [[log]] table, and there is at least one")
    rules = tuple(_rule(part, origins) for part in table.tables("rule"))
    targets: list[Target] = [_webhook(part, base) for part in table.tables("webhook")]
    targets += [_mail(part, base) for part in table.tables("mail")]
    targets += [_command(part) for part in table.tables("command")]
    for what, names in (("rule", [rule.name for rule in rules]), ("target", [target.name for target in targets])):
        if len(set(names)) < len(names):
            raise FormatError(what, "two have the same name")
    settings = Settings(
        directory=base / table.take("directory", str, "monitor"),
        interval_s=table.number("interval_s", 60, 0.1, 86_400),
        unreachable_s=table.number("unreachable_s", 600, 0, 31_536_000),
        unreconciled_s=table.number("unreconciled_s", 3600, 0, 31_536_000),
        skew_s=table.number("skew_s", 300, 0, 31_536_000),
        metrics_file=table.path("metrics_file", base),
        logs=logs,
        rules=rules,
        targets=tuple(targets),
        peers=tuple(check_url(url, "peers") for url in table.words("peers")),
    )
    if len(settings.peers) > MAX_PEERS:
        raise FormatError("peers", f"are more than {MAX_PEERS}")
    table.end()
    return settings


def check_url(url: str, what: str) -> str:
    """Return an http or https URL without a slash at the end. Raises: FormatError."""
    if not url.startswith(("http://", "https://")) or not url.isascii() or not url.isprintable() or " " in url:
        raise FormatError(what, f"{url[:80]!r} is no http or https URL")
    return url.rstrip("/")


def _log(table: _Table, base: Path) -> LogSettings:
    policy = Policy.parse(Files().read(base / table.take("policy", str), MAX_POLICY_SIZE))
    origins = {log.key.name for log in policy.logs}
    origin = table.take("origin", str, next(iter(origins)) if len(origins) == 1 else None)
    if origin not in origins:
        raise FormatError(table.place("origin"), f"{origin[:80]!r} is not the key name of a log of the policy")
    source = table.take("source", str)
    growth = None
    if table.has("growth"):
        part = table.table("growth")
        growth = Growth(
            interval_s=int(part.number("interval_s", 3600, 1, 31_536_000)),
            factor=part.number("factor", 8, 1, 1000),
            least=int(part.number("least", 24, 4, 1000)),
            most=int(part.number("most", 336, 4, 1000)),
        )
        part.end()
    log = LogSettings(
        policy=policy,
        origin=origin,
        source=check_url(source, table.place("source")) if "://" in source else str(base / source),
        stale_s=int(table.number("stale_s", 0, 1, 31_536_000)) if table.has("stale_s") else None,
        growth=growth,
    )
    table.end()
    return log


def _rule(table: _Table, origins: list[str]) -> Rule:
    rule = Rule(
        name=table.take("name", str),
        query=Query.parse(table.take("query", str)),
        severity=table.choice("severity", "warning", SEVERITIES),
        origins=table.words("origins"),
        with_data=table.take("with_data", bool, default=False),
    )
    for origin in rule.origins:
        if origin not in origins:
            raise FormatError(table.place("origins"), f"{origin[:80]!r} is no log that is followed")
    table.end()
    return rule


def _webhook(table: _Table, base: Path) -> Webhook:
    target = Webhook(
        name=table.take("name", str),
        url=check_url(table.take("url", str), table.place("url")),
        least=table.choice("least", "info", SEVERITIES),
        authorization_file=table.path("authorization_file", base),
    )
    table.end()
    return target


def _mail(table: _Table, base: Path) -> Mail:
    target = Mail(
        name=table.take("name", str),
        host=table.take("host", str),
        port=int(table.number("port", 587, 1, 65_535)),
        sender=table.take("from", str),
        to=table.words("to", is_needed=True),
        least=table.choice("least", "info", SEVERITIES),
        tls=table.choice("tls", "starttls", TLS),
        user=table.take("user", str, ""),
        password_file=table.path("password_file", base),
    )
    for address in (target.sender, *target.to):
        if not address.isascii() or not address.isprintable() or " " in address or "@" not in address:
            raise FormatError(table.place("to"), f"{address[:80]!r} is no address such as alice@example.com")
    if target.password_file is not None and target.tls == "none":
        raise FormatError(table.place("tls"), "a password is not sent in clear")
    table.end()
    return target


def _command(table: _Table) -> Command:
    target = Command(
        name=table.take("name", str),
        words=table.words("run", is_needed=True),
        least=table.choice("least", "info", SEVERITIES),
    )
    table.end()
    return target
