"""Mail programs against the listener and through a pipe; what they did is looked up on both sides."""
from __future__ import annotations

import os
import pwd
import re
import time
from pathlib import Path

import pexpect
import pytest

from tests.clients.conftest import flags, offlineimap, run, subject
from tests.conftest import Server, account_ids, need, plain_environ
from tests.peers.account_servers import libraries, program

pytestmark = pytest.mark.clients
SUBJECTS = {"mail 1", "mail 2", "mail 3"}


def screen(words: list[str], home: Path, **environ: str) -> pexpect.spawn:
    """A program on a terminal of its own."""
    return pexpect.spawn(words[0], words[1:], dimensions=(40, 120), timeout=30, cwd=str(home),
                         env=plain_environ(HOME=str(home), TERM="xterm", **environ))


@pytest.mark.parametrize("way", ["imaps", "tunnel"])
def test_offlineimap(way: str, listener: Server, tunnel: str, maildir: Path, tmp_path: Path) -> None:
    remote = (f"remotehost = localhost\nremoteport = {listener.tls_port}\nssl = yes\n"
              f"sslcacertfile = {listener.certificate}\nremotepass = demo\n")
    far = listener.maildir
    if way == "tunnel":
        remote, far = f"preauthtunnel = {tunnel}\n", maildir
    local = tmp_path / "local"
    sync = offlineimap(tmp_path, local, remote)
    sync()
    near = local / "INBOX"
    assert set(flags(near)) == set(flags(far))
    # here a flag, a deletion and a message; there a flag, a message and a folder
    first, second = sorted((near / "new").iterdir())[:2]
    changed, deleted = subject(first), subject(second)
    first.rename(near / "cur" / (first.name.partition(":")[0] + ":2,FS"))
    second.unlink()
    (near / "new" / "1700009999.1_1.host").write_bytes(b"Subject: from here\nMessage-ID: <h@x>\n\nx\n")
    (far / "new" / "1700009998.M1P1.host").write_bytes(b"Subject: from there\n\nx\n")
    for part in ("", "cur", "new", "tmp"):
        (far / ".Gr\u00fc\u00dfe" / part).mkdir(mode=0o777)
        (far / ".Gr\u00fc\u00dfe" / part).chmod(0o777)
    sync()
    wanted = set(flags(near))
    assert wanted == set(flags(far))
    assert {"from here", "from there"} < wanted
    assert deleted not in wanted
    assert flags(far)[changed] == "FS"
    assert (local / "INBOX.Gr&APwA3w-e").is_dir()
    names = sorted(file.name for file in (far / "cur").iterdir())
    said = sync()
    assert "Copy message" not in said
    assert sorted(file.name for file in (far / "cur").iterdir()) == names


@pytest.mark.parametrize("program", ["mutt", "neomutt"])
def test_mutt_through_a_tunnel(program: str, tunnel: str, maildir: Path, tmp_path: Path) -> None:
    keys = ("<first-entry><flag-message><copy-message>=INBOX.kept<enter>"
            "<next-entry><delete-message><sync-mailbox><quit>")
    rc = tmp_path / "rc"
    rc.write_text(f"""set tunnel = "{tunnel}"
set folder = "imap://localhost/"
set spoolfile = "imap://localhost/INBOX"
set resolve = no
set delete = yes
set quit = yes
set confirmappend = no
set confirmcreate = no
set mark_old = no
set header_cache = ""
set sleep_time = 0
push "{keys}"
""")
    client = screen([need(program), "-n", "-F", str(rc)], tmp_path)
    client.expect(pexpect.EOF)
    found = flags(maildir)
    assert set(found) == {"mail 1", "mail 3"}
    assert "F" in found["mail 1"]
    assert list(flags(maildir / ".kept")) == ["mail 1"]


