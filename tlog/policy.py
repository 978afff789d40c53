"""Trust policies: which logs are believed, and which witnesses must have cosigned what they sign.

A policy is a text of `log`, `witness`, `group` and `quorum` lines. A checkpoint is valid under it if one of its logs
signed it, the key name being the checkpoint's origin, and the quorum's witnesses cosigned it.
Source: c2sp.org/tlog-policy.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from tlog._strict import parse_decimal, require_int
from tlog.checkpoint import Checkpoint
from tlog.cosignature import Cosignature
from tlog.errors import FormatError, PolicyError, UnknownOriginError, UntrustedNoteError
from tlog.keys import COSIGNATURES, ED25519_NOTE, ML_DSA_44_COSIGNATURE, VerifierKey
from tlog.note import open_note

MAX_POLICY_SIZE = 1 << 20
"""Bytes of a policy."""

MAX_ITEMS = 1000
"""Logs, witnesses and groups of a policy, each. The specification wants at least 32."""

NO_QUORUM = "none"
"""The quorum that is met without any cosignature."""

_WHITE_SPACE = re.compile("[ \t]+")
_FORBIDDEN = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")
_FORBIDDEN_IN_WORD = re.compile("[\x00-\x20\x7f]")


@dataclass(frozen=True, slots=True)
class PolicyLog:
    """A log that is believed. key: of signature type 0x01 or 0x06, named as the log's origin. url: opaque, or None."""

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyWitness:
    """A witness. name: its name in the policy only. key: of signature type 0x04 or 0x06. url: opaque, or None."""

    name: str
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyGroup:
    """A group that counts as a witness where `threshold` of its members (witnesses or earlier groups) do."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogSignedCheckpoint:
    """A checkpoint that a log of the policy signed; whether the quorum is met is in the names only.

    checkpoint: the checkpoint. log_key: the first key of the log that signed. cosignatures: those of the policy's
    witnesses, verified, in the order of the lines. witnesses_met, witnesses_missing: the witnesses' names in the
    policy, in its order. quorum: the policy's quorum in words.
    """

    checkpoint: Checkpoint
    log_key: VerifierKey
    cosignatures: tuple[Cosignature, ...]
    witnesses_met: tuple[str, ...]
    witnesses_missing: tuple[str, ...]
    quorum: str

    @property
    def origin(self) -> str:
        """The log's origin."""
        return self.checkpoint.origin

    @property
    def tree_size(self) -> int:
        """The number of entries that the checkpoint covers."""
        return self.checkpoint.tree_size

    @property
    def root_hash(self) -> bytes:
        """The 32-byte root hash."""
        return self.checkpoint.root_hash


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint(LogSignedCheckpoint):
    """A checkpoint that is valid under the policy: signed by a log of it, and cosigned by the quorum."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A trust policy. Make one with `Policy.parse` or `Policy.for_log`.

    quorum: the name of a witness or group, or NO_QUORUM. Names that were octets outside UTF-8 are kept by Python's
    surrogateescape, so that no two names become one. An empty set of logs is allowed, but verifies nothing.
    Raises: FormatError where a rule of the specification is broken.
    """

    logs: tuple[PolicyLog, ...]
    witnesses: tuple[PolicyWitness, ...] = ()
    groups: tuple[PolicyGroup, ...] = ()
    quorum: str = NO_QUORUM

    def __post_init__(self) -> None:
        rules = _Rules()
        for log in self.logs:
            rules.add_log(log)
        for witness in self.witnesses:
            rules.add_witness(witness)
        for group in self.groups:
            rules.add_group(group)
        rules.set_quorum(self.quorum)

    @classmethod
    def parse(cls, text: str | bytes) -> Policy:
        """Return the policy that `text` spells, at most 1 MiB. Every line ends in a newline, the last one too.

        (A policy whose end was cut off could otherwise name a shorter, weaker quorum.)
        Raises: FormatError with the line's number. Source: c2sp.org/tlog-policy, "Policy file syntax and structure".
        """
        rules = _Rules()
        for number, line in enumerate(_lines(text), 1):
            rules.what = f"policy line {number}"
            words = _WHITE_SPACE.split(line.strip(" \t"))
            if words == [""] or words[0].startswith("#"):
                continue
            rules.add_line(words[0], words[1:])
        if rules.quorum is None:
            raise FormatError("policy", "it has no quorum line; 'quorum none' asks for no cosignature")
        return cls(tuple(rules.logs), tuple(rules.witnesses), tuple(rules.groups), rules.quorum)

    @classmethod
    def for_log(cls, vkey: str | VerifierKey) -> Policy:
        """Return the policy that believes one log and asks for no cosignature. Raises: FormatError."""
        return cls((PolicyLog(vkey if isinstance(vkey, VerifierKey) else VerifierKey.parse(vkey)),))

    def format(self) -> bytes:
        """Return the policy's text: logs, witnesses, groups, quorum, one blank between words, no comments."""
        lines = [_line("log", str(log.key), log.url) for log in self.logs]
        lines += [_line("witness", witness.name, str(witness.key), witness.url) for witness in self.witnesses]
        lines += [_line("group", group.name, str(group.threshold), *group.members) for group in self.groups]
        lines.append(_line("quorum", self.quorum))
        return "".join(lines).encode("utf-8", "surrogateescape")

    def authenticate(self, checkpoint: bytes | Checkpoint) -> LogSignedCheckpoint:
        """Check that a log of this policy signed the checkpoint, and verify what its witnesses cosigned.

        The quorum is not asked for: `verify` does that. Every signature line of a key of this policy must verify.
        Raises: FormatError, UnknownOriginError (no log of the policy has that origin), SignatureError,
        UntrustedNoteError (no signature by a key of the log). Source: c2sp.org/tlog-proof, steps 2 and 3.
        """
        parsed = Checkpoint.parse(checkpoint) if isinstance(checkpoint, bytes) else checkpoint
        # (1) The origin is that of a log in the policy. The name of a log's key is its origin.
        log_keys = {log.key for log in self.logs if log.key.name == parsed.origin}
        if not log_keys:
            origins = _join(sorted({log.key.name for log in self.logs}))
            raise UnknownOriginError(parsed.origin, f"a log of the policy ({origins or 'it lists none'})")
        # (2) No line of a known key is wrong, whoever the key belongs to.
        known = [*(log.key for log in self.logs), *(witness.key for witness in self.witnesses)]
        opened = open_note(parsed.note, known)
        # (3) A key of this very log has signed.
        log_key = next((key for key, _ in opened.verified if key in log_keys), None)
        if log_key is None:
            message = f"no key of the log {parsed.origin} has signed the checkpoint"
            raise UntrustedNoteError(message, parsed.raw)
        # (4) Which witnesses have cosigned. A cosignature without a time does not say that the tree is the largest.
        witness_keys = {witness.key for witness in self.witnesses}
        cosigned = [
            (key, Cosignature.decode(line.name, line.key_id, line.signature))
            for key, line in opened.verified
            if key in witness_keys
        ]
        cosigned = [(key, cosignature) for key, cosignature in cosigned if cosignature.timestamp_s]
        signed = {key for key, _ in cosigned}
        return LogSignedCheckpoint(
            checkpoint=parsed,
            log_key=log_key,
            cosignatures=tuple(cosignature for _, cosignature in cosigned),
            witnesses_met=tuple(_shown(witness.name) for witness in self.witnesses if witness.key in signed),
            witnesses_missing=tuple(_shown(witness.name) for witness in self.witnesses if witness.key not in signed),
            quorum=self.quorum_in_words(),
        )

    def verify(self, checkpoint: bytes | Checkpoint) -> VerifiedCheckpoint:
        """Check that the checkpoint is valid under this policy: signed by a log of it, and cosigned by the quorum.

        checkpoint: the signed note. Raises: as `authenticate`, and PolicyError where the quorum is not met.
        Source: c2sp.org/tlog-policy, section "What is a policy".
        """
        return self.require_quorum(self.authenticate(checkpoint))

    def require_quorum(self, signed: LogSignedCheckpoint) -> VerifiedCheckpoint:
        """Return what this policy's `authenticate` gave as verified, if the quorum is met. Raises: PolicyError."""
        cosigners = {(line.key_name, line.key_id) for line in signed.cosignatures}
        met = {witness.name for witness in self.witnesses if (witness.key.name, witness.key.key_id) in cosigners}
        if not self.is_quorum(met):
            message = (
                f"the quorum is not met: it is {signed.quorum}; cosigned by {_join(signed.witnesses_met) or 'nobody'}, "
                f"missing {_join(signed.witnesses_missing)}"
            )
            raise PolicyError(message, met=signed.witnesses_met, missing=signed.witnesses_missing)
        return VerifiedCheckpoint(
            checkpoint=signed.checkpoint,
            log_key=signed.log_key,
            cosignatures=signed.cosignatures,
            witnesses_met=signed.witnesses_met,
            witnesses_missing=signed.witnesses_missing,
            quorum=signed.quorum,
        )

    def is_quorum(self, witnesses: Collection[str]) -> bool:
        """Tell whether these witnesses, by their names in the policy, are enough. It guards nothing by itself."""
        met = {witness.name for witness in self.witnesses if witness.name in witnesses}
        for group in self.groups:  # members stand before the groups they are in
            if sum(member in met for member in group.members) >= group.threshold:
                met.add(group.name)
        return self.quorum == NO_QUORUM or self.quorum in met

    def describe(self) -> tuple[str, ...]:
        """Return the policy in words, one statement a line."""
        lines = [f"log {log.key.name}, key {log.key.key_id.hex()}, is believed" for log in self.logs]
        lines += [
            f"witness {_shown(witness.name)} is {witness.key.name}, key {witness.key.key_id.hex()}"
            for witness in self.witnesses
        ]
        lines += [f"group {_shown(group.name)} is {_members_in_words(group)}" for group in self.groups]
        return (*(lines if self.logs else ["no log is believed", *lines]), f"quorum: {self.quorum_in_words()}")

    def quorum_in_words(self) -> str:
        """Return who must have cosigned, in words."""
        if self.quorum == NO_QUORUM:
            return "none, no cosignature is asked for"
        group = next((group for group in self.groups if group.name == self.quorum), None)
        return f"{_shown(self.quorum)}" if group is None else f"{_shown(self.quorum)}, {_members_in_words(group)}"


