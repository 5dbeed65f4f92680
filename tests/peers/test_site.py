"""A whole site of Courier's: accounts in LDAP, quotas, mailboxes shared both ways, POP3, a proxy ahead of it.
Its files are made by Courier's tools, and served by Courier, by us, and by Courier again."""
from __future__ import annotations

import imaplib
import os
import poplib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import account_ids, free_port, listens, need, plain_environ, wait_for
from tests.peers.account_servers import Server, libraries, program
from tests.peers.test_account_servers import SSHA, certificate, directory, uri
from tests.programs.chain import DEADLINE, chain, eventually

pytestmark = pytest.mark.peers
__all__ = ["certificate", "directory"]

ETC = Path("/etc/courier")
USERS = ("ann", "bob")
BOXES = {"ann": ("INBOX", "INBOX.Team"),
         "bob": ("INBOX", "INBOX.Own", "#shared.ann.Team", "shared.team.Common")}
RC = """\
##NAME: MARKER:0

LDAP_URI {uri}
LDAP_PROTOCOL_VERSION 3
LDAP_BASEDN ou=site,o=x
LDAP_INITBIND 1
LDAP_BINDDN cn=mail,o=x
LDAP_BINDPW secret
LDAP_TIMEOUT 30
LDAP_MAIL mail
LDAP_HOMEDIR homeDirectory
LDAP_FULLNAME cn
LDAP_CRYPTPW userPassword
LDAP_UID uidNumber
LDAP_GID gidNumber
LDAP_MAILDIRQUOTA title
LDAP_AUXOPTIONS employeeType=mailhost
LDAP_DEREF never
LDAP_TLS 0
"""
# in a view of the disk of their own, where the site's files are in their places
COURIER = """\
mount --bind {site}/modules /usr/lib/courier-authlib
mount --bind {site}/etc /etc/courier
mount --bind {site}/run /run/courier/authdaemon
(set -a; . /etc/courier/authdaemonrc; export LD_LIBRARY_PATH={libraries}
 exec /usr/lib/courier/courier-authlib/authdaemond) &
cd /usr/lib/courier/courier
for each in "imapd imaplogin /usr/bin/imapd" "pop3d courierpop3login $PWD/courierpop3d"; do
    set -- $each
    (set -a; . /etc/courier/$1
     exec /usr/sbin/couriertcpd -address=$ADDRESS -nodnslookup -noidentlookup $PORT $PWD/$2 $3 Maildir) &
done
wait
"""


