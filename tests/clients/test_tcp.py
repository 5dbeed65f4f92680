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


MBSYNC = {"plain": "SSLType None\nAuthMechs LOGIN", "starttls": "SSLType STARTTLS", "imaps": "SSLType IMAPS"}


@pytest.mark.parametrize("way", ["plain", "starttls", "imaps"])
def test_mbsync(server: Server, way: str, tmp_path: Path) -> None:
    config = mbsync_config(server, way, tmp_path)
    for _ in range(2):
        mbsync(config)
        found = [file for part in ("cur", "new") for file in (tmp_path / "local/INBOX" / part).iterdir()]
        assert len(found) == 4
    bodies = sorted(body.split(b"\n\n", 1)[1] for body in
                    (file.read_bytes() for file in (server.maildir / "cur").iterdir()))
    assert sorted(file.read_bytes().split(b"\n\n", 1)[1] for file in found) == bodies


def mbsync(config: Path) -> None:
    done = subprocess.run([need("mbsync"), "-c", str(config), "all"], capture_output=True, timeout=60,
                          env=plain_environ(HOME=str(config.parent)), check=False)
    assert done.returncode == 0, done.stderr


def mbsync_config(server: Server, way: str, folder: Path) -> Path:
    (folder / "local").mkdir()
    config = folder / "mbsyncrc"
    config.write_text(f"""IMAPAccount far
Host localhost
Port {server.tls_port if way == "imaps" else server.port}
User demo
Pass demo
{MBSYNC[way]}
CertificateFile {server.certificate}

IMAPStore far
Account far

MaildirStore near
Path {folder}/local/
Inbox {folder}/local/INBOX

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Sync All
SyncState *
""")
    return config


def test_mbsync_pushes_500_messages(listener: Server, tmp_path: Path) -> None:
    """All come, and each once."""
    config = mbsync_config(listener, "plain", tmp_path)
    new = tmp_path / "local" / "INBOX" / "new"
    for part in ("cur", "new", "tmp"):
        (tmp_path / "local" / "INBOX" / part).mkdir(parents=True)
    for number in range(500):
        (new / f"{1700000000 + number}.1_{number}.host").write_bytes(
            b"Subject: number %d\nMessage-ID: <n%d@x>\n\nbody %d\n" % (number, number, number))
    mbsync(config)
    mbsync(config)
    texts = [file.read_bytes() for part in ("cur", "new") for file in (listener.maildir / part).iterdir()]
    for number in range(500):
        assert sum(b"Subject: number %d\n" % number in text for text in texts) == 1
    assert len(texts) == 504


@pytest.mark.parametrize("way", ["plain", "starttls", "imaps"])
def test_neomutt(server: Server, way: str, tmp_path: Path) -> None:
    rc = tmp_path / "rc"
    url = (f"imaps://demo@localhost:{server.tls_port}/" if way == "imaps"
           else f"imap://demo@localhost:{server.port}/")
    rc.write_text(f"""set folder = "{url}"
set imap_pass = demo
set spoolfile = "+INBOX"
set certificate_file = {server.certificate}
set ssl_usesystemcerts = no
set ssl_force_tls = {"no" if way == "plain" else "yes"}
set ssl_starttls = {"yes" if way == "starttls" else "no"}
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
