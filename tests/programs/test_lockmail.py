"""lockmail: Courier's letters, lock files and exit codes."""
from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from courierpy.admin import lockmail
from tests.conftest import plain_environ

HOST = os.uname().nodename


@pytest.fixture
def mailbox(tmp_path: Path) -> Path:
    path = tmp_path / "mbox"
    path.write_bytes(b"From a\n")
    return path


def c_client(mailbox: Path) -> Path:
    """Where UW's programs look for the lock of a mailbox."""
    found = mailbox.stat()
    return Path(f"/tmp/.{found.st_dev:x}.{found.st_ino:x}")


def dot(mailbox: Path) -> Path:
    return mailbox.with_name("mbox.lock")


def dead() -> int:
    """The number of a process that was."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def start(*words: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "courierpy", "lockmail", *map(str, words)], timeout=100,
                          capture_output=True, text=True, check=False, env=plain_environ(), **more)  # type: ignore[call-overload,no-any-return]


LOOK = """
import fcntl, sys
for name in sys.argv[2:]:
    print(open(name).read())
with open(sys.argv[1], "r+") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("locked")
"""


def test_all_three_are_held_while_the_command_runs_and_its_status_is_given(mailbox: Path) -> None:
    done = start(mailbox, sys.executable, "-c", LOOK + "sys.exit(7)", mailbox, dot(mailbox),
                 c_client(mailbox))
    assert done.returncode == 7, done.stderr
    first, second, locked = done.stdout.splitlines()
    assert first == second
    pid, _, host = first.partition(":")
    assert pid.isdigit() and host == HOST
    assert locked == "locked"
    assert not dot(mailbox).exists() and not c_client(mailbox).exists()
    assert [path.name for path in mailbox.parent.iterdir()] == ["mbox"]
    assert mailbox.read_bytes() == b"From a\n"


@pytest.mark.parametrize(("words", "status", "said"), [
    (["sh", "-c", "kill -9 $$"], 75, ""),
    (["/none/such"], 1, "/none/such: No such file or directory (the path of a program "),
    (["none-such"], 1, "none-such: No such file or directory (a program in PATH "),
    (["sh", "-c", "echo hello; exit 3"], 3, "")])
def test_exit_codes(words: list[str], status: int, said: str, mailbox: Path) -> None:
    done = start(mailbox, *words)
    assert done.returncode == status
    assert said in done.stderr
    assert not dot(mailbox).exists() and not c_client(mailbox).exists()


@pytest.mark.parametrize("words", [[], ["mbox"], ["-x", "mbox", "true"], ["-t"], ["-t", "x", "mbox", "true"],
                                   ["-t", "-1", "mbox", "true"], ["", "true"]])
def test_what_is_no_command_line(words: list[str], tmp_path: Path) -> None:
    done = start(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert lockmail.USAGE in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_mailbox_that_is_not_there_is_made(tmp_path: Path) -> None:
    assert start(tmp_path / "new", "true").returncode == 0
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    assert start(tmp_path / "no" / "such", "true").returncode == 75


def held_by_dot(mailbox: Path) -> None:
    dot(mailbox).write_text(f"{os.getpid()}:{HOST}")


def held_by_another_host(mailbox: Path) -> None:
    dot(mailbox).write_text(f"{dead()}:another.{HOST}")


def held_by_a_reader(mailbox: Path) -> None:
    c_client(mailbox).write_text(str(os.getpid()))


def held_by_a_reader_who_is_about_to_say_who(mailbox: Path) -> None:
    c_client(mailbox).touch()


def held_by_an_old_reader(mailbox: Path) -> None:
    c_client(mailbox).write_text(str(os.getpid()))
    long_ago(c_client(mailbox))


def long_ago(path: Path) -> None:
    past = time.time() - lockmail.STALE - 1
    os.utime(path, (past, past))


@pytest.mark.parametrize("hold", [held_by_dot, held_by_another_host, held_by_a_reader, held_by_an_old_reader,
                                  held_by_a_reader_who_is_about_to_say_who])
def test_who_holds_it_is_not_disturbed(hold: object, mailbox: Path) -> None:
    assert callable(hold)
    try:
        hold(mailbox)
        there = [path for path in (dot(mailbox), c_client(mailbox)) if path.exists()]
        done = start("-t", "0", mailbox, "touch", mailbox.with_name("ran"))
        assert done.returncode == 75
        assert "somebody has locked it" in done.stderr
        assert [path for path in (dot(mailbox), c_client(mailbox)) if path.exists()] == there
        assert sorted(path.name for path in mailbox.parent.iterdir()) == sorted(
            {"mbox", *[path.name for path in there if path.parent == mailbox.parent]})
    finally:
        c_client(mailbox).unlink(missing_ok=True)


def test_a_lock_of_the_kernel_is_one(mailbox: Path) -> None:
    with mailbox.open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert start("-t0", mailbox, "true").returncode == 75
    assert start("-t0", mailbox, "true").returncode == 0


def stale_dot(mailbox: Path) -> None:
    dot(mailbox).write_text(f"{dead()}:{HOST}")


def old_dot_of_another_host(mailbox: Path) -> None:
    dot(mailbox).write_text(f"{os.getpid()}:another.{HOST}")
    long_ago(dot(mailbox))


def old_dot_of_who_lives(mailbox: Path) -> None:
    dot(mailbox).write_text(f"{os.getpid()}:{HOST}")
    long_ago(dot(mailbox))


def dot_with_rubbish(mailbox: Path) -> None:
    dot(mailbox).write_bytes(b"99999999999999999999:\xff" * 100)
    long_ago(dot(mailbox))


def stale_reader(mailbox: Path) -> None:
    c_client(mailbox).write_text(f"{dead()}\n")


def reader_that_never_said_who(mailbox: Path) -> None:
    c_client(mailbox).touch()
    long_ago(c_client(mailbox))


@pytest.mark.parametrize("leave", [stale_dot, old_dot_of_another_host, old_dot_of_who_lives, dot_with_rubbish,
                                   stale_reader, reader_that_never_said_who])
def test_what_was_left_over_is_removed(leave: object, mailbox: Path) -> None:
    assert callable(leave)
    leave(mailbox)
    assert start("-t", "0", mailbox, "true").returncode == 0
    assert not dot(mailbox).exists() and not c_client(mailbox).exists()


def as_somebody(*words: str | Path) -> int:
    """The exit status of one that is not root."""
    pid = os.fork()
    if not pid:
        status = 99
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            status = lockmail.main([*map(str, words)])
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.skipif(os.getuid() != 0, reason="root becomes somebody else here")
def test_a_directory_where_nothing_can_be_made() -> None:
    """As /var/mail is: the other two do."""
    with TemporaryDirectory(dir="/tmp") as spool:
        os.chmod(spool, 0o755)
        mailbox = Path(spool, "mbox")
        mailbox.touch()
        mailbox.chmod(0o666)
        assert as_somebody(mailbox, "test", "-e", c_client(mailbox)) == 0
        mailbox.chmod(0o644)
        assert as_somebody(mailbox, "true") == 75
        assert as_somebody("-r", mailbox, "true") == 0


def test_a_signal_ends_the_command_and_the_lock(mailbox: Path) -> None:
    script = "echo $$; exec sleep 100"
    with subprocess.Popen([sys.executable, "-m", "courierpy", "lockmail", mailbox, "sh", "-c", script],
                          stdout=subprocess.PIPE, env=plain_environ()) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 75
    assert not dot(mailbox).exists() and not c_client(mailbox).exists()
