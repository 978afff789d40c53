"""The command `tlog-monitor`: it follows logs, reads every entry, and says what is wrong or was asked for."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

import tlog
from tlog.checkpoint import Checkpoint
from tlog.monitoring.monitor import Monitor, Report
from tlog.monitoring.settings import Settings, read_settings
from tlog.monitoring.state import MonitorState
from tlog_tools import common, output
from tlog_tools.witness import Group, serving

if TYPE_CHECKING:
    from flask import Flask


@click.group(
    "tlog-monitor",
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes of 'run --once': 0 all is well, 1 a log misbehaved, 2 usage or bad input, 3 not found, 4 a log, "
    "a peer or a target could not be reached, 5 the quorum is not met, 6 there are other alerts.",
)
@click.option(
    "--config",
    metavar="FILE",
    envvar="TLOG_MONITOR",
    default="monitor.toml",
    help="The settings; TLOG_MONITOR, else ./monitor.toml.",
)
@click.version_option(tlog.__version__, message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context, config: str) -> None:
    """Follow logs: verify all that they show, look for entries, compare with what others were shown."""
    ctx.obj = config


@main.command("init")
@click.pass_obj
def init_command(config: str) -> None:
    """Make the monitor's state, which knows no checkpoint yet. The state is never made by 'run': losing it shows."""
    settings = read_settings(config)
    MonitorState.create(settings.directory)
    output.say(f"made the state in {settings.directory}")


@main.command("run")
@click.option("--once", is_flag=True, help="Make one round, for cron; the exit code says what it came to.")
@common.with_json
@click.pass_obj
def run_command(config: str, once: bool, as_json: bool) -> int:
    """Make rounds until SIGTERM or Ctrl-C, or just one; print the alerts of each."""
    with Monitor(read_settings(config)) as monitor:
        if once:
            report = monitor.round()
            _show(report, as_json=as_json)
            return report.code
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: monitor.stop())
        monitor.run(lambda report: _show(report, as_json=as_json))
    return output.DONE


@main.command("serve")
@click.option(
    "--bind",
    default="127.0.0.1:7382",
    show_default=True,
    metavar="HOST:PORT",
    envvar="TLOG_MONITOR_BIND",
    show_envvar=True,
    help="Where to listen; port 0: any.",
)
@common.with_json
@click.pass_obj
def serve_command(config: str, bind: str, as_json: bool) -> int:
    """Make rounds, and serve checkpoints and evidence to peers, and metrics, over HTTP."""
    try:
        from tlog_server.monitoring import create_monitor_app
        from tlog_server.party_running import serve_party
    except ImportError as err:
        raise tlog.StorageError("the server needs Flask and gunicorn; pip install 'tlog[server]' brings them") from err
    settings = read_settings(config)
    ready = serving(f"the monitor in {settings.directory}", as_json=as_json)

    def make_app(monitor: Monitor) -> Flask:
        monitor.start()
        return create_monitor_app(monitor)

    return serve_party(lambda: Monitor(settings), make_app, bind, on_ready=ready)


@main.command("status")
@common.with_json
@click.pass_obj
def status_command(config: str, as_json: bool) -> None:
    """Print how far each log was followed, and what is not as it should be."""
    settings = read_settings(config)
    with MonitorState(settings.directory) as state:
        _show_logs(settings, state, as_json=as_json)


@main.command("evidence")
@click.option("-o", "--output", "target", metavar="DIR", help="Write each split view that is proven as a file there.")
@common.with_json
@click.pass_obj
def evidence_command(config: str, target: str | None, as_json: bool) -> None:
    """Print the split views that are proven; 'tlog-verify --evidence FILE' judges a file.

    With --json: {"origin", "time", "sha256", "file", "first_difference"} of each; "first_difference" is the index of
    the first entry in which the two trees differ, null where no peer could tell.
    """
    with MonitorState(read_settings(config).directory) as state:
        for number, (name, origin, time_s) in enumerate(state.evidence()):
            file = None
            if target is not None:
                file = str(Path(target) / f"{number:04}.evidence")
                output.write_file(Path(file), state.evidence_file(name))
            when, shared = datetime.fromtimestamp(time_s, UTC).isoformat(), state.shared(name)
            if as_json:
                fields = {"origin": origin, "time": when, "sha256": name, "file": file, "first_difference": shared}
                output.emit_json(fields)
            else:
                where = "" if shared is None else f"  differs from entry {shared:,} on"
                output.emit_line(f"{when}  {output.printable(origin)}  {file or name}{where}")


def _show(report: Report, *, as_json: bool) -> None:
    """Print the alerts of a round, and which targets did not take theirs."""
    for alert in report.alerts:
        if as_json:
            output.emit_json(
                {"origin": alert.origin, "kind": alert.kind, "severity": alert.severity, "message": alert.message}
                | alert.details
            )
        else:
            where = output.printable(alert.origin)
            output.emit_line(f"{alert.severity:8} {alert.kind:12} {where}: {output.printable(alert.message)}")
    for condition in report.conditions:
        if not condition.is_said:
            output.say(f"tlog-monitor: no alert yet: {output.printable(condition.message)}")
    for name, error in report.failed.items():
        output.say(f"tlog-monitor: not delivered, will be tried again: {name}: {output.printable(error)}")
    output.flush()


def _show_logs(settings: Settings, state: MonitorState, *, as_json: bool) -> None:
    conditions = state.conditions()
    for log in settings.logs:
        followed = state.followed(log.origin)
        size = None if followed.note is None else Checkpoint.parse(followed.note).tree_size
        wrong = [found for found in conditions if found.origin == log.origin]
        if as_json:
            output.emit_json(
                {
                    "origin": log.origin,
                    "tree_size": size,
                    "read": followed.next,
                    "conditions": {found.kind: found.message for found in wrong},
                }
            )
            continue
        shown = "nothing verified yet" if size is None else f"{size:,} entries verified, {followed.next:,} read"
        output.emit_line(f"{output.printable(log.origin)}  {shown}")
        for found in wrong:
            output.emit_line(f"  {found.kind}: {output.printable(found.message)}")


if __name__ == "__main__":
    main()
