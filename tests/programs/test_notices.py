"""What the administrator has to say to who comes: the files of Cyrus and of UW's imapd."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from courierpy.admin import motd, shutdown
from courierpy.system import notices
from courierpy.system.settings import Settings
from tests.conftest import account_ids, plain_environ
from tests.realtime.windows import Window, over_pipe

DIALOGUE = b"a NOOP\r\nb LOGOUT\r\n"
UNREADABLE = "\x00\x1b[2J\u202e caf\u00e9"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """CONFIGDIRECTORY."""
    (tmp_path / "config" / "msg").mkdir(parents=True)
    (tmp_path / "settings").write_text(f"CONFIGDIRECTORY={tmp_path}/config\n")
    return tmp_path / "config"


def said(maildir: Path, program: str = "imapd", dialogue: bytes = DIALOGUE, **environ: str) -> list[str]:
    """What a session says, as its lines."""
    settings = {"IMAP_NOLOGIN": "", "IMAP_ALERT": "", **environ}
    done = subprocess.run([sys.executable, "-m", f"courierpy.{program}", str(maildir)], input=dialogue,
                          stdout=subprocess.PIPE, check=False, timeout=60,
                          env=plain_environ(AUTHENTICATED="demo", **settings))
    return done.stdout.decode().splitlines()


def alerts(lines: list[str]) -> list[str]:
    return [line.removeprefix("* OK [ALERT] ") for line in lines if line.startswith("* OK [ALERT] ")]


def test_the_message_of_the_day(maildir: Path, base: Path, tmp_path: Path) -> None:
    """Once a day and a text, behind the greeting; again where it cannot be known that it was told."""
    environ = {"CONFIGDIRECTORY": str(base)}
    assert motd.main(["-C", str(tmp_path / "settings"), "New disks tonight"]) == 0
    lines = said(maildir, **environ)
    assert lines[0].startswith("* PREAUTH ") and lines[1] == "* OK [ALERT] New disks tonight"
    assert alerts(said(maildir, **environ)) == []
    assert alerts(said(maildir, **environ, IMAP_MOTD="session")) == ["New disks tonight"]
    assert alerts(said(maildir, **environ, IMAP_READONLY="1")) == ["New disks tonight"]
    (base / "msg" / "motd").write_text("Others\nand a line that nobody is told\n")
    assert alerts(said(maildir, **environ)) == ["Others"]
    stamp = maildir / "courierpy-motd"
    stamp.write_text(f"2001-02-03{stamp.read_text()[10:]}")
    assert alerts(said(maildir, **environ)) == ["Others"]
    assert motd.main(["-C", str(tmp_path / "settings"), "--clear"]) == 0
    assert alerts(said(maildir, **environ, IMAP_MOTD="session")) == []


def test_behind_a_login_alerts_come_before_its_answer(maildir: Path, base: Path) -> None:
    (base / "msg" / "motd").write_text("Hello\n")
    lines = said(maildir, IMAPLOGINTAG="x", TCPREMOTEIP="::1", TCPREMOTEPORT="7", CONFIGDIRECTORY=str(base))
    assert lines[:2] == ["* OK [ALERT] Hello", "x OK LOGIN Ok."]


def test_alerts_of_uw(maildir: Path, tmp_path: Path) -> None:
    """A line each; those of the user once, and no octet of them can be taken for another line."""
    (tmp_path / "alert").write_text("First\n\nSecond\n")
    own = maildir.parent / ".imapalert"
    own.write_text(f"Yours {UNREADABLE}\r* BYE\n" + "x" * 1000 + "\n" * 5000)
    environ = {"IMAP_ALERT": str(tmp_path / "alert"), "HOME": str(maildir.parent)}
    lines = said(maildir, **environ, IMAP_READONLY="1")
    first, second, *others = alerts(lines)
    assert (first, second) == ("First", "Second") and others[0].startswith("Yours ")
    assert re.fullmatch(r"[\x20-\x7e]*", "".join(lines)) and max(map(len, others)) <= 400
    assert own.exists()                # nothing is written in such a session
    assert alerts(said(maildir, **environ)) == alerts(lines)
    assert not own.exists() and alerts(said(maildir, **environ)) == ["First", "Second"]


@pytest.mark.parametrize("kind", ["a directory", "a pipe", "a loop"])
def test_what_is_no_file_says_nothing(kind: str, maildir: Path, base: Path, tmp_path: Path) -> None:
    for path in (base / "msg" / "motd", maildir.parent / ".imapalert", tmp_path / "alert"):
        {"a directory": os.mkdir, "a pipe": os.mkfifo,
         "a loop": lambda path: os.symlink(path, path)}[kind](path)
    environ = {"CONFIGDIRECTORY": str(base), "HOME": str(maildir.parent),
               "IMAP_ALERT": str(tmp_path / "alert")}
    assert alerts(said(maildir, **environ)) == []


@pytest.mark.parametrize(("program", "refused"), [
    ("imapd", "* BYE [ALERT] Back at noon"), ("pop3d", "-ERR Back at noon")])
def test_shutdown_refuses(program: str, refused: str, maildir: Path, base: Path, tmp_path: Path,
                          capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-C", str(tmp_path / "settings")]
    assert shutdown.main([*words, "Back at noon"]) == 0
    assert said(maildir, program, CONFIGDIRECTORY=str(base)) == [refused]
    assert shutdown.main(words) == 0 and capsys.readouterr().out == "Back at noon\n"
    (base / "msg" / "shutdown").write_text("")
    assert "shut down for maintenance" in said(maildir, program, CONFIGDIRECTORY=str(base))[0]
    assert shutdown.main([*words, "--cancel"]) == shutdown.main([*words, "--cancel"]) == 0
    assert len(said(maildir, program, CONFIGDIRECTORY=str(base))) > 1
    assert os.listdir(base / "msg") == []


@pytest.fixture
def window(maildir: Path, base: Path) -> Window:
    return over_pipe(maildir, CONFIGDIRECTORY=str(base), IMAP_IDLE_TIMEOUT="1")


def test_shutdown_ends_sessions(window: Window, base: Path) -> None:
    """With the next command, and while one idles."""
    window.do("SELECT INBOX")
    (base / "msg" / "shutdown").write_text("Now\n")
    window.send("x STORE 1 +FLAGS (\\Deleted)")
    assert window.until("* BYE")[-1] == "* BYE [ALERT] Now"
    window.close()


def test_shutdown_ends_who_idles(window: Window, base: Path) -> None:
    window.do("SELECT INBOX")
    window.idle()
    (base / "msg" / "shutdown").write_text("Now\n")
    assert window.until("* BYE")[-1] == "* BYE [ALERT] Now"
    window.close()


def test_wrong_words(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-C", str(tmp_path / "settings")]
    for wrong in (["a\nb"], [" "], ["x" * 401], ["x", "--cancel"], ["\x1b[2J"]):
        with pytest.raises(SystemExit):
            shutdown.main([*words, *wrong])
    (tmp_path / "settings").write_text("")
    assert shutdown.main([*words, "x"]) == 64
    assert "CONFIGDIRECTORY is not set" in capsys.readouterr().err
    assert os.listdir(base / "msg") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_nologin() -> None:
    """It holds for all but root."""
    folder = Path(tempfile.mkdtemp(prefix="courierpy-test-"))
    try:
        folder.chmod(0o755)
        (folder / "nologin").write_text("Backup is running\nuntil noon\n")
        settings = Settings({"IMAP_NOLOGIN": str(folder / "nologin")})
        assert notices.refusal(settings) == ""
        pid = os.fork()
        if pid == 0:
            os.setgroups([])
            os.setuid(account_ids()[0])
            os._exit(notices.refusal(settings) == "Backup is running until noon")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    finally:
        shutil.rmtree(folder)


def test_a_record_of_a_user(maildir: Path, base: Path) -> None:
    """log/USER/: a file for each session, without passwords."""
    environ = {"CONFIGDIRECTORY": str(base), "IMAP_PREAUTH_LOGIN": "1"}
    said(maildir, **environ)
    assert not (base / "log").exists()
    (base / "log" / "demo").mkdir(parents=True)
    said(maildir, dialogue=b'a LOGIN "demo" verysecret\r\nb login {4+}\r\ndemo {10+}\r\nverysecret\r\n'
                           b"c AUTHENTICATE PLAIN dmVyeXNlY3JldA==\r\nd NOOP\r\ne LOGOUT\r\n", **environ)
    record, = (base / "log" / "demo").iterdir()
    lines = record.read_text().splitlines()
    assert lines[0].startswith("WRITE: * PREAUTH ") and lines[-1] == "WRITE: e OK LOGOUT completed"
    assert [line for line in lines if line.startswith("READ: ")] == [
        "READ: a LOGIN ...", "READ: b login ...", "READ: ...", "READ: ...",
        "READ: c AUTHENTICATE PLAIN ...", "READ: d NOOP", "READ: e LOGOUT"]
    assert "ecret" not in record.read_text() and "dmVyeX" not in record.read_text()
    assert record.stat().st_mode & 0o777 == 0o600 and abs(int(record.name.split(".")[0]) - time.time()) < 600


@pytest.mark.parametrize("user", ["../demo", "..", "a/b", ".demo"])
def test_no_record_elsewhere(user: str, maildir: Path, base: Path) -> None:
    (base / "log" / "a" / "b").mkdir(parents=True)
    (base / "demo").mkdir()
    (base / "log" / ".demo").mkdir()
    subprocess.run([sys.executable, "-m", "courierpy.imapd", str(maildir)], input=DIALOGUE, check=False,
                   timeout=60, stdout=subprocess.DEVNULL,
                   env=plain_environ(AUTHENTICATED=user, CONFIGDIRECTORY=str(base)))
    assert [path for path in base.rglob("*") if path.is_file()] == []