@dataclass(slots=True)
class _Rules:
    """The rules of the specification, applied item by item. what: the place that errors name."""

    what: str = "policy"
    logs: list[PolicyLog] = field(default_factory=list)
    witnesses: list[PolicyWitness] = field(default_factory=list)
    groups: list[PolicyGroup] = field(default_factory=list)
    quorum: str | None = None
    _names: set[str] = field(default_factory=set)
    _members: set[str] = field(default_factory=set)
    _log_keys: set[bytes] = field(default_factory=set)
    _witness_keys: set[bytes] = field(default_factory=set)
    _key_ids: set[tuple[str, bytes]] = field(default_factory=set)

    def add_line(self, keyword: str, words: list[str]) -> None:
        """Add the item of one line: its keyword and the words behind it."""
        if keyword == "log" and 1 <= len(words) <= 2:
            self.add_log(PolicyLog(self._key(words[0]), words[1] if len(words) == 2 else None))
        elif keyword == "witness" and 2 <= len(words) <= 3:
            self.add_witness(PolicyWitness(words[0], self._key(words[1]), words[2] if len(words) == 3 else None))
        elif keyword == "group" and len(words) >= 3:
            self.add_group(PolicyGroup(words[0], self._threshold(words[1], len(words) - 2), tuple(words[2:])))
        elif keyword == "quorum" and len(words) == 1:
            self.set_quorum(words[0])
        elif keyword in _FORMS:
            raise FormatError(self.what, f"the form is: {_FORMS[keyword]}; a comment has a line of its own")
        else:
            raise FormatError(self.what, f"{_shown(keyword)[:40]!r} is none of {', '.join(_FORMS)}")

    def add_log(self, log: PolicyLog) -> None:
        self._check_url(log.url)
        self._check_count(self.logs, "logs")
        self._check_key(log.key, (ED25519_NOTE, ML_DSA_44_COSIGNATURE), self._log_keys, "log")
        self.logs.append(log)

    def add_witness(self, witness: PolicyWitness) -> None:
        self._check_url(witness.url)
        self._check_count(self.witnesses, "witnesses")
        self._check_new_name(witness.name)
        self._check_key(witness.key, COSIGNATURES, self._witness_keys, "witness")
        self._names.add(witness.name)
        self.witnesses.append(witness)

    def add_group(self, group: PolicyGroup) -> None:
        self._check_count(self.groups, "groups")
        self._check_new_name(group.name)
        require_int(group.threshold, f"{self.what}: threshold", 1, len(group.members))
        for member in group.members:
            if member not in self._names:
                raise FormatError(self.what, f"member {_shown(member)[:60]!r} is not defined on a line before")
            if member in self._members:
                raise FormatError(self.what, f"{_shown(member)[:60]!r} is a member already; once is possible")
            self._members.add(member)
        self._names.add(group.name)
        self.groups.append(group)

    def set_quorum(self, name: str) -> None:
        if self.quorum is not None:
            raise FormatError(self.what, "this is a second quorum line")
        if name != NO_QUORUM and name not in self._names:
            raise FormatError(self.what, f"the quorum {_shown(name)[:60]!r} is not defined on a line before")
        self.quorum = name

    def _key(self, vkey: str) -> VerifierKey:
        try:
            return VerifierKey.parse(vkey)
        except FormatError as err:
            raise FormatError(self.what, str(err)) from err

    def _threshold(self, word: str, count: int) -> int:
        shorthand = {"any": 1, "all": count}
        return shorthand[word] if word in shorthand else parse_decimal(word, f"{self.what}: threshold")

    def _check_key(self, key: VerifierKey, key_types: Collection[int], seen: set[bytes], role: str) -> None:
        if key.key_type not in key_types:
            types = " or ".join(f"{key_type:#04x}" for key_type in key_types)
            reason = f"a {role} needs a key of signature type {types}, {key.name} has {key.key_type:#04x}"
            raise FormatError(self.what, reason)
        if key.public_key in seen:
            raise FormatError(self.what, f"the public key of {key.name} belongs to a {role} already")
        if (key.name, key.key_id) in self._key_ids:
            raise FormatError(self.what, f"another key is {key.name}+{key.key_id.hex()} already")
        seen.add(key.public_key)
        self._key_ids.add((key.name, key.key_id))

    def _check_count(self, items: list[PolicyLog] | list[PolicyWitness] | list[PolicyGroup], what: str) -> None:
        if len(items) >= MAX_ITEMS:
            raise FormatError(self.what, f"more than {MAX_ITEMS} {what} are not supported")

    def _check_new_name(self, name: str) -> None:
        self._check_word(name)
        if name == NO_QUORUM:
            raise FormatError(self.what, f"the name {NO_QUORUM!r} is reserved")
        if name in self._names:
            raise FormatError(self.what, f"the name {_shown(name)[:60]!r} is defined already")

    def _check_url(self, url: str | None) -> None:
        if url is not None:
            self._check_word(url)

    def _check_word(self, word: str) -> None:
        if not word or _FORBIDDEN_IN_WORD.search(word) is not None:
            raise FormatError(self.what, f"{_shown(word)[:60]!r} is empty, or holds white space or control characters")


