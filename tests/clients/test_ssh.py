"""docs/over-ssh.md as it stands there, with the real sshd: it listens on loopback, in a mount namespace where
the user and sshd's own account are."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.clients.conftest import flags, offlineimap, run
from tests.clients.test_programs import screen
from tests.conftest import (
    REPO,
    account_ids,
    account_python,
    fill,
    free_port,
    missing,
    need,
    plain_environ,
    wait_for,
)

pytestmark = [pytest.mark.clients,
              pytest.mark.skipif(os.getuid() != 0, reason="a user and a namespace for sshd take root")]
PAGE = (REPO / "docs" / "over-ssh.md").read_text()
TALK = b"a SELECT INBOX\r\nb LOGOUT\r\n"
SERVE = """set -e
mount --make-rprivate /
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/shadow" /etc/shadow
mount -t tmpfs none /run
mkdir /run/sshd
exec "$2" -D -e -f "$1/sshd_config"
"""


def block(heading: str) -> str:
    """The first block below a heading of the page."""
    return PAGE.partition(f"\n## {heading}\n")[2].split("```")[1].lstrip("\n")


def program() -> tuple[str, str]:
    """(sshd as it was unpacked, else as it is installed; the folder of its libraries)."""
    unpacked = REPO / ".venv" / "clients" / "openssh"
    for root in (unpacked, Path("/")):
        if (root / "usr/sbin/sshd").exists():
            return str(root / "usr/sbin/sshd"), ":".join(map(str, root.glob("usr/lib/*-linux-*")))
    missing("sshd is not there")


class Host:
    """``home``: of the user ann there, with a Maildir of three messages.  ``path``: where the clients find
    an ssh that knows it by the name ``host``, by ``laptop`` with the key that can do nothing else."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "ann"
        self.maildir = self.home / "Maildir"
        self.path = f"{folder}/bin:{os.environ['PATH']}"

    def ssh(self, *words: str) -> str:
        """What ``ssh`` with these words gives to a session that opens INBOX and ends."""
        done = subprocess.run(["ssh", "-q", *words], input=TALK, capture_output=True, check=False, timeout=60,
                              env=plain_environ(PATH=self.path))
        assert done.returncode == 0, done
        return done.stdout.decode()


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    sshd, libraries = program()
    need("ssh")
    folder = Path(tempfile.mkdtemp(prefix="courierpy-ssh-"))
    folder.chmod(0o755)
    found = Host(folder)
    uid, gid = account_ids()
    python, path = account_python(folder)
    ours = found.home / ".local" / "bin"
    ours.mkdir(parents=True)
    (ours / "imapd").write_text(f'#!/bin/sh\nPYTHONPATH="{path}" exec "{python}" -m courierpy.imapd "$@"\n')
    (ours / "imapd").chmod(0o755)
    fill(found.maildir, 3)
    fill(found.maildir / ".Work.deep", 1)
    for key in ("host_key", "key", "narrow"):
        subprocess.run([need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)],
                       check=True, timeout=60)
    narrow = re.sub(r"ssh-ed25519 AAAA\.\.\.", " ".join((folder / "narrow.pub").read_text().split()[:2]),
                    block("A key that can do nothing else"))
    (found.home / ".ssh").mkdir(0o700)
    (found.home / ".ssh" / "authorized_keys").write_text((folder / "key.pub").read_text() + narrow)
    for place in (found.home, *found.home.rglob("*")):
        os.chown(place, uid, gid)
    port = free_port()
    (folder / "passwd").write_text(Path("/etc/passwd").read_text().rstrip("\n") + (
        f"\nsshd:x:{uid}:{gid}::/run/sshd:/usr/sbin/nologin\nann:x:{uid}:{gid}::{found.home}:/bin/sh\n"))
    (folder / "shadow").write_text("ann:*:19000:0:99999:7:::\n")
    subsystem = block("As a subsystem of sshd").replace("/usr/bin/imapd", str(ours / "imapd"))
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host_key\nPidFile none\nUsePAM no\n"
        f"PasswordAuthentication no\nSetEnv PATH={ours}:/usr/bin:/bin\n{subsystem}")
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    (folder / "config").write_text("".join(
        f"Host {name}\nHostName 127.0.0.1\nPort {port}\nUser ann\nIdentityFile {folder}/{key}\n"
        f"IdentitiesOnly yes\nUserKnownHostsFile {folder}/known\n"
        for name, key in (("host", "key"), ("laptop", "narrow"))))
    (folder / "bin").mkdir()
    (folder / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {need("ssh")} -F {folder}/config "$@"\n')
    (folder / "bin" / "ssh").chmod(0o755)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([need("unshare"), "-m", "sh", "-c", SERVE, "sh", str(folder), sshd],
                                   stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                   env=plain_environ(LD_LIBRARY_PATH=libraries))
    try:
        wait_for(port, process, log)
        yield found
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder)


def test_the_server_greets_preauth(host: Host) -> None:
    for words in (["host", "imapd", "./Maildir"], ["host", ".local/bin/imapd", "./Maildir"]):
        answer = host.ssh(*words)
        assert answer.startswith("* PREAUTH ") and "* 3 EXISTS" in answer
    [which] = re.findall(r"`ssh (host imapd --version)`", PAGE)
    assert "courierpy" in host.ssh(*which.split())


def test_a_key_that_can_do_nothing_else(host: Host) -> None:
    answer = host.ssh("laptop", "touch", "made")
    assert answer.startswith("* PREAUTH ") and "* 3 EXISTS" in answer
    assert not (host.home / "made").exists()


def test_a_subsystem(host: Host) -> None:
    [words] = re.findall(r'`Tunnel "ssh -q (-s [^"]*)"`', PAGE)
    answer = host.ssh(*words.split())
    assert answer.startswith("* PREAUTH ") and "* 3 EXISTS" in answer


def test_mbsync(host: Host, tmp_path: Path) -> None:
    [make] = re.findall(r"`(mkdir [^`]*)`", PAGE)
    run(["sh", "-c", make], tmp_path)
    (tmp_path / ".mbsyncrc").write_text(block("mbsync"))
    run([need("mbsync"), "-a"], tmp_path, PATH=host.path)
    assert set(flags(tmp_path / "mail/work/INBOX")) == {"mail 1", "mail 2", "mail 3"}
    assert set(flags(tmp_path / "mail/work/Work/deep")) == {"mail 1"}


@pytest.mark.parametrize("program", ["mutt", "neomutt"])
def test_mutt(program: str, host: Host, tmp_path: Path) -> None:
    (tmp_path / "rc").write_text(block("mutt, neomutt") + 'set quit=yes\nset sleep_time=0\n')
    client = screen(["env", f"PATH={host.path}", need(program), "-n", "-F", str(tmp_path / "rc")], tmp_path)
    client.expect("mail 3")
    client.send("q")
    client.expect(pexpect.EOF)


def test_offlineimap(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [tunnel] = re.findall(r"^preauthtunnel = .*\n", block("OfflineIMAP"), re.M)
    monkeypatch.setenv("PATH", host.path)
    offlineimap(tmp_path, tmp_path / "Mail", tunnel)()
    assert set(flags(tmp_path / "Mail" / "INBOX")) == {"mail 1", "mail 2", "mail 3"}
