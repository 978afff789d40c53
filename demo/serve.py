"""Runs the demonstration, then serves its ledger and says where to look. `make demo-serve` runs it; Ctrl-C ends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from demo import demo

PAGES = (
    ("the log at a glance", "/commits/"),
    ("a search: one person's commits of one month", "/search?partition=commits&q={question}"),
    ("one entry, which your browser verifies", f"/commits/events/{demo.PROVED}"),
    ("the checkpoint that auditors keep", "/commits/checkpoint"),
)
QUESTION = "actor%3Ddev-4e1ff006%20since%3D2011-01-01%20until%3D2011-02-01"


def main() -> int:
    """Show the demonstration, serve, and return the server's exit code."""
    demo.main()
    return serve(demo.OUT / "ledger", os.environ.get("TLOG_BIND", "127.0.0.1:8000"))


def serve(ledger: Path, bind: str) -> int:
    """Serve a ledger of the demonstration until it is ended; say where to look when it is ready."""
    command = [str(Path(sys.executable).parent / "tlog"), "serve", "--ledger", str(ledger), "--bind", bind, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline() if server.stdout is not None else ""
            if line:
                demo.heading("It is served now, until Ctrl-C; look at")
                for words, path in PAGES:
                    demo.say(f"  {json.loads(line)['url']}{path.format(question=QUESTION)}   {words}")
            return server.wait()
        except KeyboardInterrupt:
            return server.wait()
        finally:
            server.terminate()


if __name__ == "__main__":
    sys.exit(main())