@pytest.mark.parametrize("way", ["qresync", "condstore"])
@pytest.mark.parametrize("program", ["mutt", "neomutt"])
def test_mutt_comes_back(program: str, way: str, tunnel: str, maildir: Path, tmp_path: Path) -> None:
    """Its cache of headers follows what changed while it was away: a flag, a deletion and a message."""
    def session(keys: str) -> None:
        rc = tmp_path / "rc"
        rc.write_text(f"""set tunnel = "{tunnel}"
set folder = "imap://localhost/"
set spoolfile = "imap://localhost/INBOX"
set header_cache = "{tmp_path}/headers"
set imap_{way} = yes
set sort = mailbox-order
set delete = yes
set quit = yes
set confirmappend = no
set confirmcreate = no
set mark_old = no
set sleep_time = 0
push "{keys}"
""")
        client = screen([need(program), "-n", "-F", str(rc)], tmp_path)
        client.expect(pexpect.EOF)

    session("<quit>")
    first, second, _ = sorted(file for part in ("cur", "new") for file in (maildir / part).iterdir())
    first.rename(maildir / "cur" / (first.name.partition(":")[0] + ":2,F"))
    second.unlink()
    (maildir / "new" / "1800000000.M1P1.host").write_bytes(b"Subject: mail 4\nMessage-ID: <4@x>\n\nx\n")
    before = set((maildir / "tmp" / "talk").iterdir())
    session("<limit>~F<enter><copy-message>=INBOX.flagged<enter><limit>all<enter><last-entry>"
            "<delete-message><sync-mailbox><quit>")
    talk, = set((maildir / "tmp" / "talk").iterdir()) - before
    said = talk.read_text()
    assert re.search(r"FETCH 1:\d+ \(.*FLAGS\) \(CHANGEDSINCE \d+", said)
    assert ("* VANISHED (EARLIER) 2" in said) is (way == "qresync")
    assert list(flags(maildir / ".flagged")) == ["mail 1"]
    assert flags(maildir).keys() == {"mail 1", "mail 3"}


def test_alpine_runs_rimapd(tunnel: str, maildir: Path, tmp_path: Path) -> None:
    """It says: ssh HOST -l USER exec /etc/rimapd."""
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >{tmp_path}/said\ncase "$*" in\n'
                   f'*"exec /etc/rimapd") exec {tunnel} ;;\n'
                   "esac\nexit 1\n")
    ssh.chmod(0o755)
    (tmp_path / "pinerc").write_text(f"ssh-path={ssh}\nssh-command=%s %s -l %s exec /etc/r%sd\n"
                                     "ssh-open-timeout=15\nuser-domain=example.org\n"
                                     "feature-list=enable-flag-cmd,expunge-without-confirm,quit-without-confirm\n"
                                     "last-version-used=7.00\n")
    client = screen([need("alpine"), "-p", str(tmp_path / "pinerc"), "-f",
                     "{localhost/user=demo}INBOX", "-I", "i,p,p,d,x"], tmp_path)
    client.expect("Expunge 1 message")
    client.send("y")
    client.expect("expunged")
    client.send("q")
    client.expect(pexpect.EOF)
    assert (tmp_path / "said").read_text().strip() == "localhost -l demo exec /etc/rimapd"
    assert set(flags(maildir)) == {"mail 2", "mail 3"}, client.before


def test_fetchmail(listener: Server, tmp_path: Path) -> None:
    box = tmp_path / "box"
    mda = tmp_path / "mda"
    mda.write_text(f"#!/bin/sh\nexec cat >>{box}\n")
    mda.chmod(0o755)
    rc = tmp_path / "fetchmailrc"
    rc.write_text(f"""poll localhost service {listener.tls_port} protocol IMAP auth password
    user "demo" password "demo" ssl sslcertck sslcertfile {listener.certificate} sslcommonname localhost
    mda "{mda}" no keep fetchall
""")
    rc.chmod(0o600)
    run([need("fetchmail"), "--nosyslog", "-f", str(rc), "--pidfile", str(tmp_path / "pid")], tmp_path,
        FETCHMAILHOME=str(tmp_path))
    text = box.read_text()
    assert [line for line in text.splitlines() if line.startswith("Message-ID:")] == [
        f"Message-ID: <demo{at}@example.org>" for at in range(4)]
    assert "the engine weaves algebraic patterns" in text
    assert flags(listener.maildir) == {}


def test_getmail(listener: Server, tmp_path: Path) -> None:
    box = listener.home / "box"                    # its owner's: nothing is delivered as root
    for part in ("", "cur", "new", "tmp"):
        (box / part).mkdir()
        os.chown(box / part, *account_ids())
    rc = tmp_path / "getmailrc"
    rc.write_text(f"""[retriever]
type = SimpleIMAPSSLRetriever
server = localhost
port = {listener.tls_port}
username = demo
password = demo
ca_certs = {listener.certificate}
mailboxes = ("INBOX",)
[destination]
type = Maildir
path = {box}/
user = {pwd.getpwuid(account_ids()[0]).pw_name}
[options]
read_all = false
delete = false
""")
    words = [need("getmail"), "--getmaildir", str(tmp_path), "--rcfile", str(rc)]
    run(words, tmp_path)
    assert set(flags(box)) == set(flags(listener.maildir))
    assert len(list((box / "new").iterdir())) == 4
    run(words, tmp_path)                           # by UID: nothing comes twice
    assert len(list((box / "new").iterdir())) == 4


