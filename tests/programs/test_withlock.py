"""courierpy withlock: a command runs while nobody changes the Maildirs."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from courierpy.maildir.locks import FolderLock
from courierpy.maildir.store import Store
from tests.conftest import fill, plain_environ
from tests.maildir.children import process, wait_until
from tests.programs.test_maildirs import accounts, run

LOCK = Path("tmp") / "courier.lock"


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    root = tmp_path / "M"
    fill(root, 1)
    Store(str(root)).create("INBOX.Work")
    return root


def locks(maildir: Path) -> list[bool]:
    return [(maildir / LOCK).exists(), (maildir / ".Work" / LOCK).exists()]


def test_all_mailboxes_are_locked_while_it_runs(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = f"ls {maildir}/{LOCK} {maildir}/.Work/{LOCK}; echo; pwd; kill -l; trap"
    status, lines, error = run(capfd, "withlock", maildir, "sh", "-c", command)
    assert (status, error) == (0, "")
    assert lines[:2] == [f"{maildir}/.Work/{LOCK}", f"{maildir}/{LOCK}"]
    assert os.getcwd() in lines
    assert locks(maildir) == [False, False]
    status, lines, _ = run(capfd, "withlock", "--mailbox", "Work", maildir, "--", "ls", maildir / "tmp")
    assert (status, lines) == (0, [])
    assert os.listdir(maildir / "tmp") == os.listdir(maildir / ".Work" / "tmp") == []


@pytest.mark.parametrize(("command", "status"), [
    (["true"], 0), (["sh", "-c", "exit 24"], 24), (["sh", "-c", "kill -9 $$"], 137),
    (["sh", "-c", "kill -PIPE $$"], 141), (["/no/such/program"], 127), (["/dev/null"], 126), ([], 64)])
def test_exit_status(command: list[str], status: int, maildir: Path,
                     capfd: pytest.CaptureFixture[str]) -> None:
    found, lines, error = run(capfd, "withlock", maildir, *command)
    assert (found, lines) == (status, [])
    assert bool(error) == (status in (64, 126, 127))
    assert "Traceback" not in error
    assert locks(maildir) == [False, False]


def test_it_does_not_wait_for_ever(maildir: Path, tmp_path: Path,
                                   capfd: pytest.CaptureFixture[str]) -> None:
    over, ready = tmp_path / "over", tmp_path / "ready"

    def hold() -> None:
        with FolderLock(str(maildir / ".Work"), "host"):
            ready.touch()
            wait_until(over.exists)

    with process(hold):
        wait_until(ready.exists)
        status, lines, error = run(capfd, "withlock", "-t", "0", maildir, "echo", "no")
        assert (status, lines) == (os.EX_TEMPFAIL, [])
        assert "others hold it" in error
        assert locks(maildir) == [False, True]
        over.touch()


def test_what_is_no_maildir(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(capfd, "withlock", maildir / "none", "echo", "no")[:2] == (os.EX_NOINPUT, [])
    assert run(capfd, "withlock", "--mailbox", "Nope", maildir, "echo", "no")[:2] == (os.EX_NOINPUT, [])


def test_accounts(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """All of them are held at once, or none; each lock is the user's, and the command is who called."""
    conf = accounts(maildir.parent, maildir)
    eve = maildir.parent / "eve"
    files = [maildir / LOCK, maildir / ".Work" / LOCK, eve / LOCK]
    status, lines, error = run(capfd, "withlock", "-C", conf, "-u", "ann", "-u", "eve@example.org",
                               "sh", "-c", f"stat -c %u {' '.join(map(str, files))}; id -u")
    assert (status, error) == (0, "")
    owner = str(maildir.stat().st_uid)
    assert lines == [owner, owner, owner, str(os.getuid())]
    status, lines, _ = run(capfd, "withlock", "-C", conf, "-a", "echo", "no")
    assert (status, lines) == (os.EX_NOINPUT, [])          # bob's is not there
    assert not [file for file in files if file.exists()]


@contextmanager
def running(maildir: Path, command: str) -> Iterator[subprocess.Popen[str]]:
    """The tool with a shell's command, which has said that it is there."""
    code = "import sys; from courierpy.admin import run; run()"
    with subprocess.Popen([sys.executable, "-c", code, "withlock", str(maildir), "sh", "-c", command],
                          stdout=subprocess.PIPE, text=True, env=plain_environ()) as found:
        try:
            assert found.stdout is not None and found.stdout.readline() == "there\n"
            yield found
        finally:
            found.kill()


def test_signals_are_the_commands(maildir: Path) -> None:
    with running(maildir, 'trap "echo told; exit 9" TERM; echo there; while :; do sleep 0.05; done') as found:
        assert locks(maildir) == [True, True]
        found.terminate()
        assert found.wait(30) == 9
        assert found.stdout is not None and found.stdout.read() == "told\n"
    assert locks(maildir) == [False, False]


def test_it_is_killed(maildir: Path) -> None:
    """The command ends too, as nobody holds the locks for it, and these are let go."""
    with running(maildir, "echo there; exec sleep 60") as found:
        found.send_signal(signal.SIGKILL)
        assert found.wait(30) == -signal.SIGKILL
        assert found.stdout is not None and found.stdout.read() == ""      # the command has ended
    wait_until(lambda: locks(maildir) == [False, False])