class Site:
    """``ports``: of IMAP and POP3, whoever listens there."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.ports = free_port(), free_port()
        self.log = folder / "log"
        self.number = 0
        self.ids = account_ids()
        for name in ("etc", "modules", "run"):
            (folder / name).mkdir()
        _, root = program("courier-ldap", "usr/lib/courier-authlib/libauthldap.so.0")
        for source in {Path("/usr/lib/courier-authlib"), root / "usr/lib/courier-authlib"}:
            shutil.copytree(source, folder / "modules", symlinks=True, dirs_exist_ok=True)
        self.libraries = ":".join(libraries(each).get("LD_LIBRARY_PATH", "") for each in (
            root, program("openldap", "usr/sbin/slapd")[1])).strip(":")
        self.settings(server)
        self.accounts(server)
        self.maildirs()

    def settings(self, server: Server) -> None:
        """The distribution's files, and what an administrator has written at their ends."""
        etc = self.folder / "etc"
        shutil.copytree(ETC, etc, dirs_exist_ok=True)
        shares = f"IMAP_SHAREDINDEXFILE={etc}/index\nIMAP_ACL=1\nIMAP_KEYWORDS=1\n"
        for name, port, more in (("imapd", self.ports[0], shares), ("pop3d", self.ports[1], "")):
            with (etc / name).open("a") as file:
                file.write(f"\nADDRESS=127.0.0.1\nPORT={port}\nIMAP_PROXY=0\nPOP3_PROXY=0\n{more}")
        (etc / "authdaemonrc").write_text(
            'authmodulelist="authldap"\nauthmodulelistorig="authldap"\ndaemons=2\nDEBUG_LOGIN=0\n'
            'authdaemonvar=/run/courier/authdaemon\nDEFAULTOPTIONS=""\nLOGGEROPTS=""\n')
        (etc / "authldaprc").write_text(RC.format(uri=uri(server)))
        (etc / "authldaprc").chmod(0o600)
        (etc / "index").write_text(f"ann\t{self.ids[0]}\t{self.ids[1]}\t{self.folder}/ann\tMaildir\n")
        for path in (etc, etc / "index"):
            path.chmod(0o755)

    def accounts(self, server: Server) -> None:
        import ldap3
        with ldap3.Connection(ldap3.Server(uri(server), get_info=ldap3.NONE), "cn=admin,o=x", "admin",
                              auto_bind=True) as connection:
            assert connection.add("ou=site,o=x", ["organizationalUnit"], {"ou": "site"}), connection.result
            for user in USERS:
                assert connection.add(f"uid={user},ou=site,o=x", ["inetOrgPerson", "posixAccount"], {
                    "uid": user, "cn": user, "sn": user, "mail": user, "userPassword": SSHA,
                    "uidNumber": self.ids[0], "gidNumber": self.ids[1],
                    "homeDirectory": f"{self.folder}/{user}", "employeeType": f"127.0.0.1:{self.ports[0]}",
                    **({"title": "200000S,60C"} if user == "bob" else {})}), connection.result

    def maildirs(self) -> None:
        """By Courier's tools."""
        make, rights = need("maildirmake.courier"), need("maildiracl")
        for user in (*USERS, "team"):
            (self.folder / user).mkdir()
        ann, bob, team = (f"{self.folder}/{user}/Maildir" for user in ("ann", "bob", "team"))
        for words in ([make, ann], [make, "-f", "Team", ann], [make, bob], [make, "-f", "Own", bob],
                      [make, "-q", "200000S,60C", bob], [make, "-S", team],
                      [make, "-s", "write", "-f", "Common", team], [make, "--add", f"team={team}", bob],
                      [rights, "-set", ann, "INBOX.Team", "user=bob", "lrswit"]):
            subprocess.run(words, check=True, capture_output=True, timeout=60)
        for at in range(4):
            for place in (ann, f"{ann}/.Team", bob, f"{team}/.Common"):
                self.deliver(place, b"From: x@x.org\nSubject: %d\n\nText %d\n" % (at, at))
        for path in (self.folder / user for user in (*USERS, "team")):
            for one in (path, *path.rglob("*")):
                os.chown(one, *self.ids, follow_symlinks=False)

    def deliver(self, maildir: str, text: bytes) -> None:
        subprocess.run([need("deliverquota.courier"), maildir], input=text, check=True, timeout=60)
        for path in Path(maildir).rglob("*"):
            if path.lstat().st_uid != self.ids[0]:
                os.chown(path, *self.ids, follow_symlinks=False)

    @contextmanager
    def served(self, *commands: list[str]) -> Iterator[None]:
        """By these, at both ports, until the end."""
        with self.log.open("ab") as log:
            started = [subprocess.Popen(words, stderr=log, stdout=log, cwd="/", start_new_session=True,
                                        env=plain_environ()) for words in commands]
        try:
            for port in self.ports:
                wait_for(port, started[-1], self.log)
            if len(started) == 1:      # Courier's daemon of passwords comes up by itself
                eventually(self.authdaemond_answers, "authdaemond does not listen")
            yield
        finally:
            for each in started:       # with the first process of Courier's all others end
                os.killpg(each.pid, signal.SIGKILL if len(started) == 1 else signal.SIGTERM)
                each.wait(DEADLINE)
            eventually(lambda: not any(map(listens, self.ports)), "somebody listens still")

    def authdaemond_answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(f"{self.folder}/run/socket") == 0

    def by_courier(self) -> list[list[str]]:
        (self.folder / "run/socket").unlink(missing_ok=True)
        script = self.folder / "courier.sh"
        script.write_text(COURIER.format(site=self.folder, libraries=self.libraries))
        return [[need("unshare"), "-m", "-p", "--fork", "--kill-child", "sh", "-e", str(script)]]

    def by_us(self) -> list[list[str]]:
        own = self.folder / "own"
        own.write_text(f"AUTHMODULES=authldap\nAUTHLDAPRC={self.folder}/etc/authldaprc\n")
        return [[sys.executable, "-m", "courierpy", "serve", *words, "-C", f"{self.folder}/etc/{name}",
                 "-C", str(own)] for name, words in (("imapd", ()), ("pop3d", ("--pop3",)))]

    # -- as its users see it

    def state(self, front: int) -> dict[str, list[object]]:
        found: dict[str, list[object]] = {}
        for user in USERS:
            client = imaplib.IMAP4("127.0.0.1", front, DEADLINE)
            client.login(user, "password")
            for word, lists in (("mailboxes", client.list), ("subscriptions", client.lsub)):
                lines = [line.decode() for pattern in ("*", '"#shared.*"')
                         for line in lists('""', pattern)[1] if isinstance(line, bytes)]
                found[f"{user}'s {word}"] = sorted(line.split('"."')[1].strip().strip('"') for line in lines
                                                   if "Noselect" not in line and "NonExistent" not in line)
            for name in BOXES[user]:
                assert client.select(f'"{name}"')[0] == "OK", name
                found[f"{user} {name}"] = self.messages(client)
                client.close()
                counts = client.status(f'"{name}"', "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)")[1][0].decode()
                found[f"{user} {name}'s counts"] = sorted(re.findall(r"[A-Z]+ \d+", counts))
            quota = client.getquotaroot("INBOX")[1][1]
            found[f"{user}'s quota"] = re.findall(rb"(\w+) (\d+) (\d+)", quota[0] or b"")
            if user == "ann":
                found["identifiers"] = sorted(shlex.split(client.getacl("INBOX.Team")[1][0].decode())[1::2])
            client.logout()
            pop = poplib.POP3("127.0.0.1", self.ports[1], timeout=DEADLINE)
            pop.user(user)
            pop.pass_("password")
            found[f"{user}'s UIDLs"] = pop.uidl()[1]
            found[f"{user}'s sizes"] = pop.list()[1]
            pop.quit()
        return found

    @staticmethod
    def messages(client: imaplib.IMAP4) -> list[tuple[str, str, list[str]]]:
        rows = [row.decode() for row in client.fetch("1:*", "(UID RFC822.SIZE FLAGS)")[1]
                if isinstance(row, bytes)]
        return [(re.search(r"UID (\d+)", row)[1], re.search(r"SIZE (\d+)", row)[1],       # type: ignore[index]
                 sorted(set(re.search(r"FLAGS \((.*?)\)", row)[1].split()) - {"\\Recent"}))   # type: ignore[index]
                for row in rows]

    def work(self, front: int) -> None:
        """A day of the users."""
        self.number += 1
        self.deliver(f"{self.folder}/bob/Maildir", b"Subject: new %d\n\nx\n" % self.number)
        ann, bob = (imaplib.IMAP4("127.0.0.1", front, DEADLINE) for _ in USERS)
        for client, user in ((ann, "ann"), (bob, "bob")):
            client.login(user, "password")
        for name in BOXES["bob"]:
            assert bob.subscribe(f'"{name}"')[0] == "OK"
            mail = b"Subject: by bob %d\r\n\r\ny\r\n" % self.number
            assert bob.append(f'"{name}"', "(\\Seen)", "", mail)[0] == "OK"
            bob.select(f'"{name}"')
            assert bob.store("1", "+FLAGS", f"(\\Flagged Key{self.number})")[0] == "OK"
        ann.select("INBOX.Team")
        assert ann.store("2", "+FLAGS", "(\\Deleted)")[0] == "OK"
        ann.expunge()
        assert ann.setacl("INBOX.Team", f"u{self.number}", "lr")[0] == "OK"
        for client in (ann, bob):
            client.logout()
        pop = poplib.POP3("127.0.0.1", self.ports[1], timeout=DEADLINE)
        pop.user("bob")
        pop.pass_("password")
        pop.dele(1)
        pop.quit()


