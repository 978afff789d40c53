"""A ledger: a directory of partitions with one configuration. Source: docs/formats.md, "Ledger directory"."""

from __future__ import annotations

import os
import threading
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from tlog.accessrules import AccessRules
from tlog.errors import ConflictError, FormatError, NotFoundError
from tlog.names import check_origin_prefix, check_partition_name, origin_of
from tlog.partition import Partition
from tlog.policy import MAX_POLICY_SIZE, Policy
from tlog.sequencer import Clock
from tlog.storage.disk import Disk, Files
from tlog.storage.layout import CONFIG_NAME, DEFAULT_SEGMENT_ENTRIES, MIN_SEGMENT_ENTRIES, PartitionPaths
from tlog.vocabulary import Vocabulary
from tlog.witnessing.collect import Collector

MAX_CONFIG_SIZE = 1 << 16

_CONFIG = """\
# Configuration of this tlog ledger.

# The origin of a partition's log is this prefix, a slash and the partition's name.
origin = "{origin}"

# Entries a segment file; fixed when the ledger was created.
segment_entries = {segment_entries}

# Where the keys lie, relative to this file; put them on another volume if you can.
keys = "{keys}"
"""
_POST_QUANTUM = """
# Checkpoints carry an ML-DSA-44 signature beside that of Ed25519, for readers who fear quantum computers.
post_quantum = true
"""
_WITNESSES = """
# The policy (c2sp.org/tlog-policy) whose witnesses cosign every checkpoint before it is published, with their URLs.
"""
_CATEGORIES = """
# Categories that events may have beside the usual ones, or with another retention class.
[categories]
"""
_RETENTION = """
# Days for which the events of a retention class are to be kept, or "forever". Nothing is deleted by this.
[retention]
"""
_ACCESS = """
# Partitions that are private, all others are public for reading; and the proxies whose word about clients is believed.
[access]
"""


@dataclass(frozen=True, slots=True)
class Config:
    """What `tlog.toml` says. origin: prefix of all origins. segment_entries: 2^8 to 2^16. keys: a directory.

    categories: retention class by category of events. retention: days, or "forever", by retention class; declared only.
    access: `private` and `trusted_proxies`, as `accessrules.AccessRules` has them. witnesses: a policy's file, without
    whose quorum nothing is published; none if empty. post_quantum: checkpoints carry an ML-DSA-44 signature too.
    """

    origin: str
    segment_entries: int = DEFAULT_SEGMENT_ENTRIES
    keys: str = "keys"
    categories: Mapping[str, str] = field(default_factory=dict)
    retention: Mapping[str, int | str] = field(default_factory=dict)
    access: Mapping[str, Sequence[str]] = field(default_factory=dict)
    witnesses: str = ""
    post_quantum: bool = False

    def __post_init__(self) -> None:
        check_origin_prefix(self.origin)
        entries, keys = cast("Any", self.segment_entries), cast("Any", self.keys)
        if (
            type(entries) is not int
            or not MIN_SEGMENT_ENTRIES <= entries <= DEFAULT_SEGMENT_ENTRIES
            or entries & (entries - 1)
        ):
            shown = "a huge number" if type(entries) is int and entries.bit_length() > 64 else repr(entries)
            raise FormatError("segment_entries", f"{shown} is no power of two from 256 to 65536")
        _check_path("keys", keys, "is no path of a directory")
        if type(self.post_quantum) is not bool:
            raise FormatError("post_quantum", f"{self.post_quantum!r} is neither true nor false")
        if self.witnesses != "":
            _check_path("witnesses", self.witnesses, "is no path of a policy's file")
        for name in ("categories", "retention", "access"):
            if not isinstance(getattr(self, name), Mapping):
                raise FormatError(name, f"is no table; write [{name}] and a line for each below it")
        self.vocabulary()
        self.access_rules()

    def vocabulary(self) -> Vocabulary:
        """Return the categories that events may have, the usual ones included."""
        return Vocabulary(self.categories, self.retention)

    def access_rules(self) -> AccessRules:
        """Return which partitions are private, and which proxies are believed."""
        return AccessRules(self.access)

    @classmethod
    def parse(cls, raw: bytes, what: str) -> Config:
        """Return the configuration that the file's bytes spell. Raises: FormatError naming the field."""
        try:
            fields: dict[str, Any] = tomllib.loads(raw.decode())
        except (ValueError, RecursionError) as err:  # of tomllib, of UTF-8, or an integer of too many digits
            raise FormatError(what, f"is no TOML ({err})") from err
        unknown = sorted(set(fields) - set(cls.__slots__))
        if unknown:
            raise FormatError(f"{what}, {unknown[0]}", f"is no setting; there are {', '.join(cls.__slots__)}")
        if not isinstance(fields.get("origin"), str):
            raise FormatError(f"{what}, origin", "is missing, or is no string")
        try:
            return cls(**fields)
        except FormatError as err:
            raise FormatError(f"{what}, {err.what}", err.reason) from err

    def format(self) -> bytes:
        """Return the file's bytes."""
        text = _CONFIG.format(origin=self.origin, segment_entries=self.segment_entries, keys=self.keys)
        if self.post_quantum:
            text += _POST_QUANTUM
        if self.witnesses:
            text += _WITNESSES + f'witnesses = "{self.witnesses}"\n'
        if self.categories:
            text += _CATEGORIES + "".join(f'{name} = "{kind}"\n' for name, kind in self.categories.items())
        if self.retention:
            text += _RETENTION
            text += "".join(f"{name} = {_toml(days)}\n" for name, days in self.retention.items())
        if self.access:
            text += _ACCESS
            text += "".join(f"{name} = [{', '.join(map(_toml, texts))}]\n" for name, texts in self.access.items())
        return text.encode()


