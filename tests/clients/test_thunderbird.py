"""Thunderbird without a screen: its own code reads, flags, moves, deletes and waits in IDLE; without TLS,
and as its form of a new account finds the demo: STARTTLS, with an exception for the certificate."""
from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
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


@pytest.mark.parametrize("starttls", [False, True])
def test_thunderbird(starttls: bool, thunderbird: Path, listener: Server, tmp_path: Path) -> None:
    told_file = tmp_path / "told"
    profile = tmp_path / "profile"
    profile.mkdir()
    with (tmp_path / "log").open("wb") as log:
        client = subprocess.Popen([str(thunderbird), "--headless", "--no-remote", "--profile", str(profile)],
                                  stdout=log, stderr=log, cwd=tmp_path,
                                  env=plain_environ(HOME=str(tmp_path), SESSION_OUT=str(told_file),
                                                    SESSION_PORT=str(listener.port),
                                                    SESSION_CERTIFICATE=coded(listener) * starttls,
                                                    SESSION_CUR=str(listener.maildir / "cur")))
    told: dict[str, object] = {}
    delivered = False
    end = time.monotonic() + 90
    try:
        while client.poll() is None and time.monotonic() < end and "error" not in told and "done" not in told:
            time.sleep(0.1)
            try:
                told = json.loads(told_file.read_text())
            except (FileNotFoundError, ValueError):
                continue
            if told.get("arrives") and not delivered and idles(listener.maildir):
                name = "1700000009.M1P1.host"
                (listener.maildir / "tmp" / name).write_bytes(b"From: a@b\nSubject: arrived\n\nx\n")
                (listener.maildir / "tmp" / name).rename(listener.maildir / "new" / name)
                delivered = True
    finally:
        client.terminate()
        client.wait(20)
    assert told.get("done"), (told, (tmp_path / "log").read_text()[-2000:])
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
