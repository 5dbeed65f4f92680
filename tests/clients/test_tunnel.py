"""Real clients over a pipe: PREAUTH, as through ssh."""
from __future__ import annotations

import imaplib
import subprocess
from pathlib import Path

import pytest

from tests.conftest import need, plain_environ

pytestmark = pytest.mark.clients


def mbsync(config: Path, *words: str) -> str:
    done = subprocess.run([need("mbsync"), "-c", str(config), *words, "all"], capture_output=True, text=True,
                          timeout=60, env=plain_environ(HOME=str(config.parent)), check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout + done.stderr


@pytest.fixture
def config(tmp_path: Path, tunnel: str) -> Path:
    (tmp_path / "local").mkdir()
    path = tmp_path / "mbsyncrc"
    path.write_text(f"""IMAPAccount far
Tunnel "{tunnel}"

IMAPStore far
Account far

MaildirStore near
Path {tmp_path}/local/
Inbox {tmp_path}/local/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
Sync All
CopyArrivalDate yes
SyncState *
""")
    return path


def messages(folder: Path) -> dict[bytes, str]:
    """Subject -> flags of the messages in a Maildir folder."""
    found = {}
    for part in ("cur", "new"):
        for file in (folder / part).iterdir():
            subject = next(line for line in file.read_bytes().splitlines() if line.startswith(b"Subject:"))
            found[subject] = file.name.partition(":2,")[2]
    return found


def test_mbsync_both_ways(config: Path, tmp_path: Path, maildir: Path) -> None:
    mbsync(config)
    local = tmp_path / "local" / "INBOX"
    assert set(messages(local)) == {b"Subject: mail 1", b"Subject: mail 2", b"Subject: mail 3"}
    # a flag, a deletion and a new message on this side
    for file in list((local / "cur").iterdir()) + list((local / "new").iterdir()):
        text = file.read_bytes()
        name = file.name.partition(":")[0]
        if b"mail 1" in text:
            file.rename(local / "cur" / f"{name}:2,FS")
        elif b"mail 2" in text:
            file.rename(local / "cur" / f"{name}:2,T")
    (local / "new" / "1700009999.M1P1.local").write_bytes(b"Subject: mail 4\n\nfrom here\n")
    mbsync(config)
    far = messages(maildir)
    assert set(far) == {b"Subject: mail 1", b"Subject: mail 3", b"Subject: mail 4"}
    assert far[b"Subject: mail 1"] == "FS"
    # and on the other one
    for file in list((maildir / "cur").iterdir()):
        text = file.read_bytes()
        if b"mail 3" in text:
            file.rename(file.with_name(file.name.partition(":")[0] + ":2,RS"))
        elif b"mail 4" in text:
            file.unlink()
    (maildir / "new" / "1700009998.M1P1.host").write_bytes(b"Subject: mail 5\n\nfrom there\n")
    mbsync(config)
    far = messages(maildir)
    assert far == {b"Subject: mail 1": "FS", b"Subject: mail 3": "RS", b"Subject: mail 5": ""}
    assert messages(local) == far
    names = sorted(file.name for file in (maildir / "cur").iterdir())
    here = messages(local)
    mbsync(config)
    assert sorted(file.name for file in (maildir / "cur").iterdir()) == names
    assert messages(local) == here


def test_imaplib_over_a_pipe(tunnel: str, maildir: Path) -> None:
    client = imaplib.IMAP4_stream(f"cd / && PYTHONPATH={plain_environ()['PYTHONPATH']} exec {tunnel}")
    assert client.state == "AUTH"
    assert client.select("INBOX") == ("OK", [b"3"])
    assert client.search(None, "SUBJECT", '"mail 2"') == ("OK", [b"2"])
    status, data = client.fetch("2", "(BODY.PEEK[])")
    assert status == "OK"
    original = next(file for file in (maildir / "cur").iterdir() if b"mail 2" in file.read_bytes())
    assert isinstance(data[0], tuple)
    assert data[0][1] == original.read_bytes().replace(b"\n", b"\r\n")
    assert client.append("INBOX", r"(\Flagged)", None, b"Subject: x\r\n\r\nhi\r\n")[0] == "OK"
    assert client.store("4", "+FLAGS", r"(\Deleted)")[0] == "OK"
    assert client.expunge() == ("OK", [b"4"])
    client.logout()
