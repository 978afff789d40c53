"""The command `tlog-witness`: a party that cosigns what logs sign, so that they cannot show two trees."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

import tlog
from tlog._strict import format_base64
from tlog.keys import MAX_VKEY_LENGTH
from tlog.monitoring.proving import EarlierRoots
from tlog.monitoring.settings import check_url
from tlog.monitoring.witness import WitnessGossip, WitnessTrees
from tlog.policy import MAX_POLICY_SIZE
from tlog.witnessing.home import WitnessHome
from tlog.witnessing.witness import Witness
from tlog_tools import common, output

if TYPE_CHECKING:
    from flask import Flask

DEFAULT_DIRECTORY = "witness"


class Group(click.Group, output.Program):
    """A group whose every error ends in its exit code."""


@click.group(
    "tlog-witness",
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 the state is not the latest one, 2 usage or bad input, 3 not found, 4 input/output.",
)
@click.option(
    "--dir",
    "directory",
    metavar="DIR",
    envvar="TLOG_WITNESS",
    default=DEFAULT_DIRECTORY,
    help="The witness's directory; TLOG_WITNESS, else ./witness.",
)
@click.version_option(tlog.__version__, message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context, directory: str) -> None:
    """Run a witness: it cosigns a log's checkpoint if the log only grew since the last one.

    Its state and its key belong together: a witness that lost its state, or got an old one back, must not go on.
    """
    ctx.obj = WitnessHome(directory)


@main.command("init")
@click.option("--name", required=True, help="The witness's name, a URL without scheme, such as witness.example.net.")
@click.option("--post-quantum", is_flag=True, help="Add an ML-DSA-44 key; every answer has a line of each key then.")
@common.with_json
@click.pass_obj
def init_command(home: WitnessHome, name: str, post_quantum: bool, as_json: bool) -> None:
    """Make a witness, with new keys; print the verifier keys, for the policies of those who trust it.

    The private keys are encrypted where TLOG_KEY_PASSPHRASE, or the file that TLOG_KEY_PASSPHRASE_FILE names, has a
    passphrase.
    """
    vkeys = home.create(name, post_quantum=post_quantum, passphrase=common.passphrase())
    show_vkeys(vkeys, as_json=as_json)


@main.command("vkey")
@common.with_json
@click.pass_obj
def vkey_command(home: WitnessHome, as_json: bool) -> None:
    """Print the verifier keys."""
    show_vkeys(home.vkeys(), as_json=as_json)


@main.command("add-log")
@click.argument("keys", metavar="VKEY|FILE...", nargs=-1, required=True)
@common.with_json
@click.pass_obj
def add_log_command(home: WitnessHome, keys: tuple[str, ...], as_json: bool) -> None:
    """Know a log from now on, by all its verifier keys; the key name is the log's origin.

    A FILE holds one verifier key a line, or is a policy, whose logs are added. The witness must not be running.
    """
    with home.open(passphrase=common.passphrase()) as witness:
        add_logs(witness.add_log, keys, as_json=as_json)


@main.command("list")
@common.with_json
@click.pass_obj
def list_command(home: WitnessHome, as_json: bool) -> None:
    """Print the logs that are known, and the size and root hash of the latest tree that was cosigned of each."""
    with home.open(passphrase=common.passphrase()) as witness:
        for origin, checkpoint in witness.latest():
            size = None if checkpoint is None else checkpoint.tree_size
            root = None if checkpoint is None else format_base64(checkpoint.root_hash)
            if as_json:
                output.emit_json({"origin": origin, "tree_size": size, "root_hash": root})
            else:
                shown = "nothing cosigned yet" if checkpoint is None else f"{size:,} entries, root hash {root}"
                output.emit_line(f"{output.printable(origin)}  {shown}")


@main.command("evidence")
@click.option("-o", "--output", "target", metavar="DIR", help="Write each split view that is proven as a file there.")
@common.with_json
@click.pass_obj
def evidence_command(home: WitnessHome, target: str | None, as_json: bool) -> None:
    """Print the signed checkpoints that contradict what was cosigned; 'tlog-verify --evidence FILE' judges a file."""
    with home.open(passphrase=common.passphrase()) as witness:
        for number, item in enumerate(witness.evidence()):
            file = None
            if target is not None:
                file = Path(target) / f"{number:04}.evidence"
                output.write_file(file, item.evidence.format())
            sizes = [item.evidence.against.tree_size, item.evidence.shown.tree_size]
            when = datetime.fromtimestamp(item.time, UTC).isoformat()
            if as_json:
                output.emit_json(
                    {"origin": item.origin, "time": when, "sizes": sizes, "file": None if file is None else str(file)}
                )
            else:
                what = f"signed two trees, of {sizes[0]:,} and {sizes[1]:,} entries"
                output.emit_line(f"{when}  {output.printable(item.origin)} {what}")


@main.command("serve")
@click.option(
    "--bind",
    default="127.0.0.1:7380",
    show_default=True,
    metavar="HOST:PORT",
    envvar="TLOG_WITNESS_BIND",
    show_envvar=True,
    help="Where to listen; port 0: any.",
)
@click.option("--peer", "peers", multiple=True, metavar="URL", help="Gossip with this witness or monitor; repeatable.")
@click.option("--policy", metavar="FILE", help="A policy with the URLs of the logs' sites, for gossip.")
@click.option(
    "--gossip-interval",
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0.1, 86_400),
    help="Time between two rounds of gossip.",
)
@common.with_json
@click.pass_obj
def serve_command(
    home: WitnessHome, bind: str, *, peers: tuple[str, ...], policy: str | None, gossip_interval: float, as_json: bool
) -> int:
    """Serve add-checkpoint to logs, and the latest cosigned checkpoints to monitors, over HTTP (c2sp.org/tlog-witness).

    SIGTERM or Ctrl-C end it when its last answer is given. With --json: {"url"} when it is ready.
    """
    try:
        from tlog_server.party_running import serve_party
        from tlog_server.witnessing import create_witness_app
    except ImportError as err:
        raise tlog.StorageError("the server needs Flask and gunicorn; pip install 'tlog[server]' brings them") from err

    ready = serving(f"the witness in {home.path}", as_json=as_json)
    secret = common.passphrase()
    urls = [check_url(peer, "--peer") for peer in peers]
    sites = {} if policy is None else _sites(policy)

    def make_app(witness: Witness) -> Flask:
        trees = WitnessTrees(witness, sites)
        if urls:
            from tlog.witnessing.web import WebTransport

            gossip = WitnessGossip(witness, urls, WebTransport(), trees)
            arguments = (threading.Event(), gossip_interval)
            threading.Thread(target=gossip.run, args=arguments, name="tlog-gossip", daemon=True).start()
        return create_witness_app(witness, EarlierRoots(trees.latest) if sites else None, urls)

    return serve_party(lambda: home.open(passphrase=secret), make_app, bind, on_ready=ready)


def add_logs(add_log: Callable[..., None], words: tuple[str, ...], *, as_json: bool) -> None:
    """Have a witness or a mirror know the logs whose keys the arguments spell or name."""
    by_origin: dict[str, list[tlog.VerifierKey]] = {}
    for key in [key for word in words for key in _keys(word)]:
        by_origin.setdefault(key.name, []).append(key)
    for origin, keys in by_origin.items():
        add_log(*keys)
        if as_json:
            output.emit_json({"origin": origin, "keys": [str(key) for key in keys]})
        else:
            output.say(f"knows {output.printable(origin)}")


def serving(what: str, *, as_json: bool) -> Callable[[str], None]:
    """Return what says where a server can be reached, when it can."""

    def ready(url: str) -> None:
        if as_json:
            output.emit_json({"url": url})
        else:
            output.emit_line(f"serving {what} at {url}")
        output.flush()

    return ready


def show_vkeys(vkeys: tuple[tlog.VerifierKey, ...], *, as_json: bool) -> None:
    """Print verifier keys."""
    for vkey in vkeys:
        if as_json:
            output.emit_json({"name": vkey.name, "vkey": str(vkey)})
        else:
            output.emit_line(str(vkey))


def _sites(path: str) -> dict[str, str]:
    """Return the URLs of the logs of a policy, by origin."""
    logs = tlog.Policy.parse(output.read_input(path, MAX_POLICY_SIZE, "policy")).logs
    return {log.key.name: check_url(log.url, "policy: log") for log in logs if log.url is not None}


def _keys(word: str) -> list[tlog.VerifierKey]:
    """Return the keys that an argument spells, or that are in the file that it names. Raises: FormatError for none."""
    keys = _keys_of(word)
    if not keys:
        raise tlog.FormatError(word, "it names no log; 'tlog vkey PARTITION' prints the verifier key of one")
    return keys


def _keys_of(word: str) -> list[tlog.VerifierKey]:
    if word.count("+") >= 2 and not Path(word).exists():
        return [tlog.VerifierKey.parse(word)]
    text = output.read_input(word, MAX_POLICY_SIZE, "verifier keys")
    lines = text.decode("utf-8", "replace").split("\n")
    if all(len(line) <= MAX_VKEY_LENGTH and line.count("+") >= 2 and " " not in line for line in lines if line):
        return [tlog.VerifierKey.parse(line) for line in lines if line]
    return [log.key for log in tlog.Policy.parse(text).logs]


if __name__ == "__main__":
    main()
