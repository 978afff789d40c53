"""Every installed command, run once as a user runs it."""

from __future__ import annotations

from tests.tools.conftest import Shell, objects


def test_the_whole_way(shell: Shell) -> None:
    """From an empty directory to a verified proof, each command a process of its own."""

    def run(*words: str | int, stdin: str = "", exit_code: int = 0) -> str:
        done = shell.start(*words, stdin=stdin)
        assert done.returncode == exit_code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    run("tlog", "init", "--origin", "audit.example.com")
    vkey = run("tlog", "keygen", "users")
    assert run("tlog", "append", "users", '{"user":"alice"}') == "0\n"
    run("tlog", "publish", "users")
    kept = run("tlog", "checkpoint", "users")
    run("tlog", "append", "users", "-", stdin='{"user":"bob"}\n' * 10)
    run("tlog", "publish")
    assert run("tlog", "list") == "users\n"
    assert run("tlog", "vkey") == vkey
    assert objects(run("tlog", "status", "--json"))[0]["entries"] == 11
    assert objects(run("tlog", "tail", "users", "-n", 1)) == objects(run("tlog", "get", "users", 10))
    shell.write("kept", kept)
    shell.write("users.vkey", vkey)
    run("tlog", "prove", "users", 0, "-o", "entry.tlog-proof")
    shell.write("growth", run("tlog", "consistency", "users", 1))
    assert "anchored by" in run("tlog", "verify", "--checkpoint", "kept")
    run("tlog", "fsck")
    run("tlog", "export", "users", "site")
    run("tlog", "seal")
    run("tlog-verify", "--proof", "entry.tlog-proof", "--key", "users.vkey")
    run("tlog-verify", "--consistency", "growth", "--old", "kept", "--key", "users.vkey")
    run("tlog-verify", "--checkpoint", "site/checkpoint", "--key", "site/vkey")
    assert run("tlog-verify", "--proof", "entry.tlog-proof", "--key", "growth", exit_code=2) == ""
