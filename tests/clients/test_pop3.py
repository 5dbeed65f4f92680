"""Real POP3 clients, against the whole chain."""
from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import need, plain_environ
from tests.peers.account_servers import CLIENTS, libraries
from tests.programs.chain import Chain, chain

pytestmark = pytest.mark.clients
TEXTS = {"plain": b"From: a@example.org\nTo: demo@example.org\nSubject: plain\n\nx\n.\n..y\nend\n",
         "open": b"From: a@example.org\nTo: demo@example.org\nSubject: open\n\nno newline"}


@pytest.fixture(scope="module")
def listening() -> Iterator[Chain]:
    with chain(program=("pop3login", "pop3d", "Maildir"), IMAP_LOGIN_DELAY="0") as found:
        yield found


@pytest.fixture
def served(listening: Chain) -> Chain:
    """With these two messages in its maildrop, and no others."""
    box = listening.home / "Maildir"
    for part in ("cur", "new"):
        for path in (box / part).iterdir():
            path.unlink()
    for number, (name, text) in enumerate(TEXTS.items()):
        path = box / "new" / f"170000000{number}.M1P1.{name}"
        path.write_bytes(text)
        shutil.chown(path, box.stat().st_uid, box.stat().st_gid)
    return listening


def run(tmp_path: Path, *words: str, status: tuple[int, ...] = (0,)) -> bytes:
    done = subprocess.run(words, capture_output=True, timeout=100, cwd=tmp_path,
                          env={**plain_environ(), "HOME": str(tmp_path)})
    assert done.returncode in status, (done.stderr + done.stdout).decode(errors="replace")
    return done.stdout


def wire(text: bytes) -> bytes:
    return text.replace(b"\n", b"\r\n") + (b"" if text.endswith(b"\n") else b"\r\n")


def left(served: Chain) -> int:
    return len([*(served.home / "Maildir" / "cur").iterdir()])


def test_curl(served: Chain, tmp_path: Path) -> None:
    curl = need("curl")
    at = f"pop3://127.0.0.1:{served.port}/"
    rows = run(tmp_path, curl, "-sS", "-u", "demo:demo", at).splitlines()
    assert [int(row.split()[1]) for row in rows] == [len(wire(text)) for text in TEXTS.values()]
    for number, text in enumerate(TEXTS.values(), 1):
        assert run(tmp_path, curl, "-sS", "-u", "demo:demo", f"{at}{number}") == wire(text)
    uidls = run(tmp_path, curl, "-sS", "-u", "demo:demo", "-X", "UIDL", at).splitlines()
    assert [row.split()[0] for row in uidls] == [row.split()[0] for row in rows]
    assert len({row.split()[1] for row in uidls}) == len(rows)
    run(tmp_path, curl, "-sS", "-u", "demo:demo", "--request", "DELE", "-l", f"{at}1")
    assert left(served) == 1


def test_fetchmail(served: Chain, tmp_path: Path) -> None:
    fetchmail = need("fetchmail")
    rc = tmp_path / "rc"
    rc.write_text(f'poll 127.0.0.1 service {served.port} protocol pop3 uidl user "demo" password "demo" '
                  f'sslproto "" mda "cat >> {tmp_path}/mail"\n')
    rc.chmod(0o600)
    words = (fetchmail, "-f", str(rc), "--nosyslog", "-i", str(tmp_path / "ids"), "--pidfile",
             str(tmp_path / "pid"))
    run(tmp_path, *words, "--keep")
    assert (tmp_path / "mail").read_bytes().count(b"Subject: ") == 2
    run(tmp_path, *words, "--keep", status=(1,))           # nothing that is new: it knows the UIDLs
    assert (tmp_path / "mail").read_bytes().count(b"Subject: ") == 2
    assert left(served) == 2


def test_getmail(served: Chain, tmp_path: Path) -> None:
    getmail = need("getmail")
    (tmp_path / "getmailrc").write_text(
        f"[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {served.port}\n"
        f"username = demo\npassword = demo\n[destination]\ntype = MDA_external\npath = /bin/sh\n"
        f'arguments = ("-c", "cat >> {tmp_path}/mail")\nallow_root_commands = true\n'
        "[options]\ndelete = true\nread_all = false\ndelivered_to = false\nreceived = false\n")
    run(tmp_path, getmail, "-g", str(tmp_path), "-q")
    got = (tmp_path / "mail").read_bytes()
    assert all(text.partition(b"\n\n")[2].rstrip(b"\n") in got for text in TEXTS.values())
    assert left(served) == 0


def test_mpop(served: Chain, tmp_path: Path) -> None:
    unpacked = CLIENTS / "mpop"
    mpop = shutil.which("mpop") or shutil.which(str(unpacked / "usr/bin/mpop"))
    if mpop is None:
        pytest.skip("mpop is not installed")
    found = (mpop,) if not mpop.startswith(str(unpacked)) else (
        "env", f"LD_LIBRARY_PATH={libraries(unpacked)['LD_LIBRARY_PATH']}", mpop)
    for part in ("cur", "new", "tmp"):
        (tmp_path / "box" / part).mkdir(parents=True)
    rc = tmp_path / "mpoprc"
    rc.write_text(f"account default\nhost 127.0.0.1\nport {served.port}\nuser demo\npassword demo\ntls off\n"
                  f"auth user\nkeep on\ndelivery maildir {tmp_path}/box\nuidls_file {tmp_path}/uidls\n"
                  "received_header off\n")
    rc.chmod(0o600)
    for _ in range(2):                 # the second time it knows the UIDLs
        run(tmp_path, *found, "-C", str(rc), "-q")
        assert len([*(tmp_path / "box" / "new").iterdir()]) == 2
    assert left(served) == 2
