"""courierpy who, kick and deny, and how many sessions a user may have."""
from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from pathlib import Path

import pytest

from courierpy import admin
from courierpy.admin import online
from courierpy.system import denials
from courierpy.system.presence import SETTING
from courierpy.system.settings import Settings
from tests.conftest import account_ids, plain_environ, until
from tests.programs.chain import DEADLINE, Chain, chain, eventually
from tests.realtime.windows import over_pipe

server_test = pytest.mark.server
DIALOGUE = b"a NOOP\r\nb LOGOUT\r\n"


class Host:
    """The directories of an administrator, and his tools."""

    def __init__(self, top: Path) -> None:
        self.run, self.config, self.file = top / "run", top / "config", top / "settings"
        self.config.mkdir(mode=0o755)
        self.file.write_text(f"{SETTING}={self.run}\nCONFIGDIRECTORY={self.config}\n")

    def tool(self, name: str, *words: str) -> int:
        return admin.main(["courierpy", name, "-C", str(self.file), *words])

    def who(self, *words: str) -> list[dict[str, object]]:
        """As JSON says it."""
        said = io.StringIO()
        with redirect_stdout(said):
            assert self.tool("who", "-J", *words) == 0
        return [json.loads(line) for line in said.getvalue().splitlines()]

    def states(self) -> list[object]:
        return sorted(str(each["state"]) for each in self.who())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "SECONDS", DEADLINE)


# -- sessions from a shell

def said(maildir: Path, program: str = "imapd", dialogue: bytes = DIALOGUE, **environ: str) -> list[str]:
    """What a session says, as its lines."""
    done = subprocess.run([sys.executable, "-m", f"courierpy.{program}", str(maildir)], input=dialogue,
                          stdout=subprocess.PIPE, check=False, timeout=60,
                          env=plain_environ(AUTHENTICATED="demo", IMAP_NOLOGIN="", IMAP_ALERT="", **environ))
    return done.stdout.decode().splitlines()


def behind_login(**environ: str) -> dict[str, str]:
    return {"IMAPLOGINTAG": "x", "TCPREMOTEIP": "::ffff:192.0.2.7", "TCPREMOTEPORT": "7", **environ}