_FORMS = {
    "log": "log <vkey> [<url>]",
    "witness": "witness <name> <vkey> [<url>]",
    "group": "group <name> all|any|<k> <member>...",
    "quorum": "quorum <name>|none",
}


def _lines(text: str | bytes) -> Iterator[str]:
    """Yield the lines of a policy, after the checks on its bytes."""
    try:
        raw = text.encode() if isinstance(text, str) else text
    except UnicodeEncodeError as err:
        raise FormatError("policy", "it is not valid Unicode") from err
    if len(raw) > MAX_POLICY_SIZE:
        raise FormatError("policy", f"{len(raw)} bytes are more than {MAX_POLICY_SIZE}")
    forbidden = _FORBIDDEN.search(raw)
    if forbidden is not None:
        number = raw[: forbidden.start()].count(b"\n") + 1
        raise FormatError(f"policy line {number}", f"the octet {forbidden[0][0]:#04x} is not allowed")
    lines = raw.decode("utf-8", "surrogateescape").split("\n")
    if lines.pop():
        raise FormatError(f"policy line {len(lines) + 1}", "it does not end in a newline: the file may be cut off")
    yield from lines


def _line(*words: str | None) -> str:
    return " ".join(word for word in words if word is not None) + "\n"


def _shown(name: str) -> str:
    """Return a name for messages, with octets outside UTF-8 in hex behind a backslash and an x."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _join(names: Iterable[str], most: int = 10) -> str:
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def _members_in_words(group: PolicyGroup) -> str:
    members = _join(_shown(member) for member in group.members)
    return f"{group.threshold} of {len(group.members)}: {members}"
