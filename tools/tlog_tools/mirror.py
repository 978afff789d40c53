"""The command `tlog-mirror`: a full copy of logs, verified entry by entry, that serves the same bytes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

import tlog
from tlog._strict import format_base64
from tlog.mirroring.home import MirrorHome
from tlog.mirroring.mirror import Mirror
from tlog.mirroring.pull import keep_pulling, pull
from tlog.mirroring.source import open_source
from tlog.policy import MAX_POLICY_SIZE
from tlog_tools import common, output
from tlog_tools.witness import Group, add_logs, serving, show_vkeys

if TYPE_CHECKING:
    from flask import Flask


@click.group(
    "tlog-mirror",
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 verification failed, 2 usage or bad input, 3 not found, 4 input/output, 5 policy not "
    "met.",
)
@click.option(
    "--dir",
    "directory",
    metavar="DIR",
    envvar="TLOG_MIRROR",
    default="mirror",
    help="The mirror's directory; TLOG_MIRROR, else ./mirror.",
)
@click.version_option(tlog.__version__, message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context, directory: str) -> None:
    """Keep a verified copy of logs, and sign for having it.

    What the mirror cosigns, it has: every entry was compared with the tree before it was stored.
    """
    ctx.obj = MirrorHome(directory)


@main.command("init")
@click.option("--name", required=True, help="The mirror's name, a URL without scheme; not that of a witness.")
@click.option("--post-quantum", is_flag=True, help="Add an ML-DSA-44 key; checkpoints get a line of each key then.")
@common.with_json
@click.pass_obj
def init_command(home: MirrorHome, name: str, post_quantum: bool, as_json: bool) -> None:
    """Make a mirror, with new keys; print the verifier keys, for the policies of those who trust it."""
    show_vkeys(home.create(name, post_quantum=post_quantum, passphrase=common.passphrase()), as_json=as_json)


@main.command("vkey")
@common.with_json
@click.pass_obj
def vkey_command(home: MirrorHome, as_json: bool) -> None:
    """Print the verifier keys."""
    show_vkeys(home.vkeys(), as_json=as_json)


@main.command("add-log")
@click.argument("keys", metavar="VKEY|FILE...", nargs=-1, required=True)
@common.with_json
@click.pass_obj
def add_log_command(home: MirrorHome, keys: tuple[str, ...], as_json: bool) -> None:
    """Mirror a log from now on, by its verifier keys, or those in a FILE, or the logs of a policy."""
    with home.open(passphrase=common.passphrase()) as mirror:
        add_logs(mirror.add_log, keys, as_json=as_json)


@main.command("list")
@common.with_json
@click.pass_obj
def list_command(home: MirrorHome, as_json: bool) -> None:
    """Print the logs that are mirrored, and how far."""
    with home.open(passphrase=common.passphrase()) as mirror:
        for origin in mirror.origins():
            store = mirror.store(origin)
            found = store.checkpoint()
            size, root = (None, None) if found is None else (found.tree_size, format_base64(found.root_hash))
            if as_json:
                output.emit_json({"origin": origin, "tree_size": size, "root_hash": root, "next": store.next_entry()})
            else:
                shown = "nothing mirrored yet" if found is None else f"{size:,} entries, root hash {root}"
                output.emit_line(f"{output.printable(origin)}  {shown}")


@main.command("pull")
@click.argument("source", metavar="DIR|URL")
@click.option("--policy", metavar="FILE", required=True, help="A tlog-policy: the log's key, and the quorum.")
@common.with_json
@click.pass_obj
def pull_command(home: MirrorHome, source: str, policy: str, as_json: bool) -> None:
    """Copy what a log's site has and the mirror has not; every entry is verified. It may be interrupted and repeated.

    The source is what 'tlog export' wrote, or 'tlog serve' serves below the partition's name.
    """
    trusted = _policy(policy)
    with home.open(passphrase=common.passphrase()) as mirror, output.progress("mirroring", None) as progress:
        found = pull(mirror, trusted, open_source(source), progress)
    if as_json:
        output.emit_json(common.checkpoint_fields(found))
    else:
        output.say(f"{output.printable(found.origin)}: mirrored and cosigned {found.tree_size:,} entries")


@main.command("push")
@click.argument("partition")
@click.argument("url")
@click.option(
    "--policy", metavar="FILE", help="A tlog-policy with the mirror as a witness; its cosignature must verify."
)
@common.with_ledger
@common.with_json
def push_command(partition: str, url: str, policy: str | None, ledger_path: Path, as_json: bool) -> None:
    """Upload a partition of a ledger to the mirror at URL, as its operator; no mirror directory is needed.

    With --json: {"partition", "tree_size", "cosignatures"}, these verified under the policy, none without one.
    """
    try:
        from tlog.mirroring.push import push
        from tlog.witnessing.web import WebTransport
    except ImportError as err:
        raise tlog.StorageError("uploading needs httpx; pip install 'tlog[client]' brings it") from err
    keys = [] if policy is None else [witness.key for witness in _policy(policy).witnesses]
    if policy is not None and not keys:
        raise tlog.FormatError("--policy", "it has no witness line; the mirror's key belongs into one")
    with common.open_ledger(ledger_path) as ledger, WebTransport() as transport:
        source = common.existing(ledger, partition)
        with output.progress(f"uploading {partition}", common.published_size(source)) as progress:
            lines = push(source, url, transport, keys, progress)
        size = common.published_size(source)
    if as_json:
        output.emit_json({"partition": partition, "tree_size": size, "cosignatures": [str(line) for line in lines]})
    else:
        signed = "its cosignature was verified" if lines else "whose cosignature was not verified; --policy does that"
        output.say(f"{partition}: {size:,} entries are in the mirror, {signed}")


@main.command("serve")
@click.option(
    "--bind",
    default="127.0.0.1:7381",
    show_default=True,
    metavar="HOST:PORT",
    envvar="TLOG_MIRROR_BIND",
    show_envvar=True,
    help="Where to listen; port 0: any.",
)
@click.option(
    "--policy", metavar="FILE", help="A tlog-policy: logs with a URL are pulled, its witnesses' cosignatures are kept."
)
@click.option(
    "--pull-interval",
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0.1, 86_400),
    help="Time between two pulls.",
)
@common.with_json
@click.pass_obj
def serve_command(home: MirrorHome, bind: str, policy: str | None, pull_interval: float, as_json: bool) -> int:
    """Serve the copies, and take entries from logs, over HTTP (c2sp.org/tlog-mirror).

    One process at a time has the mirror's state, so pulling while it serves is done by the server itself. SIGTERM or
    Ctrl-C end it when its last answer is given. With --json: {"url"} when it is ready.
    """
    try:
        from tlog_server.mirroring import create_mirror_app
        from tlog_server.party_running import serve_party
    except ImportError as err:
        raise tlog.StorageError("the server needs Flask and gunicorn; pip install 'tlog[server]' brings them") from err
    secret = common.passphrase()
    ready = serving(f"the mirror in {home.path}", as_json=as_json)
    trusted = tlog.Policy(()) if policy is None else _policy(policy)
    sources = {log.key.name: open_source(log.url) for log in trusted.logs if log.url is not None}

    def make_app(mirror: Mirror) -> Flask:
        if sources:
            arguments = (mirror, trusted, sources, threading.Event(), pull_interval)
            threading.Thread(target=keep_pulling, args=arguments, name="tlog-pull", daemon=True).start()
        return create_mirror_app(mirror, [witness.key for witness in trusted.witnesses])

    return serve_party(lambda: home.open(passphrase=secret), make_app, bind, on_ready=ready)


def _policy(file: str) -> tlog.Policy:
    return tlog.Policy.parse(output.read_input(file, MAX_POLICY_SIZE, "policy"))


if __name__ == "__main__":
    main()
