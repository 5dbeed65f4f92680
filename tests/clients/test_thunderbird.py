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

from tests.clients.conftest import flags
from tests.conftest import Server, need, plain_environ

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


def coded(listener: Server) -> str:
    """The certificate as the exception wants it: in base64, without the key that is beside it."""
    found = re.search("BEGIN CERTIFICATE-----([^-]+)-----END", listener.certificate.read_text())
    assert found is not None
    return found[1].replace("\n", "")


def idles(maildir: Path) -> bool:
    """Is the session that sent EXPUNGE in IDLE now?  What comes during its FETCH of the flags is
    told in that, and Thunderbird looks for it the next time only."""
    return any(IDLES.search(talk.read_bytes()) for talk in (maildir / "tmp" / "talk").iterdir())


def start(thunderbird: Path, listener: Server, home: Path, seen: Callable[[dict[str, object]], None],
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
                                                    SESSION_PORT=str(listener.port),
                                                    SESSION_CUR=str(listener.maildir / "cur"), **environ))
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

    told = start(thunderbird, listener, tmp_path, deliver, SESSION_CERTIFICATE=coded(listener) * starttls)
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
        start(thunderbird, listener, tmp_path, lambda told: None, SESSION_UIDS=uids, SESSION_FLAGGED=flagged)
        return "".join(talk.read_text() for talk in set(talks.iterdir()) - before)

    session("1,2,3,4", "")
    session("1,2,3,4", "")                 # it keeps a number from its second visit on
    first, second, *_ = sorted((listener.maildir / "cur").iterdir())
    first.rename(first.with_name(first.name.partition(":")[0] + ":2,F"))
    second.unlink()
    (listener.maildir / "new" / "1800000000.M1P1.host").write_bytes(b"From: a@b\nSubject: late\n\nx\n")
    said = session("1,3,4,5", "1")
    assert re.search(r"UID fetch 1:\* \(FLAGS\) \(CHANGEDSINCE [1-9]\d+\)", said), said
