"""A pipe, a device, a directory, a socket or a circle in the place of each file that is read by its name:
nobody waits for it or reads it without end, the log names it, and the messages are served."""
from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from courierpy.admin import convert, reindex
from courierpy.maildir import locks
from courierpy.maildir.errors import StoreError
from courierpy.maildir.formats import dovecot
from courierpy.maildir.store import Store
from courierpy.model.flags import FLAGGED, FlagChange
from courierpy.system import regular
from tests.conftest import fill
from tests.realtime.windows import over_pipe

pytestmark = pytest.mark.timeout(30)               # what hangs fails soon
NAMES = ["courierimapuiddb", "courierimapkeywords", "courierimapkeywords/:list",
         "courierimapkeywords/1700000001.M1P1.host", "courierimapsubscribed", "courierpy-uidvalidity",
         "courierpyindex", "courierpyindex/columns", "courierpyindex/uids", "courierpyindex/recent",
         "courierpyindex/modseq", "courierpyindex/total", "courierpyindex/counts", "courierpyindex/unshown",
         "courierpyindex/cache.envelope", "courierpy-specialuse", "dovecot-uidlist", "dovecot-uidlist.lock",
         "dovecot-keywords", "dovecot-uidvalidity", "subscriptions", "subscriptions.lock", "dovecot.index",
         "maildirfolder", "loginexec", "tmp/courier.lock"]


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)                          # the path may be too long for an address
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


KINDS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo, "link to a pipe": lambda path: (os.mkfifo(f"{path}.p"), path.symlink_to(f"{path}.p")),
    "device": lambda path: path.symlink_to("/dev/zero"), "terminal": lambda path: path.symlink_to("/dev/tty"),
    "directory": Path.mkdir, "socket": _socket, "circle": lambda path: path.symlink_to(path.name),
    "nowhere": lambda path: path.symlink_to("/nonexistent/file")}


@pytest.fixture(params=["pipe", "device", "circle", "nowhere"])
def odd(request: pytest.FixtureRequest) -> Iterator[Callable[[Path], None]]:
    def make(path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        KINDS[request.param](path)
    yield make


def use(store: Store) -> None:
    """Each way to the files; what cannot be is a store error."""
    for step in (lambda: store.subscribe("INBOX.T", True), store.subscriptions, store.uidvalidities.next,
                 lambda: store.create("INBOX.new"), store.passed_over, lambda: store.status("INBOX"),
                 lambda: store.delete("INBOX.new")):
        with suppress(StoreError):
            step()
    with suppress(StoreError):
        folder = store.open("INBOX")
        folder.scan()
        folder.store([1], FlagChange("+", FLAGGED, frozenset({b"word"})))
        folder.scan()
        folder.close()


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)                       # an admin command sets its own
    yield
    os.umask(before)


@pytest.mark.parametrize("name", NAMES)
def test_nobody_waits(name: str, odd: Callable[[Path], None], tmp_path: Path, umask: None,
                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dovecot, "PATIENCE", 0.0)
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    maildir = tmp_path / "Maildir"
    fill(maildir, 2)
    odd(maildir / name)
    use(Store(str(maildir), host="host"))
    for way in ("--from", "--to"):
        assert convert.main([way, "dovecot", str(maildir)]) in (0, 1)
    assert reindex.main([str(maildir)]) in (0, 1)
    assert len(os.listdir(maildir / "cur")) + len(os.listdir(maildir / "new")) == 2


def test_a_lock_is_judged_without_being_waited_for(odd: Callable[[Path], None], tmp_path: Path) -> None:
    odd(tmp_path / "x.lock")
    (tmp_path / "tmp").mkdir()
    with pytest.raises(StoreError) as told, dovecot.Dotlock(str(tmp_path / "x")):
        pass
    assert str(tmp_path / "x.lock") in str(told.value)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "nowhere"])
def test_the_error_says_what_it_is(kind: str, tmp_path: Path) -> None:
    KINDS[kind](tmp_path / "x")
    with pytest.raises(OSError, match="regular|directory|symbolic|device") as told:
        regular.open_regular(str(tmp_path / "x"))
    wanted = {"directory": "Is a directory", "circle": "Too many levels of symbolic links"}
    assert told.value.strerror == wanted.get(kind, regular.NO_FILE) or kind == "terminal"


@pytest.mark.parametrize("name", ["courierimapuiddb", "dovecot-uidlist"])
def test_select_says_no_and_the_log_names_it(name: str, maildir: Path, tmp_path: Path) -> None:
    os.mkfifo(maildir / name)
    window = over_pipe(maildir, tmp_path / "log")
    window.send("a SELECT INBOX")
    assert window.until("a ")[-1].startswith("a NO [UNAVAILABLE]")
    window.close()
    assert f"{name}: {regular.NO_FILE}" in (tmp_path / "log").read_text()


def test_a_record_goes_into_files_alone(maildir: Path) -> None:
    os.mkfifo(maildir / "talk")
    window = over_pipe(maildir, IMAPDEBUGFILE="talk")
    assert window.do("NOOP") == []
    window.close()


@pytest.mark.parametrize("choice", ["maildir++", "fs", "auto"])
@pytest.mark.parametrize("target", [".", "..", "{}", "loop", "{}/cur"])
def test_a_mailbox_that_leads_back(target: str, choice: str, tmp_path: Path) -> None:
    """The list of mailboxes ends."""
    maildir = tmp_path / "Maildir"
    for place in (maildir, maildir / ".T", maildir / "box", maildir / "box" / "deep"):
        fill(place, 1)
    for above in (maildir, maildir / "box"):
        for name in ("loop", ".loop"):
            (above / name).symlink_to(target.format(maildir))
    store = Store(str(maildir), choice=choice)
    assert "INBOX" in store.names()
    assert len(store.names()) < 50
    for name in store.names():
        with suppress(StoreError):
            store.status(name)
