"""The watch at its limits: dropped events, a kernel that refuses, no package; and what it spares."""
from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from courierpy.maildir.locks import FolderLock
from tests.conftest import REPO, fill
from tests.realtime.windows import Window, deliver, over_pipe, over_program

pytestmark = pytest.mark.server
QUEUED = Path("/proc/sys/fs/inotify/max_queued_events")


def hooked(folder: Path, text: str) -> str:
    """A PYTHONPATH on which this runs in each interpreter before anything else."""
    hooks = folder / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(text)
    return os.pathsep.join([str(hooks), str(REPO)])


def imapd(maildir: Path, log: Path | None = None, before: tuple[str, ...] = (), **environ: str) -> Window:
    return over_program([*before, sys.executable, "-m", "courierpy.imapd", str(maildir)], log, **environ)


@pytest.mark.parametrize("count", [2, 300])
def test_dropped_events_mean_a_full_look(count: int, tmp_path: Path) -> None:
    """The session sleeps while more happens than the kernel keeps."""
    limit = int(QUEUED.read_text())
    if limit > 20_000:
        pytest.skip(f"this kernel keeps {limit} events")
    maildir = tmp_path / "Maildir"
    fill(maildir, count)
    window = over_pipe(maildir)
    window.do("SELECT INBOX")
    window.idle()
    cur = maildir / "cur"
    one, two = sorted(cur.iterdir())[:2]
    states = [one, one.with_name(one.name + "F")]
    os.kill(window.pid, signal.SIGSTOP)
    for at in range(limit // 2 + 100):                   # two events each
        os.rename(states[at % 2], states[1 - at % 2])
    left = states[(at + 1) % 2]
    two.unlink()                                         # what happens now is not heard
    left.rename(states[0].with_name(one.name + "S"))
    deliver(maildir, "1800000000.M1P1.host")
    os.kill(window.pid, signal.SIGCONT)
    told = window.until(f"* {count} FETCH")              # the new message
    assert "* 2 EXPUNGE" in told
    assert f"* {count} EXISTS" in told
    told += window.done()
    assert [line for line in told if line.startswith("* 1 FETCH")][-1].replace(" \\Recent", "") \
        == "* 1 FETCH (FLAGS (\\Seen))"
    again = over_pipe(maildir)
    again.do("SELECT INBOX")
    views = [[re.sub(r" ?\\Recent", "", line) for line in each.do("FETCH 1:* (UID FLAGS)")]
             for each in (window, again)]
    assert views[0] == views[1]
    for each in (window, again):
        each.close()


LIMITS = {"instances": "the limit fs.inotify.max_user_instances is reached",
          "watches": "the limit fs.inotify.max_user_watches is reached"}


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_is_reached(limit: str, tmp_path: Path) -> None:
    """One line in the log says which; the clock does the rest."""
    # a user namespace has limits of its own
    before = ("unshare", "-Ur", "sh", "-c", f'echo 0 >/proc/sys/user/max_inotify_{limit} && exec "$@"', "sh")
    if subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here")
    refused(tmp_path, LIMITS[limit], before)


MISSING = """
import sys
class Finder:
    def find_spec(self, name, *more):
        if name == 'pyinotify':
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Finder())
"""


def test_the_package_is_missing(tmp_path: Path) -> None:
    path = hooked(tmp_path, MISSING)
    refused(tmp_path, "pyinotify is not installed", PYTHONPATH=path)


def refused(tmp_path: Path, why: str, before: tuple[str, ...] = (), **environ: str) -> None:
    maildir = tmp_path / "Maildir"
    fill(maildir, 300)
    log = tmp_path / "log"
    window = imapd(maildir, log, before, IMAP_IDLE_TIMEOUT="1", **environ)
    window.do("SELECT INBOX")
    assert window.idle() == ["+ entering idle mode"]
    deliver(maildir, "1800000000.M1P1.host")
    assert window.until("* 301 EXISTS")
    window.done()
    window.do("STORE 1 +FLAGS (\\Seen)")
    window.do("NOOP")
    window.close()
    said = [line for line in log.read_text().splitlines() if "inotify" in line]
    assert len(said) == 1, said
    assert why in said[0]


def test_an_idle_of_a_client_that_lives_does_not_end(tmp_path: Path) -> None:
    """The half hour is two seconds here.  A client that is silent outside IDLE is sent away after it."""
    path = hooked(tmp_path, "import courierpy.imap.dialogue\ncourierpy.imap.dialogue.READ_TIMEOUT = 2.0\n")
    fill(tmp_path / "Maildir", 1)
    window = imapd(tmp_path / "Maildir", PYTHONPATH=path)
    window.do("SELECT INBOX")
    window.idle()
    silent = imapd(tmp_path / "Maildir", PYTHONPATH=path)      # the other one is silent for longer
    assert silent.line() == "* BYE Disconnected for inactivity."
    time.sleep(0.5)
    assert window.done() == []
    for each in (window, silent):
        each.close()


COUNTER = """
import os
def counted(call):
    def counting(path='.', *more):
        with open(os.environ['COUNT'], 'ab') as file:
            file.write(os.fsencode(path) + b'\\n')
        return call(path, *more)
    return counting
os.scandir, os.listdir = counted(os.scandir), counted(os.listdir)
"""


def test_a_large_folder_is_not_read_again(tmp_path: Path) -> None:
    """Whatever others do in it: the watch says what changed, outside IDLE as well."""
    maildir, count = tmp_path / "Maildir", tmp_path / "count"
    fill(maildir, 400)
    other = over_pipe(maildir)
    other.do("SELECT INBOX")
    window = imapd(maildir, PYTHONPATH=hooked(tmp_path, COUNTER), COUNT=str(count))
    window.do("SELECT INBOX")
    window.do("NOOP")
    window.do("STORE 400 +FLAGS.SILENT (\\Seen)")        # from now on there is a watch
    window.do("NOOP")
    assert b"/cur" in count.read_bytes()
    count.write_bytes(b"")
    for turn in range(10):
        other.do(f"STORE {turn + 1} +FLAGS.SILENT (\\Flagged)")
        assert any("\\Flagged" in line for line in window.do("NOOP"))
        other.do("APPEND INBOX {4+}\r\nA: b")
        assert f"* {401 + turn} EXISTS" in window.do("NOOP")
        window.do(f"STORE {turn + 1} +FLAGS.SILENT (\\Seen)")
        assert window.do("NOOP") == []
    assert [line for line in count.read_bytes().splitlines() if line.endswith((b"/cur", b"/new"))] == []
    other.do("STORE 1:5 +FLAGS.SILENT (\\Deleted)")
    other.do("EXPUNGE")
    assert sum(line.endswith("EXPUNGE") for line in window.do("NOOP")) == 5
    assert [line for line in count.read_bytes().splitlines() if line.endswith((b"/cur", b"/new"))] == []
    for each in (window, other):
        each.close()




def heard(maildir: Path) -> tuple[Window, Window]:
    """Two sessions, the second of which has a watch."""
    fill(maildir, 3)
    other, window = over_pipe(maildir), over_pipe(maildir)
    for each in (other, window):
        each.do("SELECT INBOX")
    window.idle()
    window.done()
    return other, window


@pytest.mark.parametrize("enabled", ["", "CONDSTORE"])
@pytest.mark.parametrize("uid", ["", "UID "])
def test_fetch_tells_no_flags_that_are_over(uid: str, enabled: str, tmp_path: Path) -> None:
    """What another session was told OK before the FETCH came is in each of its lines."""
    other, window = heard(tmp_path / "Maildir")
    if enabled:
        for each in (other, window):
            each.do(f"ENABLE {enabled}")
    for sign, flag in (("+", "\\Seen"), ("+", "work"), ("-", "\\Seen"), ("+", "home"), ("-", "work")):
        other.do(f"STORE 2 {sign}FLAGS.SILENT ({flag})")
        told = [line for line in window.do(f"{uid}FETCH 1:* (FLAGS)") if line.startswith("* 2 FETCH")]
        assert told
        assert {flag in line for line in told} == {sign == "+"}, told
    for each in (window, other):
        each.close()


def test_fetch_of_flags_waits_for_nobody_first(tmp_path: Path) -> None:
    """New mail has to be numbered under the lock: its lines come before that, and are not held up by who
    has the lock."""
    maildir = tmp_path / "Maildir"
    other, window = heard(maildir)
    with FolderLock(str(maildir), "host"):
        deliver(maildir, "new")
        window.send("f FETCH 1:3 (FLAGS)")
        assert [window.line()[:9] for _ in range(3)] == ["* 1 FETCH", "* 2 FETCH", "* 3 FETCH"]
    assert window.until("f ")[-1].startswith("f OK")
    for each in (window, other):
        each.close()
