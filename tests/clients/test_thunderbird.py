"""Thunderbird without a screen: its own code reads, flags, moves, deletes and waits in IDLE; without TLS,
and as its form of a new account finds the demo: STARTTLS, with an exception for the certificate."""
from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from courierpy.admin import mkcert
from tests.clients.conftest import flags, subject
from tests.conftest import Server, need, plain_environ
from tests.programs.chain import chain

pytestmark = pytest.mark.clients
HERE = Path(__file__).parent / "thunderbird"
IDLES = re.compile(rb" expunge\n.*\+ entering ENHANCED idle mode\n$", re.S)


@pytest.fixture
def thunderbird(tmp_path: Path) -> Path:
    """A copy of the program that runs our session when it starts."""
    need("thunderbird")
    app = tmp_path / "app"
    shutil.copytree("/usr/lib/thunderbird", app, ignore=shutil.ignore_patterns("dictionaries"))
    (app / "defaults" / "pref").mkdir(exist_ok=True)
    shutil.copy(HERE / "autoconfig.js", app / "defaults" / "pref")
    shutil.copy(HERE / "session.cfg", app)
    return app / "thunderbird"


def coded(certificate: Path) -> str:
    """It as the exception wants it: in base64, without the key that is beside it."""
    found = re.search("BEGIN CERTIFICATE-----([^-]+)-----END", certificate.read_text())
    assert found is not None
    return found[1].replace("\n", "")


def idles(maildir: Path) -> bool:
    """Is the session that sent EXPUNGE in IDLE now?  What comes during its FETCH of the flags is
    told in that, and Thunderbird looks for it the next time only."""
    return any(IDLES.search(talk.read_bytes()) for talk in (maildir / "tmp" / "talk").iterdir())


def start(thunderbird: Path, port: int, maildir: Path, home: Path, seen: Callable[[dict[str, object]], None],
          **environ: str) -> dict[str, object]:
    """What one run of the program has told at its end; ``seen`` is called with what it told so far."""
    told_file = home / "told"
    told_file.unlink(missing_ok=True)
    profile = home / "profile"
    profile.mkdir(exist_ok=True)
    with (home / "log").open("wb") as log:
        client = subprocess.Popen([str(thunderbird), "--headless", "--no-remote", "--profile", str(profile)],
                                  stdout=log, stderr=log, cwd=home,
                                  env=plain_environ(HOME=str(home), SESSION_OUT=str(told_file),
                                                    SESSION_PORT=str(port), SESSION_CUR=str(maildir / "cur"),
                                                    **environ))
    told: dict[str, object] = {}
    end = time.monotonic() + 90
    try:
        while client.poll() is None and time.monotonic() < end and "error" not in told and "done" not in told:
            time.sleep(0.1)
            try:
                told = json.loads(told_file.read_text())
            except (FileNotFoundError, ValueError):
                continue
            seen(told)
        if told.get("done"):
            client.wait(20)                          # by itself: then its profile is as it wants it
    finally:
        client.terminate()
        client.wait(20)
    assert told.get("done"), (told, (home / "log").read_text()[-2000:])
    return told


@pytest.mark.parametrize("starttls", [False, True])
def test_thunderbird(starttls: bool, thunderbird: Path, listener: Server, tmp_path: Path) -> None:
    arrived = listener.maildir / "new" / "1700000009.M1P1.host"

    def deliver(told: dict[str, object]) -> None:
        if told.get("arrives") and not arrived.exists() and idles(listener.maildir):
            (listener.maildir / "tmp" / arrived.name).write_bytes(b"From: a@b\nSubject: arrived\n\nx\n")
            (listener.maildir / "tmp" / arrived.name).rename(arrived)

    told = start(thunderbird, listener.port, listener.maildir, tmp_path, deliver,
                 SESSION_CERTIFICATE=coded(listener.certificate) * starttls)
    if starttls:
        assert told["guessed"] == [2, 3]             # STARTTLS, a password over it
    assert ("starttls=1" in listener.log.read_text()) == starttls
    # it keeps the Re: of a subject apart
    assert told["subjects"] == ["Notes on the engine", "Notes on the engine", "Caf\u00e9 at noon?",
                                "A book that you asked for is here"]
    assert flags(listener.maildir / ".Gr\u00fc\u00dfe") == {"Re: Notes on the engine": ""}
    found = flags(listener.maildir)
    assert set(found) == {"Notes on the engine", "A book that you asked for is here", "arrived"}
    assert found["Notes on the engine"] == "F"


