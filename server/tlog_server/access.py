"""Who may do what: the one question that every handler asks before it reads or writes a partition.

Whoever asks says who they are by a bearer token (RFC 6750), in pages by the password of Basic authentication (RFC
7617), or by a client certificate that a trusted proxy has checked. Source: docs/access.md.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from flask import Flask, Response, current_app, g, request

from tlog.access import Token, Tokens, Verb
from tlog.accessrules import AccessRules
from tlog.errors import FormatError
from tlog.ledger import Ledger
from tlog.names import SYSTEM_PARTITION
from tlog_server.problems import RefusedError

CHALLENGES = (
    ("WWW-Authenticate", 'Bearer realm="tlog"'),
    ("WWW-Authenticate", 'Basic realm="tlog", charset="UTF-8"'),
)
VERIFY_HEADER = "X-SSL-Client-Verify"
SUBJECT_HEADER = "X-SSL-Client-S-DN"
MAX_HEADER_LENGTH = 1024

_EXTENSION = "tlog_access"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. name: of the authenticated writer, None where nobody said who they are.

    token: the grant that was proved, None likewise.
    """

    name: str | None
    token: Token | None = None


@dataclass(frozen=True, slots=True)
class _Access:
    """What an application knows about access."""

    ledger: Ledger
    tokens: Tokens
    rules: AccessRules


def install(app: Flask, ledger: Ledger) -> None:
    """Make an application of a ledger ask who may do what. Call it once, before requests come."""
    app.extensions[_EXTENSION] = _Access(ledger, Tokens(ledger), ledger.config.access_rules())
    app.after_request(_keep_private)


def require(verb: Verb, partition: str) -> Caller:
    """Return who sent the request if they may do this to the partition.

    partition: a name, of which there may be no partition. Where any partition is private, a name without partition is
    answered as a private one is, so that nobody learns which there are.
    Raises: RefusedError, 401 where a token is missing or not known, 403 where it may not.
    """
    sender = caller()
    if verb == "append" and partition == SYSTEM_PARTITION:
        raise RefusedError(403, f"{SYSTEM_PARTITION} is written by the log itself only.", field="partition")
    if verb == "read" and is_public(partition):
        return sender
    g.is_private = True
    if sender.token is None:
        detail = f"To {verb} here, send a token that may: 'Authorization: Bearer TOKEN'."
        raise RefusedError(401, detail, field="Authorization", headers=CHALLENGES)
    if not sender.token.may(verb, partition):
        detail = f"This token may not {verb} in a partition of this name, if there is one; ask for one that may."
        raise RefusedError(403, detail, field="Authorization")
    return sender


def may(verb: Verb, partition: str) -> bool:
    """Whether the sender of the request may do this; for lists, which leave out the rest. Raises: as `caller`."""
    sender = caller()
    if verb == "read" and is_public(partition):
        return True
    g.is_private = True
    if verb == "append" and partition == SYSTEM_PARTITION:
        return False
    return sender.token is not None and sender.token.may(verb, partition)


def is_public(partition: str) -> bool:
    """Whether everybody may read the partition of this name, and may know that there is none."""
    access = _access()
    if access.rules.is_private(partition):
        return False
    try:
        return not access.rules.has_private or access.ledger.has(partition)
    except FormatError:  # no partition can have this name
        return False


def caller() -> Caller:
    """Return who sent the request, by the token or the certificate that came with it.

    Raises: RefusedError 401 where a token came that does not count: unknown, revoked, expired, or in another form.
    """
    found: Caller | None = g.get("caller")
    if found is None:
        token = _token()
        found = g.caller = Caller(None if token is None else token.writer, token)
    return found


def client_address() -> str:
    """Return the address that sent the request; where that is a trusted proxy, the one that it says."""
    peer = request.environ.get("REMOTE_ADDR", "")
    return _access().rules.client_address(peer, request.headers.get("X-Forwarded-For", ""))


def _token() -> Token | None:
    header = request.headers.get("Authorization")
    if header is None:
        return _certified()
    token = _access().tokens.authenticate(_text_of(header))
    if token is None:
        raise _unauthorized("The token is not known: it is mistyped, was revoked, or has expired.")
    return token


def _text_of(header: str) -> str:
    """Return the token's text out of the header Authorization. Raises: RefusedError."""
    scheme, _, rest = header.partition(" ")
    if len(header) > MAX_HEADER_LENGTH:
        raise _unauthorized("Authorization is longer than any token.")
    if scheme.lower() == "bearer":
        return rest.strip(" ")
    if scheme.lower() != "basic":
        raise _unauthorized("Send 'Authorization: Bearer TOKEN'.")
    if request.method not in {"GET", "HEAD"}:
        # A browser adds a Basic password by itself to whatever another site makes it send; a bearer token it does not.
        raise _unauthorized(
            "Basic is for reading in a browser; to change something, send 'Authorization: Bearer TOKEN'."
        )
    try:
        text = base64.b64decode(rest.strip(" "), validate=True).decode()
    except (binascii.Error, ValueError) as err:
        raise _unauthorized("What comes after Basic is no base64 of user:password.") from err
    return text.partition(":")[2]


def _certified() -> Token | None:
    """Return the grant of the client certificate that a trusted proxy has checked, None where there is none."""
    access, headers = _access(), request.headers
    if SUBJECT_HEADER not in headers or not access.rules.is_trusted(request.environ.get("REMOTE_ADDR", "")):
        return None
    if headers.get(VERIFY_HEADER) != "SUCCESS":
        return None
    if request.method not in {"GET", "HEAD"} and headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        raise RefusedError(403, "Another site made this browser send a certificate.", field="Sec-Fetch-Site")
    return access.tokens.identify(headers[SUBJECT_HEADER])


def _unauthorized(detail: str) -> RefusedError:
    challenges = [
        (name, value + ', error="invalid_token"' if "Bearer" in value else value) for name, value in CHALLENGES
    ]
    return RefusedError(401, detail, field="Authorization", headers=challenges)


def _keep_private(response: Response) -> Response:
    """Keep out of shared caches what not everybody may read."""
    if g.get("is_private", False):
        kept = response.headers.get("Cache-Control", "no-store")
        response.headers["Cache-Control"] = kept.replace("public", "private")
        response.vary.add("Authorization")
    return response


def _access() -> _Access:
    found: _Access = current_app.extensions[_EXTENSION]
    return found