def test_a_session_from_a_shell_is_on_where_that_is_asked_for(maildir: Path, host: Host,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    host.run.mkdir(mode=0o755)
    quiet, window = over_pipe(maildir), over_pipe(maildir, **{SETTING: str(host.run)})
    window.do("SELECT INBOX")
    eventually(lambda: [each["mailbox"] for each in host.who()] == ["INBOX"])
    seen, = host.who()
    assert (seen["user"], seen["protocol"], seen["state"]) == ("demo", "IMAP", "awake")
    assert seen["pid"] == window.pid
    assert abs(int(str(seen["since"])) - time.time()) < 600
    window.idle()
    eventually(lambda: host.states() == ["idle"])
    window.done()
    window.do("CREATE INBOX.caf&AOk-")
    window.do("SELECT INBOX.caf&AOk-")
    eventually(lambda: [each["mailbox"] for each in host.who()] == ["INBOX.café"])
    window.do("CLOSE")
    eventually(lambda: [each["mailbox"] for each in host.who()] == [None])
    capsys.readouterr()
    assert host.tool("who") == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["USER", "ADDRESS", "PROTOCOL", "STATE", "SINCE", "PID", "MAILBOX"]
    assert row.split()[:4] == ["demo", "127.0.0.1", "IMAP", "awake"] and row.split()[-1] == "-"
    os.kill(window.pid, signal.SIGUSR2)        # as UW's imapd is told to let go
    assert window.until("* BYE")[-1] == "* BYE Your session was ended by the administrator."
    window.close()
    quiet.do("NOOP")
    quiet.close()
    assert host.tool("who") == 0 and capsys.readouterr().out == ""


def test_who_is_chosen(maildir: Path, host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.run.mkdir(mode=0o755)
    window = over_pipe(maildir, **{SETTING: str(host.run)})
    eventually(host.who)
    for words in (["demo"], ["127.0.0.1"], ["127.0.0.0/8"], [str(window.pid)], ["nobody", "demo"]):
        assert len(host.who(*words)) == 1
    for words in (["dem"], ["127.0.0.2"], ["126.0.0.0/8"], ["1"], ["::1"], ["Demo"], ["inbox"]):
        assert host.who(*words) == []
        assert host.tool("kick", *words) == 0
    capsys.readouterr()
    assert host.tool("kick", "-n", "demo") == 0
    assert capsys.readouterr().out.startswith("demo  127.0.0.1  IMAP")
    window.do("NOOP")
    assert host.tool("kick", "-q", str(window.pid)) == 0 and capsys.readouterr().out == ""
    assert window.until("* BYE")
    window.close()


def test_the_word_to_who_is_ended_is_never_written_where_anybody_may(maildir: Path, host: Host) -> None:
    """The folder of sessions without a listener is everybody's."""
    host.run.mkdir(mode=0o755)
    window = over_pipe(maildir, **{SETTING: str(host.run)})
    eventually(host.who)
    (host.run / "others" / "told").symlink_to(host.config)
    assert host.tool("kick", "-m", "Away", "demo") == 0
    assert list(host.config.iterdir()) == []
    window.close()


def test_wrong_words(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["kick"], ["kick", "-m", "a\nb", "x"], ["deny"], ["deny", "-l", "x"],
                  ["deny", "-m", " ", "x"], ["deny", "-s", "imap,nntp", "x"], ["deny", "-s", "", "x"],
                  ["deny", "a\tb"], ["deny", "-a", "-k", "x"]):
        assert host.tool(*words) == 64, words
    assert list(host.config.iterdir()) == []
    host.file.write_text(f"{SETTING}=\n")
    assert host.tool("who") == 78 and f"{SETTING} is not set" in capsys.readouterr().err
    assert host.tool("deny", "-l") == 64 and "CONFIGDIRECTORY is not set" in capsys.readouterr().err
    host.file.write_text(f"{SETTING}={host.run}/none\n")
    assert host.tool("who") == 0


# -- the list of those who are kept out

def test_the_list(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert host.tool("deny", "-l") == 0 and capsys.readouterr().out == ""
    assert host.tool("deny", "-m", "Pay first", "ann", "bob@example.org") == 0
    assert host.tool("deny", "-s", "*", "192.0.2.77/24") == host.tool("deny", "-s", "Pop*", "::1") == 0
    assert host.tool("deny", "-s", "imap", "-m", "Other", "ann") == 0       # once for each
    assert host.tool("deny", "-l") == 0
    assert capsys.readouterr().out.splitlines() == [
        "bob@example.org\timap,pop3\tPay first", f"192.0.2.0/24\t*\t{denials.NO_WORD}",
        f"::1\tpop*\t{denials.NO_WORD}", "ann\timap\tOther"]
    settings = Settings({"CONFIGDIRECTORY": str(host.config)})
    for service, user, ip, word in (
            ("imap", "ann", "", "Other"), ("pop3", "ann", "", ""), ("imap", "an", "", ""),
            ("imap", "Ann", "", ""), ("pop3", "bob@example.org", "192.0.3.1", "Pay first"),
            ("lmtp", "bob@example.org", "", ""), ("lmtp", "x", "192.0.2.1", denials.NO_WORD),
            ("imap", "x", "::ffff:192.0.2.1", denials.NO_WORD),
            ("imap", "x", "192.0.3.1", ""), ("pop3", "x", "::1", denials.NO_WORD), ("imap", "x", "::1", ""),
            ("imap", "", "", ""), ("imap", "x", "no address", ""),
            ("imap", "192.0.2.0/24", "", denials.NO_WORD)):
        assert denials.word_for(settings, service, user, ip) == word, (service, user, ip)
    assert host.tool("deny", "-l", "-J") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0]) == {
        "whom": "bob@example.org", "services": "imap,pop3", "text": "Pay first"}
    assert host.tool("deny", "-a", "192.0.2.0/24", "ann") == 0
    assert host.tool("deny", "-a", "ann") == 1 and "ann is not denied" in capsys.readouterr().err
    assert len((host.config / "denied").read_text().splitlines()) == 2
    assert (host.config / "denied").stat().st_mode & 0o777 == 0o644


def test_a_list_that_is_none(host: Host) -> None:
    settings = Settings({"CONFIGDIRECTORY": str(host.config)})
    (host.config / "denied").write_bytes(b"\n\tx\ty\nann\nann\timap\nann\t\tz\n/\timap\tx\n\xff/\t*\t\xfe\n"
                                         b"bob\timap\t \n")
    assert denials.word_for(settings, "imap", "ann", "192.0.2.1") == ""
    assert denials.word_for(settings, "imap", "bob", "192.0.2.1") == denials.NO_WORD
    (host.config / "denied").unlink()
    (host.config / "denied").mkdir()
    assert denials.word_for(settings, "imap", "bob", "") == ""


def test_who_is_denied_hears_it_behind_the_login(maildir: Path, host: Host) -> None:
    assert host.tool("deny", "-m", "Pay first", "demo") == 0
    base = {"CONFIGDIRECTORY": str(host.config)}
    assert said(maildir, **behind_login(**base)) == ["x NO [CONTACTADMIN] Pay first", "* BYE Pay first"]
    assert said(maildir, **base) == ["* BYE [CONTACTADMIN] Pay first"]
    assert said(maildir, "pop3d", **base) == ["-ERR [SYS/PERM] Pay first"]
    smap = behind_login(**base, PROTOCOL="SMAP1", IMAPLOGINTAG="\\SMAP1")
    assert said(maildir, **smap)[0] == "-ERR Pay first"
    assert host.tool("deny", "-a", "demo") == host.tool("deny", "-s", "imap", "192.0.2.0/24") == 0
    assert said(maildir, **behind_login(**base))[0] == f"x NO [CONTACTADMIN] {denials.NO_WORD}"
    assert said(maildir, "pop3d", b"QUIT\r\n", **behind_login(**base))[0] == "+OK logged in."
    assert said(maildir, **base)[0].startswith("* PREAUTH")


def test_as_many_sessions_as_a_user_may_have(maildir: Path, host: Host) -> None:
    host.run.mkdir(mode=0o755)
    base = {SETTING: str(host.run), "MAXPERUSER": "1"}
    window = over_pipe(maildir, **base)
    window.do("SELECT INBOX")
    words = "You have 1 sessions, and may have no more: end another one."
    assert said(maildir, **behind_login(**base)) == [f"x NO [LIMIT] {words}", f"* BYE {words}"]
    assert said(maildir, "pop3d", b"QUIT\r\n", **base)[0] == "+OK logged in."
    window.do("LOGOUT")
    window.close()
    assert said(maildir, **behind_login(**base))[-1] == "b OK LOGOUT completed"


def test_pop3(maildir: Path, host: Host) -> None:
    host.run.mkdir(mode=0o755)
    process = subprocess.Popen([sys.executable, "-m", "courierpy.pop3d", str(maildir)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env=plain_environ(
                                   AUTHENTICATED="demo", MAXPERUSER="1", **{SETTING: str(host.run)}))
    assert process.stdin is not None and process.stdout is not None
    with process, process.stdin, process.stdout:
        assert process.stdout.readline().startswith(b"+OK")
        assert [each["protocol"] for each in host.who()] == ["POP3"]
        assert said(maildir, "pop3d", MAXPERUSER="1", **{SETTING: str(host.run)}) == [
            "-ERR [IN-USE] You have 1 sessions, and may have no more: end another one."]
        assert host.tool("kick", "demo") == 0
        told = process.stdout.readline()
        assert told == b"-ERR [SYS/TEMP] Your session was ended by the administrator.\r\n"
        assert process.wait(60) == 0
    assert host.who() == []


# -- the whole chain

@pytest.fixture(scope="module", params=["a process each", "login processes"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[Chain, Host]]:
    top = Path(tempfile.mkdtemp(prefix="courierpy-test-"))
    top.chmod(0o755)
    host = Host(top)
    mode = {"IMAP_LOGIN_PROCESSES": "2"} if request.param == "login processes" else {}
    mode |= {"CONFIGDIRECTORY": str(host.config), SETTING: str(host.run), "MAXPERUSER": "3"}
    with chain(**mode) as running:
        yield running, host
        assert len(list(host.run.iterdir())) == 2
    assert [path.name for path in host.run.iterdir()] == ["others"]


@pytest.fixture
def stack(server: tuple[Chain, Host]) -> Iterator[ExitStack]:
    """Clients; at the end nobody is on."""
    with ExitStack() as found:
        yield found
    eventually(lambda: server[1].who() == [])


def ends(client: socket.socket) -> bytes:
    """All that it hears."""
    return until(client, b"no client hears this")


@server_test
def test_sleepers_are_on(server: tuple[Chain, Host], stack: ExitStack) -> None:
    """They are told, count, and hear why they are ended; through a reload and another keeper, too."""
    running, host = server
    for _ in range(2):
        stack.enter_context(running.session(b"SELECT INBOX", b"IDLE"))
    eventually(lambda: host.states() == ["asleep", "asleep"])
    third = stack.enter_context(running.session(b"SELECT INBOX"))
    eventually(lambda: host.states() == ["asleep", "asleep", "awake"])
    eventually(lambda: {each["mailbox"] for each in host.who()} == {"INBOX"})
    assert [each["pid"] is None for each in host.who("demo") if each["state"] == "asleep"] == [True, True]
    fourth = stack.enter_context(running.greeted())
    fourth.sendall(b"a LOGIN demo demo\r\n")
    assert ends(fourth) == b"".join(
        b"%s You have 3 sessions, and may have no more: end another one.\r\n" % word
        for word in (b"a NO [LIMIT]", b"* BYE"))
    third.sendall(b"a LOGOUT\r\n")
    assert ends(third).endswith(b"a OK LOGOUT completed\r\n")
    squeezed = stack.enter_context(running.session(b"SELECT INBOX", b"COMPRESS DEFLATE"))
    squeeze = zlib.compressobj(wbits=-15)
    squeezed.sendall(squeeze.compress(b"b IDLE\r\n") + squeeze.flush(zlib.Z_SYNC_FLUSH))
    eventually(lambda: host.states() == ["asleep"] * 3)
    running.hup(running.log.read_text().count(": settings read again") + 1)
    assert host.states() == ["asleep"] * 3
    assert host.tool("kick", "-m", "Away with you", "demo") == 0
    assert host.who() == []
    inflate = zlib.decompressobj(-15)
    assert inflate.decompress(ends(squeezed)).endswith(b"* BYE Away with you\r\n")


@server_test
def test_nobody_is_greeted_while_it_is_shut_down(server: tuple[Chain, Host], stack: ExitStack) -> None:
    """Who was, and logs in only then, is refused too."""
    running, host = server
    early = stack.enter_context(running.greeted())
    try:
        assert host.tool("shutdown", "Back at noon") == 0
        late = stack.enter_context(running.connect())
        assert ends(late) == b"* BYE [ALERT] Back at noon\r\n"
        early.sendall(b"a LOGIN demo demo\r\n")
        assert ends(early) == b"* BYE [ALERT] Back at noon\r\n"
    finally:
        assert host.tool("shutdown", "--cancel") == 0
    stack.enter_context(running.session())


@server_test
def test_who_is_denied_is_ended(server: tuple[Chain, Host], stack: ExitStack) -> None:
    running, host = server
    awake = stack.enter_context(running.session(b"SELECT INBOX"))
    asleep = stack.enter_context(running.session(b"SELECT INBOX", b"IDLE"))
    eventually(lambda: host.states() == ["asleep", "awake"])
    assert host.tool("deny", "-k", "-m", "Pay first", "demo") == 0
    assert ends(awake) == ends(asleep) == b"* BYE Pay first\r\n"
    refused = stack.enter_context(running.greeted())
    refused.sendall(b"a LOGIN demo demo\r\n")
    assert ends(refused) == b"a NO [CONTACTADMIN] Pay first\r\n* BYE Pay first\r\n"
    assert "DENIED, user=demo" in running.log.read_text()
    assert host.tool("deny", "-a", "demo") == 0
    stack.enter_context(running.session())


@server_test
def test_what_is_killed_is_on_no_more(server: tuple[Chain, Host], stack: ExitStack) -> None:
    """A process, and the keeper: those who slept are woken, and are on still."""
    running, host = server
    stack.enter_context(running.session(b"SELECT INBOX"))
    eventually(lambda: host.states() == ["awake"])
    os.kill(int(str(host.who()[0]["pid"])), signal.SIGKILL)
    eventually(lambda: host.who() == [])
    stack.enter_context(running.session(b"SELECT INBOX", b"IDLE"))
    eventually(lambda: host.states() == ["asleep"])
    before = running.log.read_text().count("the keeper of idle connections ended")
    for pid in running.children():
        if _is_keeper(pid):
            os.kill(pid, signal.SIGKILL)
    running.wait_log("the keeper of idle connections ended", before + 1)
    eventually(lambda: host.states() == ["asleep"])
    assert host.tool("kick", "demo") == 0


def _is_keeper(pid: int) -> bool:
    try:
        return any("eventpoll" in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False                   # it ends


# the process that goes on for who slept is killed at its first step
KILLED = """
import os
from courierpy import imapd
imapd.wake = lambda *words: os.kill(os.getpid(), 9)
"""


@server_test
@pytest.mark.parametrize("mode", ["0", "1"])
def test_who_dies_when_woken_is_on_no_more(mode: str) -> None:
    with tempfile.TemporaryDirectory(prefix="courierpy-test-") as top:
        os.chmod(top, 0o755)
        host = Host(Path(top))
        with chain(before=KILLED, IMAP_LOGIN_PROCESSES=mode, **{SETTING: str(host.run)}) as running, \
                running.session(b"SELECT INBOX", b"IDLE") as client:
            eventually(lambda: host.states() == ["asleep"])
            client.sendall(b"DONE\r\n")
            assert ends(client) == b""
            eventually(lambda: host.who() == [])
            folder = host.run / next(name for name in os.listdir(host.run) if name != "others")
            eventually(lambda: os.listdir(folder) == ["told"])


@server_test
@pytest.mark.skipif(os.getuid() != 0, reason="to become somebody else takes root")
@pytest.mark.parametrize("mode", ["0", "1"])
def test_root_ends_sessions_of_a_listener_that_is_not_roots(mode: str) -> None:
    """Its folder is its own, and so is that of the words to its sessions: a link there leads nowhere."""
    with tempfile.TemporaryDirectory(prefix="courierpy-test-") as top:
        os.chmod(top, 0o755)
        host = Host(Path(top))
        uid, gid = account_ids()
        with chain(f"-user={uid}", f"-group={gid}", IMAP_LOGIN_PROCESSES=mode,
                   **{SETTING: str(host.run)}) as running:
            with running.session(b"SELECT INBOX") as awake, \
                    running.session(b"SELECT INBOX", b"IDLE") as asleep:
                eventually(lambda: host.states() == ["asleep", "awake"])
                folder = host.run / next(name for name in os.listdir(host.run) if name != "others")
                assert folder.stat().st_uid == uid
                assert host.tool("kick", "-m", "Away with you", "demo") == 0
                assert ends(awake) == ends(asleep) == b"* BYE Away with you\r\n"
            (folder / "told").rename(folder / "elsewhere")
            (folder / "told").symlink_to(host.config)
            with running.session(b"SELECT INBOX") as awake:
                eventually(lambda: host.states() == ["awake"])
                assert host.tool("kick", "-m", "Away with you", "demo") == 0
                assert ends(awake) == b"* BYE Your session was ended by the administrator.\r\n"
            assert not list(host.config.iterdir())
            (folder / "told").unlink()
            (folder / "elsewhere").rename(folder / "told")
