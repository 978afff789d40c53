"""Which log a client means, and whom it believes: both come from its caller, never from the server."""

from __future__ import annotations

from dataclasses import dataclass

from tlog.errors import FormatError
from tlog.keys import VerifierKey
from tlog.names import check_partition_name
from tlog.policy import Policy


@dataclass(frozen=True, slots=True)
class Identity:
    """A log. origin: of its checkpoints. partition: its name on the server. policy: who must have signed them."""

    origin: str
    partition: str
    policy: Policy


def identify(
    vkey: str | VerifierKey | None, policy: Policy | str | bytes | None, origin: str | None, partition: str | None
) -> Identity:
    """Return the log that is meant.

    vkey: the log's verifier key, or instead policy: a trust policy or its text. origin, partition: one of them tells
    which log of a policy with several is meant; the partition is what stands behind the origin's last slash.
    Raises: FormatError where no log, or more than one, is meant.
    """
    if (vkey is None) == (policy is None):
        raise FormatError("vkey", "give the log's verifier key, or a policy that names it: one of the two")
    if vkey is not None:
        believed = Policy.for_log(vkey)
    else:
        believed = policy if isinstance(policy, Policy) else Policy.parse(policy or b"")
    known = sorted({log.key.name for log in believed.logs})
    meant = [name for name in known if origin in (None, name) and partition in (None, name.rpartition("/")[2])]
    if len(meant) != 1:
        said = f"{len(meant)} of its logs are meant" if meant else "none of its logs is meant"
        listed = ", ".join(known[:10])
        raise FormatError("origin", f"{said}; it believes {listed or 'no log'}: say which by origin= or partition=")
    return Identity(meant[0], check_partition_name(meant[0].rpartition("/")[2]), believed)