def test_imapfilter(listener: Server, tmp_path: Path) -> None:
    config = tmp_path / "config.lua"
    config.write_text(f"""options.create = true
options.subscribe = true
box = IMAP {{ server = 'localhost', port = {listener.tls_port}, username = 'demo', password = 'demo',
    ssl = 'auto' }}
found = box.INBOX:contain_subject('engine') * box.INBOX:contain_from('ada')
found:mark_flagged()
found:move_messages(box['engine'])
box.INBOX:contain_body('Saturday'):delete_messages()
""")
    run([need("imapfilter"), "-t", str(listener.certificate), "-c", str(config)], tmp_path)
    assert flags(listener.maildir / ".engine") == {"Notes on the engine": "F"}
    assert len(flags(listener.maildir)) == 2
    assert (listener.maildir / "courierimapsubscribed").read_text() == "INBOX.engine\n"


def test_aerc(listener: Server, tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "aerc"
    folder.mkdir(parents=True)
    accounts = folder / "accounts.conf"
    accounts.write_text(f"[demo]\nsource = imaps://demo:demo@localhost:{listener.tls_port}\n"
                        "from = Demo <demo@example.org>\ndefault = INBOX\ncache-headers = false\n")
    accounts.chmod(0o600)
    (folder / "aerc.conf").write_text("[ui]\nsort = -r subject\n")
    client = screen([need("aerc")], tmp_path, SSL_CERT_FILE=str(listener.certificate),
                    XDG_CONFIG_HOME=str(tmp_path / ".config"))
    client.expect("Notes on the engine")
    client.expect("Library")
    client.send(":search engine\r")
    client.expect("Notes on the engine|2 results|engine")
    client.send(":clear\r:mark -a\r:read\r:unmark -a\r:select 0\r")
    client.send(":cp -p INBOX.kept\r")
    end = time.monotonic() + 60
    kept = listener.maildir / ".kept"
    while not ((kept / "cur").is_dir() and flags(kept)):
        assert time.monotonic() < end, "the copy does not come"
        client.expect([pexpect.TIMEOUT, "."], timeout=0.1)
    client.send(":quit\r")
    client.expect(pexpect.EOF)
    assert len(flags(listener.maildir / ".kept")) == 1
    assert set(flags(listener.maildir).values()) == {"S"}


def test_doveadm_reads(listener: Server) -> None:
    """As a client, which keeps an index of its own: by mod-sequences it learns what has changed."""
    home = listener.home / "doveadm"               # its owner's
    for path in (home, home / "cache", home / "run"):
        path.mkdir()
        os.chown(path, *account_ids())
    uid, gid = account_ids()
    config = home / "dovecot.conf"
    config.write_text(f"""base_dir = {home}/run
log_path = /dev/stderr
ssl = no
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
mail_home = {home}
mail_location = imapc:{home}/cache
imapc_host = 127.0.0.1
imapc_port = {listener.port}
imapc_user = demo
imapc_password = demo
imapc_features = rfc822.size fetch-headers fetch-bodystructure search modseq
namespace inbox {{
  inbox = yes
  separator = .
}}
""")

    doveadm, root = program("dovecot", "usr/bin/doveadm")
    environ = {**libraries(root), "USER": "demo"}

    def fetched(*query: str) -> dict[str, tuple[str, str]]:
        """UID -> flags and subject."""
        # doveadm by itself looks for doveconf where it would be installed
        words = [f"{root}/usr/bin/doveconf", "-c", str(config), "-m", "doveadm", "-e", str(doveadm)]
        lines = run([*words, "-f", "tab", "fetch", "uid flags hdr.subject", "mailbox", "INBOX", *query], home,
                    **environ).splitlines()
        return {uid: (" ".join(sorted(set(letters.split()) - {"\\Recent"})), subject)
                for uid, letters, subject in (line.split("\t") for line in lines[1:])}

    assert [subject for _, subject in fetched("ALL").values()][0] == "Notes on the engine"
    first, second, *_ = sorted((listener.maildir / "cur").iterdir())
    first.rename(first.with_name(first.name.partition(":")[0] + ":2,FS"))
    second.unlink()
    (listener.maildir / "new" / "1800000000.M1P1.host").write_bytes(b"Subject: late\n\nx\n")
    found = fetched("ALL")
    assert list(found) == ["1", "3", "4", "5"]
    assert found["1"] == ("\\Flagged \\Seen", "Notes on the engine")
    assert found["5"] == ("", "late")
    assert list(fetched("SUBJECT", "engine")) == ["1"]
    assert len(flags(listener.maildir)) == 4
