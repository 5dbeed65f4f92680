"""Real clients against the listener: plain TCP, STARTTLS and imaps."""
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import Server, need, plain_environ

pytestmark = pytest.mark.clients


def curl(server: Server, url: str, *words: str) -> bytes:
    done = subprocess.run([need("curl"), "-sS", "--max-time", "30", "--cacert", str(server.certificate),
                           "-u", "demo:demo", *words, url], capture_output=True, check=False,
                          env=plain_environ())
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("way", ["plain", "starttls", "imaps"])
def test_curl(server: Server, way: str, tmp_path: Path) -> None:
    base, words = {"plain": (f"imap://localhost:{server.port}", ()),
                   "starttls": (f"imap://localhost:{server.port}", ("--ssl-reqd",)),
                   "imaps": (f"imaps://localhost:{server.tls_port}", ())}[way]
    upload = tmp_path / "mail"
    upload.write_bytes(b"Subject: by curl\r\n\r\nbody\r\n")
    curl(server, f"{base}/INBOX", *words, "-T", str(upload))
    assert curl(server, f"{base}/INBOX;MAILINDEX=5", *words) == upload.read_bytes()
    assert b"* SEARCH 5\r\n" in curl(server, f"{base}/INBOX?SUBJECT%20curl", *words)


def test_mbsync(server: Server, tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    config = tmp_path / "mbsyncrc"
    config.write_text(f"""IMAPAccount far
Host localhost
Port {server.tls_port}
User demo
Pass demo
SSLType IMAPS
CertificateFile {server.certificate}

IMAPStore far
Account far

MaildirStore near
Path {tmp_path}/local/
Inbox {tmp_path}/local/INBOX

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Sync All
SyncState *
""")
    for _ in range(2):
        done = subprocess.run([need("mbsync"), "-c", str(config), "all"], capture_output=True, timeout=60,
                              env=plain_environ(HOME=str(tmp_path)), check=False)
        assert done.returncode == 0, done.stderr
        found = [file for part in ("cur", "new") for file in (tmp_path / "local/INBOX" / part).iterdir()]
        assert len(found) == 4
    bodies = sorted(body.split(b"\n\n", 1)[1] for body in
                    (file.read_bytes() for file in (server.maildir / "cur").iterdir()))
    assert sorted(file.read_bytes().split(b"\n\n", 1)[1] for file in found) == bodies


def test_neomutt(server: Server, tmp_path: Path) -> None:
    rc = tmp_path / "rc"
    rc.write_text(f"""set folder = "imaps://demo@localhost:{server.tls_port}/"
set imap_pass = demo
set spoolfile = "+INBOX"
set certificate_file = {server.certificate}
set ssl_usesystemcerts = no
set ssl_force_tls = yes
set delete = yes
set quit = yes
set confirmappend = no
set header_cache = ""
set sleep_time = 0
push "<first-entry><flag-message><next-entry><delete-message><sync-mailbox><quit>"
""")
    done = subprocess.run(["script", "-qec", f"{need('neomutt')} -n -F {rc}", "/dev/null"],
                          capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
                          env=plain_environ(HOME=str(tmp_path), TERM="xterm", LINES="24", COLUMNS="80"))
    flags = sorted(file.name.partition(":2,")[2] for file in (server.maildir / "cur").iterdir())
    assert len(flags) == 3, done.stdout[-2000:]
    assert any("F" in letters for letters in flags)
