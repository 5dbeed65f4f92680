"""The real Postfix brings mail by LMTP over a unix socket, while clients read: nothing is lost or twice."""
from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import signal
import smtplib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import (
    REPO,
    account_ids,
    account_python,
    free_port,
    missing,
    plain_environ,
    wait_for,
)
from tests.lmtp.conftest import nursery, post  # noqa: F401
from tests.lmtp.talk import Post
from tests.lmtp.test_serve import served
from tests.realtime.windows import Window, over_program

pytestmark = pytest.mark.peers
USERS = 20
MESSAGES = 1000
SENT = "status=sent (250 2.1.5 Delivered)"
PREFIX = REPO / ".venv" / "clients" / "postfix"
OWNER, GROUP = "uucp", "games"         # stand for postfix and postdrop, which its package would make
DIRECTORIES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private",
               "maildrop", "public", "pid", "saved", "trace")
MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
error unix - - n - - error
retry unix - - n - - error
lmtp unix - - n - - lmtp
postlog unix-dgram n - n - 1 postlogd
"""


def program() -> Path:
    """Its master, in the package as it was unpacked."""
    for root in (PREFIX, Path("/")):
        found = root / "usr" / "lib" / "postfix" / "sbin" / "master"
        if found.exists():
            return found
    missing("Postfix is not there")


class Postfix:
    def __init__(self, folder: Path, port: int, root: str) -> None:
        self.folder = folder
        self.port = port
        self.log = folder / "log"
        self._root = root

    def postmap(self, key: str, at: str) -> str:
        """What a map says to a key; "" where it has none, "error" where nobody can tell."""
        environ = plain_environ(LD_LIBRARY_PATH=f"{self._root}/usr/lib/postfix",
                                MAIL_CONFIG=str(self.folder / "etc"))
        words = [f"{self._root}/usr/sbin/postmap", "-q", key, at]
        done = subprocess.run(words, capture_output=True, text=True,
                              check=False, timeout=60, env=environ)
        return "error" if "error" in done.stderr or done.returncode > 1 else done.stdout.rstrip("\n")


@contextmanager
def postfix(at: Path, **more: object) -> Iterator[Postfix]:
    """One whose domain is example.org; its local mail goes to the unix socket ``at``.  ``more``: of its
    settings."""
    if os.getuid():
        pytest.skip("Postfix is root's")
    master = program()
    folder = Path(tempfile.mkdtemp(prefix="courierpy-postfix-"))
    folder.chmod(0o755)
    owner = pwd.getpwnam(OWNER).pw_uid
    for name in ("etc", "data", "queue", *(f"queue/{name}" for name in DIRECTORIES)):
        (folder / name).mkdir()
        (folder / name).chmod(0o755)
        if name not in ("etc", "queue", "queue/pid"):
            os.chown(folder / name, owner, -1)
    port = free_port()
    root = str(master).removesuffix("/usr/lib/postfix/sbin/master")
    library = f"{root}/usr/lib/postfix"
    made = Postfix(folder, port, root)
    (folder / "etc" / "master.cf").write_text(MASTER.format(port=port))
    settings = {
        "compatibility_level": "3.6", "queue_directory": folder / "queue", "data_directory": folder / "data",
        "daemon_directory": f"{library}/sbin", "command_directory": f"{root}/usr/sbin",
        "shlib_directory": "no", "mail_owner": OWNER, "setgid_group": GROUP, "maillog_file": made.log,
        "maillog_file_prefixes": folder, "import_environment": f"LD_LIBRARY_PATH={library} MAIL_CONFIG TZ",
        "inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4", "myhostname": "mx.example.org",
        "mydestination": "example.org", "mynetworks": "127.0.0.0/8", "local_recipient_maps": "",
        "alias_maps": "", "local_transport": f"lmtp:unix:{at}", "local_destination_concurrency_limit": 8,
        "smtputf8_enable": "yes",
        "default_destination_recipient_limit": 50, "minimal_backoff_time": "1s", "maximal_backoff_time": "2s",
        "queue_run_delay": "1s", "smtpd_recipient_restrictions": "permit_mynetworks,reject",
        "in_flow_delay": 0, "smtpd_client_connection_count_limit": 0, **more}
    lines = [f"{name} = {value}\n" for name, value in settings.items()]
    (folder / "etc" / "main.cf").write_text("".join(lines))
    (folder / "etc" / "dynamicmaps.cf").touch()
    said = folder / "said"
    with said.open("wb") as output:
        process = subprocess.Popen([str(master), "-c", str(folder / "etc"), "-d"], stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=output, start_new_session=True, env=plain_environ(
                                       LD_LIBRARY_PATH=library, MAIL_CONFIG=str(folder / "etc")))
    try:
        wait_for(port, process, said)
        yield made
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        shutil.rmtree(folder)


def test_a_thousand_messages_to_twenty_users(post: Post) -> None:  # noqa: F811
    users = [f"user{number}" for number in range(USERS)]
    for user in users:
        post.account(user)
    group = grp.getgrgid(pwd.getpwnam(OWNER).pw_gid).gr_name
    sent: dict[str, set[str]] = {user: set() for user in users}
    with served(post, IMAP_FSYNC="never", LMTP_GROUP=group) as lmtp, postfix(lmtp.path) as mta:
        reading = readers(post, users[:4])
        with smtplib.SMTP("127.0.0.1", mta.port) as client:
            for number in range(MESSAGES):
                user, word = users[number % USERS], f"m{number}"
                text = (f"Subject: {word}\r\nMessage-ID: <{word}@example.com>\r\n\r\n.{word}.\r\n"
                        f"{'x' * (number % 900)}\r\n")
                client.sendmail("sender@example.com", [f"{user}@example.org"], text)
                sent[user].add(word)
                if number % 50 == 0:
                    for each in reading:
                        each.look()
        end = time.monotonic() + 100
        while mta.log.read_text().count(SENT) < MESSAGES:
            assert time.monotonic() < end, mta.log.read_text()[-3000:]
            time.sleep(0.1)
        for each in reading:
            each.look()
            assert sorted(each.seen) == sorted(sent[each.user])
            each.window.close()
        log = mta.log.read_text()
        assert log.count(SENT) == MESSAGES and "status=bounced" not in log, log[-3000:]
        for user in users:
            assert sorted(subjects(post, user)) == sorted(sent[user])
            assert post.left(user) == [] or user in users[:4]
        trouble(post, mta)


def trouble(office: Post, mta: Postfix) -> None:
    """What is in doubt waits in the queue and comes then; who is unknown is told to the sender; a subject
    that needs SMTPUTF8 comes."""
    new = office.folder / "ann" / "Maildir" / "new"
    new.rename(new.parent / "away")
    new.write_text("no directory")
    with smtplib.SMTP("127.0.0.1", mta.port) as client:
        client.sendmail("", ["ann@example.org", "bob@example.org", "nobody@example.org"],
                        "Subject: 🙂\r\nMessage-ID: <u@x>\r\n\r\n".encode(), ["SMTPUTF8", "BODY=8BITMIME"])
    until(mta, r"to=<ann@example\.org>.*status=deferred \(.*451 4\.2\.1")
    until(mta, r"to=<nobody@example\.org>.*status=bounced \(.*550 5\.1\.1")
    until(mta, r"to=<bob@example\.org>.*status=sent")
    new.unlink()
    (new.parent / "away").rename(new)
    until(mta, r"to=<ann@example\.org>.*status=sent")
    assert [len(office.mail(user)) for user in ("ann", "bob")] == [1, 1]
    assert "Subject: 🙂\n".encode() in office.mail("ann")[0]


def until(mta: Postfix, pattern: str) -> None:
    end = time.monotonic() + 60
    while not re.search(pattern, mta.log.read_text()):
        assert time.monotonic() < end, mta.log.read_text()[-3000:]
        time.sleep(0.1)


def test_who_gets_no_mail_is_refused_in_the_dialogue(post: Post) -> None:  # noqa: F811
    """By socketmap and policy: an unknown user and a full one; in doubt the mail is not refused for good."""
    full = post.account("full", f"uid={account_ids()[0]}|gid={account_ids()[1]}|home={post.folder / 'full'}|"
                                "quota=1000S")
    (full / "new" / "1.x.y,S=900").write_bytes(b"x" * 900)
    group = grp.getgrgid(pwd.getpwnam(OWNER).pw_gid).gr_name
    at = post.folder / "smmap"
    table = f"socketmap:unix:{at}:exists"
    policy = f"check_policy_service {{ unix:{at}, default_action=DUNNO, timeout=10s }}, permit"
    with served(post, LMTP_GROUP=group, SMMAP_SOCKET=str(at)) as lmtp, \
            postfix(lmtp.path, local_recipient_maps=table, smtpd_recipient_restrictions=policy) as mta:
        with smtplib.SMTP("127.0.0.1", mta.port) as client:
            client.ehlo()
            client.mail("sender@example.com", ["SIZE=500"])
            found = {user: client.rcpt(f"{user}@example.org") for user in
                     ("ann", "Ann+lists", '"bob"', "nobody", "full")}
            assert [code for code, _ in found.values()] == [250, 250, 250, 550, 452]
            assert b"User unknown" in found["nobody"][1] and b"4.2.2" in found["full"][1]
            assert client.data(b"Subject: all\r\n\r\n")[0] == 250
            for _ in range(2):                     # over connections that are there
                client.mail("", ["SIZE=50"])
                assert client.rcpt("full@example.org")[0] == 250
                client.rset()
        until(mta, r"to=<bob@example\.org>.*status=sent")
        assert [len(post.mail(user)) for user in ("ann", "bob", "full")] == [2, 1, 1]
        assert {key: mta.postmap(key, table) for key in ("ann", "ann@example.org", "nobody", "@example.org",
                                                         "ann+x@example.org", "a b")} == {
            "ann": "ann", "ann@example.org": "ann@example.org", "nobody": "", "@example.org": "",
            "ann+x@example.org": "ann+x@example.org", "a b": ""}
        assert mta.postmap("full", f"socketmap:unix:{at}:virtual") == "full"
        (full / "new" / "2.x.y,S=900").write_bytes(b"x" * 900)
        (full / "maildirsize").unlink()
        assert mta.postmap("full", f"socketmap:unix:{at}:virtual") == "error"
        # nobody can tell, and at last nobody is there
        post.userdb.chmod(0o644)
        until_deferred(mta, "carol")
        lmtp.process.terminate()
        lmtp.process.wait(60)
        until_deferred(mta, "ann")
        assert "status=bounced" not in mta.log.read_text()


def until_deferred(mta: Postfix, user: str) -> None:
    """What is known of a recipient is believed for some seconds."""
    end = time.monotonic() + 60
    while True:
        with smtplib.SMTP("127.0.0.1", mta.port) as client:
            client.ehlo()
            client.mail("sender@example.com")
            found = client.rcpt(f"{user}@example.org")
        if found[0] in (450, 451):
            return
        assert time.monotonic() < end, found
        time.sleep(0.2)


def subjects(office: Post, user: str) -> list[str]:
    """Of all messages, each of which is whole."""
    found = []
    for part in ("new", "cur"):
        for path in (office.folder / user / "Maildir" / part).iterdir():
            if path.name.startswith("."):
                continue
            text = path.read_text()
            word = re.search(r"^Subject: (\w+)$", text, re.M)
            assert word is not None, text
            assert text.endswith(f"\n\n.{word[1]}.\n{'x' * (int(word[1][1:]) % 900)}\n"), text[-200:]
            found.append(word[1])
    return found


class Reader:
    """A session that sees what comes: each message once."""

    def __init__(self, user: str, window: Window) -> None:
        self.user = user
        self.window = window
        self.seen: list[str] = []
        self.next = 1
        self._do("SELECT INBOX")

    def _do(self, command: str) -> list[bytes]:
        self.window.send(f"r {command}")
        lines = [self.window.response()]
        while not lines[-1].startswith(b"r "):
            lines.append(self.window.response())
        assert lines[-1].startswith(b"r OK"), lines[-1]
        return lines

    def look(self) -> None:
        self._do("NOOP")
        for line in self._do(f"UID FETCH {self.next}:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])"):
            found = re.search(rb"UID (\d+) .*Subject: (\w+)", line, re.S)
            if found is not None and int(found[1]) >= self.next:
                self.next = int(found[1]) + 1
                self.seen.append(found[2].decode())


def readers(office: Post, users: list[str]) -> list[Reader]:
    python, library = account_python(office.folder)
    uid, gid = account_ids()
    words = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", python, "-m", "courierpy.imapd"]
    return [Reader(user, over_program([*words, str(office.folder / user / "Maildir")], PYTHONPATH=library))
            for user in users]