def test_thunderbird_comes_back(thunderbird: Path, listener: Server, tmp_path: Path) -> None:
    """By CONDSTORE, from what its own files remember: a flag, a deletion and a message of its absence."""
    def session(uids: str, flagged: str) -> str:
        """What it said to the server in this start."""
        talks = listener.maildir / "tmp" / "talk"
        before = set(talks.iterdir())
        start(thunderbird, listener.port, listener.maildir, tmp_path, lambda told: None, SESSION_UIDS=uids,
              SESSION_FLAGGED=flagged)
        return "".join(talk.read_text() for talk in set(talks.iterdir()) - before)

    session("1,2,3,4", "")
    session("1,2,3,4", "")                 # it keeps a number from its second visit on
    first, second, *_ = sorted((listener.maildir / "cur").iterdir())
    first.rename(first.with_name(first.name.partition(":")[0] + ":2,F"))
    second.unlink()
    (listener.maildir / "new" / "1800000000.M1P1.host").write_bytes(b"From: a@b\nSubject: late\n\nx\n")
    said = session("1,3,4,5", "1")
    assert re.search(r"UID fetch 1:\* \(FLAGS\) \(CHANGEDSINCE [1-9]\d+\)", said), said


@pytest.mark.parametrize("tls", ["plain", "starttls", "tls"])
def test_thunderbird_by_pop3(tls: str, thunderbird: Path, tmp_path: Path) -> None:
    """As its form sets up a new account: mail stays at the server until it is deleted here.  The next start
    fetches what is new, and nothing again."""
    certificate = tmp_path / "pem"
    assert mkcert.main([str(certificate)]) == 0
    environ = {"POP3_STARTTLS": "NO"} if tls == "plain" else {
        "POP3_STARTTLS": "YES", "TLS_CERTFILE": str(certificate), "POP3_TLS_REQUIRED": "1"}
    host, exception = ("localhost", "") if tls == "plain" else ("127.0.0.1", coded(certificate))
    words = ("-tls",) if tls == "tls" else ()
    with chain(*words, program=("pop3login", "pop3d", "Maildir"), IMAP_LOGIN_DELAY="0", **environ) as served:
        maildir = served.home / "Maildir"
        for file in maildir.glob("[cn]*/*"):
            file.unlink()

        def post(number: int, name: str) -> None:
            path = maildir / "new" / f"170000000{number}.M{number}P1.{name}"
            path.write_bytes(b"From: a@example.org\nTo: demo@example.org\nSubject: %s\n\n.\n..y\nend of %s\n"
                             % (name.encode(), name.encode()))
            shutil.chown(path, maildir.stat().st_uid, maildir.stat().st_gid)

        def session(count: int, deletes: str = "") -> dict[str, object]:
            return start(thunderbird, served.port, maildir, tmp_path, lambda told: None,
                         SESSION_POP3=str(count), SESSION_CERTIFICATE=exception, SESSION_DELETES=deletes,
                         SESSION_TLS=tls)

        post(1, "one")
        post(2, "two")
        told = session(2)
        assert told["leaves"] == [True, True]
        assert told.get("guessed") == ([2, 3] if tls == "starttls" else None)
        post(3, "three")
        assert session(3, "two")["subjects"] == ["one", "three", "two"]
        assert {subject(path) for part in ("cur", "new") for path in (maildir / part).iterdir()} == {
            "one", "three"}
        box = tmp_path / "profile" / "Mail" / host
        mails = (box / "Inbox").read_text()
        for name in ("one", "two", "three"):
            assert mails.count(f"end of {name}\n") == 1            # with what is deleted: it was fetched once
        assert ".\n..y\n" in mails.replace("\r", "")
        kept = (box / "popstate.dat").read_text()
        log = served.wait_log("LOGOUT, user=demo", 3)
        # octets that were sent, of messages of 89 to 93
        sent = [int(number) for number in re.findall(r"retr=(\d+)", log)]
        assert [bool(number) for number in sent] == [True, True, False]
        assert sent[1] < sent[0]
        assert ("stls=1" in log) == (tls != "plain")
        assert kept.count("\nk ") == 2