def _check_path(name: str, path: object, reason: str) -> None:
    if not isinstance(path, str) or not path or any(c in '"\\\x7f' or c < " " for c in path):
        raise FormatError(name, f"{path!r} {reason}")


def _toml(days: int | str) -> str:
    return str(days) if isinstance(days, int) else f'"{days}"'


class Ledger:
    """A directory of partitions. Make one with `create`, get at it with `open`; it may be used from several threads."""

    def __init__(
        self,
        path: Path,
        config: Config,
        *,
        disk: Disk | None = None,
        clock: Clock = time.time_ns,
        passphrase: bytes | None = None,
    ) -> None:
        """Not for users: `create` and `open` check what is there."""
        self.path = path
        self.config = config
        self._files = Files(disk, top=path)
        self._clock = clock
        self._passphrase = passphrase
        self._open: dict[str, Partition] = {}
        self._collectors: list[Collector] = []
        self._mutex = threading.Lock()

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        origin: str,
        segment_entries: int = DEFAULT_SEGMENT_ENTRIES,
        keys: str = "keys",
        passphrase: bytes | None = None,
        post_quantum: bool = False,
        disk: Disk | None = None,
        clock: Clock = time.time_ns,
    ) -> Ledger:
        """Create a ledger and return it.

        path: its directory, made if it is missing. origin: prefix of the partitions' origins, a URL without scheme,
        such as audit.example.com. segment_entries: entries a segment file, a power of two from 256 to 65,536. keys:
        directory of the keys, relative to `path`. passphrase: encrypts the private keys. post_quantum: checkpoints
        carry an ML-DSA-44 signature too, 3.3 kB each. disk, clock: for tests.
        Raises: FormatError; ConflictError where there is a ledger.
        """
        config = Config(origin, segment_entries, keys, post_quantum=post_quantum)
        files = Files(disk)
        root = Path(path)
        if files.exists(root / CONFIG_NAME):
            raise ConflictError(f"{root}: there is a ledger already")
        files.ensure_dir(root)
        if os.access(root.parent, os.R_OK | os.W_OK):  # who died while creating it may have left it not durable
            files.disk.sync_dir(root.parent)
        files.create(root / CONFIG_NAME, config.format())
        return cls(root, config, disk=disk, clock=clock, passphrase=passphrase)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        passphrase: bytes | None = None,
        disk: Disk | None = None,
        clock: Clock = time.time_ns,
    ) -> Ledger:
        """Return the ledger at `path`. passphrase: of its private keys where they are encrypted.

        Raises: NotFoundError, FormatError naming the setting of `tlog.toml` that is wrong. Cost: one small read.
        """
        root = Path(path)
        try:
            raw = Files(disk).read(root / CONFIG_NAME, MAX_CONFIG_SIZE)
        except NotFoundError as err:
            raise NotFoundError(f"{root}: there is no ledger; 'tlog init --origin NAME {root}' creates one") from err
        return cls(root, Config.parse(raw, str(root / CONFIG_NAME)), disk=disk, clock=clock, passphrase=passphrase)

    def partition(self, name: str) -> Partition:
        """Return the partition with this name; the same object at every call.

        A partition that does not exist is created by its first append. Raises: FormatError for names that are not
        allowed.
        """
        check_partition_name(name)
        with self._mutex:
            found = self._open.get(name)
            if found is None:
                found = self._open[name] = Partition(
                    self._files,
                    PartitionPaths(self.path, self.path / self.config.keys, name),
                    origin_of(self.config.origin, name),
                    self.config.segment_entries,
                    passphrase=self._passphrase,
                    cosigning=self._cosigning(),
                    is_post_quantum=self.config.post_quantum,
                    clock=self._clock,
                )
            return found

    def witness_policy(self) -> Policy | None:
        """Return the policy that `witnesses` names, None where it is empty. Raises: NotFoundError, FormatError."""
        if not self.config.witnesses:
            return None
        path = self.path / self.config.witnesses
        try:
            return Policy.parse(self._files.read(path, MAX_POLICY_SIZE))
        except FormatError as err:
            raise FormatError(f"{path}, {err.what}", err.reason) from err

    def _cosigning(self) -> Collector | None:
        policy = self.witness_policy()
        if policy is None:
            return None
        self._collectors.append(Collector(policy))
        return self._collectors[-1]

    def has(self, name: str) -> bool:
        """Whether a partition of this name was created. Raises: FormatError for names that are not allowed."""
        return self._files.exists(self.path / "partitions" / check_partition_name(name))

    def existing(self, name: str) -> Partition:
        """Return a partition that was created; of names that strangers make up nothing is kept.

        Raises: NotFoundError where there is none of this name, FormatError for names that are not allowed.
        """
        if not self.has(name):
            raise NotFoundError(f"partition {name}: there is none in {self.path}; 'tlog list' shows those that are")
        return self.partition(name)

    def partitions(self) -> list[str]:
        """Return the names of the partitions that exist, sorted. Directories with other names are passed over."""
        names = []
        for name in self._files.disk.list_dir(self.path / "partitions"):
            try:
                names.append(check_partition_name(name))
            except FormatError:
                continue
        return names

    @property
    def files(self) -> Files:
        """The operations on the ledger's files, for the library's own modules."""
        return self._files

    def opened(self) -> list[Partition]:
        """Return the partitions that this process has used."""
        with self._mutex:
            return list(self._open.values())

    def close(self) -> None:
        """Write what was submitted and release all files and connections."""
        with self._mutex:
            for partition in self._open.values():
                partition.close()
            for collector in self._collectors:
                collector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
