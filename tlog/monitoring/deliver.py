"""Handing alerts to their targets: webhooks, e-mail, programs.

Targets come from configuration only. An alert is delivered at least once: its number, with the monitor's id, is the
same each time it is tried.
"""

from __future__ import annotations

import json
import smtplib
import ssl
import subprocess
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

from tlog.errors import FormatError, StorageError
from tlog.monitoring.settings import Command, Mail, Target, Webhook
from tlog.monitoring.state import Delivery, MonitorState
from tlog.report.shown import cut, visible
from tlog.storage.disk import Files

TIMEOUT_S = 30.0
FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 3600.0
"""Pauses between attempts double from the first to the longest; nothing is given up."""

MAX_IN_ROUND = 1000
"""Alerts that one target gets in a round; the others follow in the next."""

MAX_SECRET_SIZE = 4096

Deliver = Callable[[Target, str, bytes], None]
"""Gives a target the body of an alert, with its id. Raises: StorageError where it was not taken."""


def deliver_due(state: MonitorState, targets: dict[str, Target], now_s: float, deliver: Deliver) -> dict[str, str]:
    """Deliver what is due; return the last error of each target that failed.

    Each target gets its alerts in their order, and none holds up another one. What waits for a target that is not
    configured any more is dropped.
    """
    failed: dict[str, str] = {}
    for name in state.undelivered():
        target = targets.get(name)
        if target is None:
            state.forget_target(name)
            continue
        for _ in range(MAX_IN_ROUND):
            delivery = state.due(name, now_s)
            error = None if delivery is None else _try(state, target, delivery, deliver, now_s)
            if error is not None:
                failed[name] = error
            if delivery is None or error is not None:
                break
    return failed


def deliver_to(target: Target, identity: str, body: bytes) -> None:
    """Give a target the body of an alert. Raises: StorageError where it was not taken; FormatError."""
    if isinstance(target, Webhook):
        _post(target, identity, body)
    elif isinstance(target, Mail):
        _send_mail(target, identity, body)
    else:
        _run(target, body)


def _try(state: MonitorState, target: Target, delivery: Delivery, deliver: Deliver, now_s: float) -> str | None:
    try:
        deliver(target, f"{state.id}-{delivery.alert}", delivery.body)
    except (StorageError, FormatError) as err:
        state.postpone(delivery, now_s + min(FIRST_PAUSE_S * 2 ** min(delivery.tries, 20), LONGEST_PAUSE_S))
        return str(err)
    state.delivered(delivery)
    return None


def _secret(path: Path) -> str:
    """Return a secret from its file. Raises: StorageError; FormatError where it could not stand in a header."""
    text = Files().read(path, MAX_SECRET_SIZE).decode("ascii", "replace").removesuffix("\n")
    if not text.isascii() or not text.isprintable():
        raise FormatError(str(path), "holds other characters than visible ASCII")
    return text


def _post(target: Webhook, identity: str, body: bytes) -> None:
    import httpx

    from tlog.client.transport import DeadlineTransport, until

    headers = {"Content-Type": "application/json", "Idempotency-Key": identity, "User-Agent": "tlog-monitor"}
    if target.authorization_file is not None:
        headers["Authorization"] = _secret(target.authorization_file)
    try:
        with (
            httpx.Client(transport=DeadlineTransport("https:"), follow_redirects=False, trust_env=False) as client,
            until(TIMEOUT_S),
            client.stream("POST", target.url, content=body, headers=headers) as response,
        ):
            status = response.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as err:
        raise StorageError(f"{target.name}: cannot be reached ({str(err) or type(err).__name__})") from err
    if not 200 <= status < 300:
        raise StorageError(f"{target.name}: answered {status}")


def _send_mail(target: Mail, identity: str, body: bytes) -> None:
    fields = json.loads(body)
    message = EmailMessage()
    message["From"] = target.sender
    message["To"] = ", ".join(target.to)
    message["Subject"] = cut(visible(f"[tlog] {fields['severity']}: {fields['kind']} at {fields['origin']}"), 120)
    message["Message-ID"] = f"<{identity}@tlog-monitor.invalid>"
    message.set_content(f"{fields['message']}\n\n{json.dumps(fields, indent=2)}\n")
    context = ssl.create_default_context() if target.tls != "none" else None
    try:
        with (
            smtplib.SMTP_SSL(target.host, target.port, timeout=TIMEOUT_S, context=context)
            if target.tls == "tls"
            else smtplib.SMTP(target.host, target.port, timeout=TIMEOUT_S)
        ) as server:
            if target.tls == "starttls":
                server.starttls(context=context)
            if target.password_file is not None:
                server.login(target.user, _secret(target.password_file))
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as err:
        raise StorageError(f"{target.name}: {err}") from err


def _run(target: Command, body: bytes) -> None:
    try:
        done = subprocess.run(target.words, input=body, capture_output=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as err:
        raise StorageError(f"{target.name}: {err}") from err
    if done.returncode:
        raise StorageError(f"{target.name}: the program ended with {done.returncode}")