@pytest.fixture
def site(directory: Server) -> Iterator[Site]:         # noqa: F811
    if os.getuid():
        pytest.skip("not root: Courier's chain becomes the user")
    if not (ETC / "imapd").exists() or not (ETC / "pop3d").exists():
        pytest.skip("Courier is not installed")
    if subprocess.run(["unshare", "-m", "-p", "--fork", "mount", "--bind", "/tmp", "/tmp"], check=False,
                      capture_output=True).returncode:
        pytest.skip("no view of the disk of one's own can be had here")
    folder = Path(tempfile.mkdtemp(prefix="courierpy-test-"))
    folder.chmod(0o755)
    yield Site(folder, directory)
    shutil.rmtree(folder)


def test_by_courier_by_us_and_by_courier_again(site: Site) -> None:
    rc = str(site.folder / "etc/authldaprc")
    with chain(AUTHMODULES="authldap", AUTHLDAPRC=rc, IMAP_PROXY="1", IMAP_LOGIN_DELAY="0") as front:
        kept: dict[str, list[object]] = {}
        for whose in (site.by_courier, site.by_us, site.by_courier):
            with site.served(*whose()):
                seen = site.state(front.port)
                if kept:
                    assert seen == kept
                for user in USERS:
                    assert set(BOXES[user]) <= set(seen[f"{user}'s mailboxes"])
                site.work(front.port)
                kept = site.state(front.port)
                assert kept != seen
        assert front.log.read_text().count(f"proxy=127.0.0.1:{site.ports[0]}") >= 12
    assert "Traceback" not in site.log.read_text()
