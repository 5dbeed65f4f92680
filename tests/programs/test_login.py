"""imaplogin alone: before the login, each mechanism, and what the next program gets."""
from __future__ import annotations

import hashlib
import hmac
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import account_ids, plain_environ, until
from tests.programs.chain import eventually

TEMPORARY = b"* BYE [UNAVAILABLE] Temporary problem, please try again later\r\n"
PROGRAM = """#!/bin/sh
echo "argv=$*"
echo "cwd=$(pwd)"
echo "uid=$(id -u) groups=$(id -G)"
env
read line && echo "line=$line"
"""


class Login:
    """A started imaplogin; ``say`` sends a line and gives the answer up to ``end``."""

    def __init__(self, process: subprocess.Popen[bytes], client: socket.socket) -> None:
        self.process = process
        self.client = client
        self.greeting = until(client, b"\r\n")

    def say(self, line: bytes, end: bytes = b"\r\n") -> bytes:
        self.client.sendall(line + b"\r\n")
        return until(self.client, end)

    def answer(self, data: bytes) -> bytes:
        return self.say(b64encode(data))

    def variables(self) -> dict[str, str]:
        """What the program said; the client's side is closed."""
        self.client.shutdown(socket.SHUT_WR)
        return dict(line.partition("=")[::2] for line in until(self.client, b"never").decode().splitlines())

    def log(self) -> str:
        self.client.close()
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()


Start = Callable[..., Login]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A home that the account may enter, with userdb and the program."""
    path = Path(tempfile.mkdtemp(prefix="courierpy-test-"))
    path.chmod(0o755)
    uid, gid = account_ids()
    (path / "home").mkdir()
    os.chown(path / "home", uid, gid)
    (path / "program").write_text(PROGRAM)
    (path / "program").chmod(0o755)
    (path / "userdb").write_text("".join(
        f"{name}\tuid={uid}|gid={gid}|home={path}/{home}|clearpw=secret|options=group=x|mail={mail}\n"
        for name, home, mail in (("demo", "home", "./Mail"), ("new", "fresh", ""),
                                 ("a@example.com", "home", ""))))
    (path / "userdb").chmod(0o600)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    running: list[subprocess.Popen[bytes]] = []

    def run(modules: str = "authuserdb", before: str = "stage.FAILURE_DELAY = 0", program: str = "",
            **environ: str) -> Login:
        ours, theirs = socket.socketpair()
        ours.settimeout(20)
        code = "from courierpy import imaplogin; from courierpy.login import stage; " \
               f"{before}; imaplogin.run()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *modules.split(), program or str(folder / "program"), "Maildir"],
            stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, cwd="/",
            env=plain_environ(USERDB=str(folder / "userdb"), **environ))
        theirs.close()
        running.append(process)
        return Login(process, ours)

    yield run
    for process in running:
        process.kill()
        process.communicate()


def test_what_the_program_gets(start: Start, folder: Path) -> None:
    login = start(TCPREMOTEIP="::1", TCPREMOTEPORT="7")
    login.client.sendall(b"tag LOGIN demo secret\r\nbehind\r\n")
    found = login.variables()
    assert found["argv"] == "./Mail"
    assert found["cwd"] == str(folder / "home")
    assert found["uid"].split()[0] == str(account_ids()[0])
    assert found["line"].strip() == "behind"
    assert {name: found[name] for name in ("AUTHENTICATED", "OPTIONS", "IMAPLOGINTAG", "MAILDIR", "PROTOCOL",
                                           "TCPREMOTEIP", "TCPREMOTEPORT", "TCPLOCALPORT", "HOME")} == {
        "AUTHENTICATED": "demo", "OPTIONS": "group=x", "IMAPLOGINTAG": "tag", "MAILDIR": "./Mail",
        "PROTOCOL": "IMAP", "TCPREMOTEIP": "::1", "TCPREMOTEPORT": "7", "TCPLOCALPORT": "143",
        "HOME": str(folder / "home")}


def test_default_domain_and_maildir(start: Start) -> None:
    login = start(DEFDOMAIN="@example.com")
    login.client.sendall(b"t LOGIN a {6}\r\n")
    assert until(login.client, b"\r\n") == b"+ OK\r\n"
    login.client.sendall(b"secret\r\n")
    found = login.variables()
    assert (found["AUTHENTICATED"], found["argv"]) == ("a@example.com", "Maildir")


def test_home_from_a_skeleton(start: Start, folder: Path) -> None:
    skeleton = folder / "skeleton"
    (skeleton / "Maildir" / "cur").mkdir(parents=True)
    (skeleton / "note").write_text("hello")
    (skeleton / "note").chmod(0o640)
    (skeleton / "link").symlink_to("note")
    login = start(AUTH_MKHOMEDIR_SKEL=str(skeleton))
    login.client.sendall(b"t LOGIN new secret\r\n")
    assert login.variables()["cwd"] == str(folder / "fresh")
    note = folder / "fresh" / "note"
    assert note.read_text() == "hello"
    assert (note.stat().st_mode & 0o777, note.stat().st_uid) == (0o640, account_ids()[0])
    assert (folder / "fresh" / "link").is_symlink()
    assert (folder / "fresh" / "Maildir" / "cur").stat().st_uid == account_ids()[0]


def test_home_that_is_not_there(start: Start) -> None:
    login = start()
    assert login.say(b"t LOGIN new secret") == b"t NO [AUTHENTICATIONFAILED] Login failed.\r\n"
    assert "chdir(" in login.log()


REFUSED = b"a NO [AUTHENTICATIONFAILED] Login failed.\r\n"


@pytest.fixture
def broken(folder: Path) -> Path:
    """The folder, with accounts that cannot be served; each has the password "secret"."""
    uid, gid = account_ids()
    row = f"uid={uid}|gid={gid}|home={folder}/home"
    (folder / "file").write_text("")
    with (folder / "userdb").open("a") as file:
        for name, fields in {
                "root": f"uid=0|gid=0|home={folder}/home",
                "other": f"uid={uid + 1}|gid={gid}|home={folder}/home",
                "nohome": f"uid={uid}|gid={gid}|home={folder}/nothing",
                "filehome": f"uid={uid}|gid={gid}|home={folder}/file",
                "closed": f"uid={uid}|gid={gid}|home={folder}/closed",
                "nouid": f"gid={gid}|home={folder}/home",
                "nohomefield": f"uid={uid}|gid={gid}",
                "oddgid": f"uid={uid}|gid=x|home=/",
                "huge": f"uid={2 ** 70}|gid={gid}|home=/",
                "minus": f"uid=-1|gid={gid}|home=/",
                "nomaildir": row + "|mail=./None",
                "fileasmaildir": f"{row}|mail={folder}/file",
                "foreignmaildir": f"{row}|mail={folder}/foreign"}.items():
            file.write(f"{name}\t{fields}|clearpw=secret\n")
    for name in ("closed", "foreign"):
        (folder / name).mkdir()
    (folder / "closed").chmod(0)
    if os.getuid() == 0:
        os.chown(folder / "foreign", uid + 1, gid)
    return folder


# each with the reason as the log has it
UNSERVABLE = {"root": "root", "other": "Permission denied", "nohome": "No such file",
              "filehome": "Not a directory", "closed": "Permission denied", "nouid": "uid, gid or home",
              "nohomefield": "uid, gid or home", "oddgid": "uid, gid or home",
              "huge": "uid, gid or home", "minus": "uid, gid or home",
              "nomaildir": "No such file", "fileasmaildir": "Not a directory", "foreignmaildir": "belongs to"}


@pytest.mark.parametrize("user", UNSERVABLE)
def test_an_account_that_cannot_be_served_is_refused_as_a_wrong_password_is(
        broken: Path, start: Start, user: str) -> None:
    if os.getuid() and user in ("other", "foreignmaildir"):
        pytest.skip("needs root")
    if not os.getuid() and user == "other":
        (broken / "home").chmod(0o700)             # root may become anybody: it is the home that is not his
    # the clock stands, so that nobody's load is taken off the delay
    slept = "from courierpy.auth import gate as g; from courierpy.login import alone as a, stage as s; " \
            "now = g.time.monotonic(); " \
            "a.time = g.time = s.time = type('T', (), {'monotonic': staticmethod(lambda: now), " \
            "'sleep': staticmethod(lambda seconds: imaplogin.os.write(2, b'slept %g\\n' % seconds))})"
    login = start(before=slept, program="imapd")
    for line in (b"LOGIN %s secret", b"LOGIN %s wrong"):
        assert login.say(b"a " + line % user.encode()) == REFUSED
    for password in (b"secret", b"wrong"):
        answer = login.say(b"a AUTHENTICATE PLAIN " + b64encode(b"\0" + user.encode() + b"\0" + password))
        assert answer == REFUSED
    log = login.log()
    assert log.count("slept 5\n") == 4
    assert log.count(f"INFO: LOGIN FAILED, user={user}, ") == 4
    said = [line for line in log.splitlines() if "cannot be served" in line]
    assert len(said) == 2
    for line in said:
        assert UNSERVABLE[user] in line
        assert f"user={user}, " in line
        assert "ip=[127.0.0.1], port=[N/A]" in line


def accepted(login: Login) -> bool:
    return login.variables()["AUTHENTICATED"] == "demo"


def test_plain(start: Start) -> None:
    login = start()
    assert login.say(b"a AUTHENTICATE PLAIN") == b"+ \r\n"
    assert login.answer(b"other\0demo\0secret") == b"a NO [AUTHENTICATIONFAILED] Login failed.\r\n"
    assert login.say(b"b AUTHENTICATE PLAIN") == b"+ \r\n"
    login.client.sendall(b64encode(b"demo\0demo\0secret") + b"\r\n")
    assert accepted(login)


def test_login(start: Start) -> None:
    login = start()
    assert login.say(b"a AUTHENTICATE LOGIN") == b"+ VXNlcm5hbWU6\r\n"
    assert login.answer(b"demo") == b"+ UGFzc3dvcmQ6\r\n"
    login.client.sendall(b64encode(b"secret") + b"\r\n")
    assert accepted(login)


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256"])
def test_cram(start: Start, kind: str) -> None:
    login = start()
    for secret, good in ((b"wrong", False), (b"secret", True)):
        challenge = b64decode(login.say(b"a AUTHENTICATE CRAM-%s" % kind.upper().encode())[2:])
        digest = hmac.new(secret, challenge, kind).hexdigest().encode()
        login.client.sendall(b64encode(b"demo " + digest) + b"\r\n")
        if not good:
            assert until(login.client, b"\r\n") == b"a NO [AUTHENTICATIONFAILED] Login failed.\r\n"
    assert accepted(login)


def scram(login: Login, user: bytes, password: bytes) -> bytes:
    """RFC 5802 section 3, the client's side; the answer to the proof."""
    first = b"n=" + user + b",r=clientnonce"
    server_first = b64decode(login.say(b"a AUTHENTICATE SCRAM-SHA-256 " + b64encode(b"n,," + first))[2:])
    fields = dict(part.split(b"=", 1) for part in server_first.split(b","))
    assert fields[b"r"].startswith(b"clientnonce")
    salted = hashlib.pbkdf2_hmac("sha256", password, b64decode(fields[b"s"]), int(fields[b"i"]))
    key = hmac.new(salted, b"Client Key", "sha256").digest()
    final = b"c=biws,r=" + fields[b"r"]
    message = b",".join((first, server_first, final))
    signature = hmac.new(hashlib.sha256(key).digest(), message, "sha256").digest()
    proof = bytes(one ^ two for one, two in zip(key, signature, strict=True))
    answer = login.answer(final + b",p=" + b64encode(proof))
    if answer.startswith(b"+ "):
        server = hmac.new(hmac.new(salted, b"Server Key", "sha256").digest(), message, "sha256").digest()
        assert b64decode(answer[2:]) == b"v=" + b64encode(server)
    return answer


def test_scram(start: Start) -> None:
    login = start()
    for user, password in ((b"demo", b"wrong"), (b"who", b"secret")):
        assert scram(login, user, password) == b"a NO [AUTHENTICATIONFAILED] Login failed.\r\n"
    assert scram(login, b"demo", b"secret").startswith(b"+ ")
    login.client.sendall(b"\r\n")
    assert accepted(login)


def test_external(start: Start, tmp_path: Path) -> None:
    tls = {"IMAP_TLS": "1", "TLS_EXTERNAL": "CN", "TLS_SUBJECT_CN": "demo"}
    login = start(**tls)
    assert b" AUTH=EXTERNAL" in login.greeting
    assert login.say(b"a AUTHENTICATE EXTERNAL " + b64encode(b"other")).startswith(b"a NO")
    login.client.sendall(b"b AUTHENTICATE EXTERNAL =\r\n")
    assert accepted(login)
    names = tmp_path / "map"
    names.write_text("demo@EXAMPLE.ORG demo\n")
    names.chmod(0o600)
    login = start(**{**tls, "TLS_SUBJECT_CN": "demo@EXAMPLE.ORG", "EXTERNAL_MAP": str(names)})
    login.client.sendall(b"b AUTHENTICATE EXTERNAL =\r\n")
    assert accepted(login)
    login = start()
    assert b"EXTERNAL" not in login.greeting
    assert login.say(b"a AUTHENTICATE EXTERNAL =").startswith(b"a NO [CANNOT]")


def test_refusals(start: Start) -> None:
    login = start()
    failed = b"a NO [AUTHENTICATIONFAILED] Login failed.\r\n"
    assert login.say(b"a LOGIN demo wrong") == failed
    assert login.say(b"a LOGIN who secret") == failed
    assert login.say(b'a LOGIN demo ""') == failed
    assert login.say(b"a AUTHENTICATE PLAIN " + b64encode(b"\0demo\0wrong")) == failed
    login.say(b"a AUTHENTICATE PLAIN")
    assert login.say(b"*").startswith(b"a BAD")
    assert login.say(b"a AUTHENTICATE PLAIN !!!").startswith(b"a BAD")
    assert login.say(b"a AUTHENTICATE NONSENSE") == b"a NO [CANNOT] Unsupported authentication mechanism.\r\n"
    assert login.say(b"a LOGIN demo").startswith(b"a BAD")
    assert login.say(b"a SELECT INBOX").startswith(b"a BAD")
    assert login.say(b"a NOOP") == b"a OK NOOP completed\r\n"
    assert login.say(b"a ID NIL", b"a OK ID completed\r\n").startswith(b"* ID (")
    assert login.say(b"a LOGOUT", b"completed\r\n").startswith(b"* BYE Courier-IMAP server shutting down\r\n")
    log = login.log()
    assert "INFO: LOGIN FAILED, user=demo, ip=[127.0.0.1], port=[N/A]" in log
    assert "INFO: LOGIN FAILED, user=demo, method=PLAIN, ip=" in log
    assert "LOGIN FAILED, method=PLAIN" not in log                  # what is cancelled did not fail
    assert "INFO: LOGOUT, ip=[127.0.0.1]" in log


def test_too_many_failures(start: Start) -> None:
    login = start()
    for _ in range(9):
        assert b"Login failed" in login.say(b"a LOGIN demo wrong")
    assert login.say(b"a LOGIN demo wrong") == b"* BYE Too many failed logins.\r\n"


def test_too_many_errors(start: Start) -> None:
    login = start()
    for _ in range(9):
        assert login.say(b"a X").startswith(b"a BAD")
    assert login.say(b"a X").startswith(b"* BYE [ALERT] Fatal error: TOO MANY CONSECUTIVE PROTOCOL ")


def test_bounds_before_the_login(start: Start) -> None:
    login = start()
    assert login.say(b"a LOGIN demo {100000}") == b"a BAD [TOOBIG] Literal too long.\r\n"
    for count in (8200, 70000):
        login.client.sendall(b"b LOGIN " + b"x" * count + b"\r\n")
        assert until(login.client, b"\r\n") == b"b BAD Command line too long.\r\n"
    assert login.say(b"x" * 9000) == b"* BAD Command line too long.\r\n"
    assert login.say(b"c LOGIN {1+}\r\nx {1+}\r\ny {1+}\r\nz {1+}\r\nz {1+}\r\nz") == (
        b"c BAD [TOOBIG] Literal too long.\r\n")
    assert login.say(b"a NOOP") == b"a OK NOOP completed\r\n"


def test_every_refusal_has_its_tag(start: Start) -> None:
    login = start()
    for line in (b"a", b"a ()(", b"a LOGIN (", b"a\tNOOP(", b"a X", b"a LOGIN {5000}", b"a (x) {5000}"):
        assert login.say(line).startswith(b"a BAD "), line
    assert login.say(b"(a NOOP").startswith(b"* BAD ")
    assert login.say(b"a NOOP") == b"a OK NOOP completed\r\n"


def test_the_largest_id_before_the_login(start: Start) -> None:
    """RFC 2971 3.3: 30 pairs, fields of 30 octets, values of 1024."""
    login = start(IMAP_ID_FIELDS="1")
    whole = b" ".join(b'"' + b"%030d" % number + b'" "' + b'\\"' * 1024 + b'"' for number in range(30))
    told = login.say(b"a ID (" + whole + b")", b"completed\r\n")
    assert told.startswith(b'* ID ("name" "courierpy" "version" ')
    literals = b" ".join(b"{30+}\r\n%030d {1024+}\r\n%s" % (number, b"y" * 1024) for number in range(30))
    assert login.say(b"b ID (" + literals + b")", b"completed\r\n").endswith(b"b OK ID completed\r\n")
    assert login.say(b'c ID ("x" NIL)', b"completed\r\n").endswith(b"c OK ID completed\r\n")
    for bad in (whole + b' "x" "y"', b'"' + b"x" * 31 + b'" "y"', b'"x" "' + b"y" * 1025 + b'"', b'"x"',
                b"NIL"):
        assert login.say(b"d ID (" + bad + b")").startswith(b"d BAD "), bad[:40]
    assert login.say(b"e ID (" + b"x" * 70000 + b")") == b"e BAD Command line too long.\r\n"
    log = login.log()
    assert "INFO: ID, ip=[127.0.0.1], port=[N/A], x=(nil)\n" in log
    assert max(map(len, log.splitlines())) < 2000


def test_a_client_cannot_write_a_line_of_the_log(start: Start) -> None:
    login = start()
    name = b"x\r\nERR: y, ip=[10.9.8.7], port=[1]"
    for line in (b"LOGIN {%d+}\r\n%s z" % (len(name), name),
                 b"AUTHENTICATE PLAIN " + b64encode(b"\0" + name + b"\0z"),
                 b'LOGIN "x, ip=[10.9.8.7], port=[1]" z', b"LOGIN " + b"n" * 5000 + b" z"):
        assert login.say(b"a " + line) == REFUSED
    login.say(b'a ID ("a, ip=[1.1.1.1]" "b, ip=[10.9.8.7]")', b"completed\r\n")
    for line in login.log().splitlines():
        assert re.findall(r"ip=\[([^\]]*)\]", line) == ["127.0.0.1"], line
        assert not line.startswith("ERR")
        assert len(line) < 500


def test_scram_for_somebody_else(start: Start) -> None:
    login = start()
    first = b"n,a=other,n=demo,r=nonce"
    assert login.say(b"a AUTHENTICATE SCRAM-SHA-256 " + b64encode(first)) == REFUSED
    own = first.replace(b"other", b"demo")
    assert login.say(b"a AUTHENTICATE SCRAM-SHA-256 " + b64encode(own)).startswith(b"+ ")


def test_a_client_that_reads_nothing_is_let_go(start: Start) -> None:
    login = start(before="stage.SECONDS = 1")
    login.client.settimeout(0.2)
    try:
        for _ in range(100_000):
            login.client.sendall(b"a CAPABILITY\r\n" * 100)
    except OSError:
        pass
    assert login.process.wait(60) == 0


def test_the_stage_has_an_end(start: Start) -> None:
    login = start(before="stage.SECONDS = 2")
    login.client.sendall(b"a NOOP\r\n")
    assert until(login.client, b"never") == b"a OK NOOP completed\r\n"
    assert "DEBUG: Disconnected, ip=[127.0.0.1]" in login.log()


@pytest.mark.parametrize("way", ["no program", "BYE"])
def test_a_signal_when_all_is_said(start: Start, folder: Path, way: str) -> None:
    """The client has not closed its side yet."""
    if way == "BYE":
        (folder / "userdb").chmod(0o644)
    login = start(program="/nonexistent/imapd")
    assert login.say(b"a LOGIN demo secret") == TEMPORARY
    login.process.terminate()
    login.process.wait(20)
    assert "Traceback" not in login.log()


def test_temporary_failure(start: Start, folder: Path) -> None:
    (folder / "userdb").chmod(0o644)
    login = start()
    assert login.say(b"a LOGIN demo secret") == TEMPORARY
    assert "ERR: authentication error:" in login.log()
    login = start("authdaemon", AUTHDAEMON_SOCKET=str(folder / "none"))
    assert login.say(b"a LOGIN demo secret").startswith(b"* BYE [UNAVAILABLE]")


def test_tls_required(start: Start, folder: Path) -> None:
    (folder / "cert").write_text("")
    login = start(IMAP_STARTTLS="YES", IMAP_TLS_REQUIRED="1", TLS_CERTFILE=str(folder / "cert"))
    assert b" STARTTLS LOGINDISABLED" in login.greeting
    assert b"AUTH=" not in login.greeting
    assert login.say(b"a LOGIN demo secret") == b"a NO [PRIVACYREQUIRED] STARTTLS required\r\n"
    assert login.say(b"a AUTHENTICATE PLAIN AGRlbW8Ac2VjcmV0").startswith(b"a NO [PRIVACYREQUIRED]")


def test_capabilities_are_an_allow_list(start: Start) -> None:
    login = start(IMAP_CAPABILITY="IMAP4rev1 IDLE SORT NONSENSE AUTH=CRAM-MD5")
    words = login.greeting.split(b"]")[0].split()[3:]
    assert b"IDLE" in words
    assert b"AUTH=CRAM-MD5" in words
    assert not {b"NONSENSE", b"NAMESPACE", b"AUTH=PLAIN"} & set(words)
    login = start(IMAP_CAPABILITY="IMAP4rev1", IMAP_CAPABILITY_TLS="IMAP4rev1 AUTH=PLAIN", IMAP_TLS="1")
    assert b"[CAPABILITY IMAP4rev1 AUTH=PLAIN]" in login.greeting


def test_no_program() -> None:
    done = subprocess.run([sys.executable, "-m", "courierpy.imaplogin"], capture_output=True,
                          env=plain_environ(), check=False, timeout=30)
    assert (done.returncode, done.stdout) == (
        1, b"* BYE imaplogin expects a program to start; imaplogin --help tells how.\r\n")


def test_a_module_that_hangs_without_the_helper(start: Start, folder: Path) -> None:
    """It and what it started are gone, and the client hears that it may come again."""
    pid = folder / "pid"
    hanging = folder / "hanging"
    hanging.write_text(f"#!/bin/sh\necho $$ > {pid}\nsleep 1000\n")
    hanging.chmod(0o755)
    login = start("authpipe authuserdb", AUTHPIPE=str(hanging), AUTH_TIMEOUT="authpipe=3")
    login.client.sendall(b"t LOGIN demo secret\r\n")
    assert b"* BYE [UNAVAILABLE]" in until(login.client, b"later\r\n")
    assert login.process.wait(timeout=20) == 1
    eventually(lambda: not os.path.exists(f"/proc/{int(pid.read_text())}"), "it lives on")


def test_modules_are_asked_in_order_without_the_helper(start: Start, folder: Path) -> None:
    refuses = folder / "refuses"
    refuses.write_text("#!/bin/sh\necho FAIL\n")
    refuses.chmod(0o755)
    login = start("authpipe authuserdb", AUTHPIPE=str(refuses))
    login.client.sendall(b"t LOGIN demo secret\r\n")
    assert login.variables()["AUTHENTICATED"] == "demo"


def test_what_binds_needs_something_to_bind_to(start: Start) -> None:
    """Behind TLS that another program speaks there is none."""
    for environ in ({}, {"IMAP_TLS": "1"}):
        login = start(IMAP_CAPABILITY="all +AUTH=SCRAM-SHA-256", **environ)
        assert b"AUTH=SCRAM-SHA-256 " in login.greeting.replace(b"]", b" ") and b"-PLUS" not in login.greeting
        assert login.say(b"a AUTHENTICATE SCRAM-SHA-256-PLUS").startswith(b"a NO [CANNOT]")
        assert login.say(b"a AUTHENTICATE SCRAM-SHA-256 " + b64encode(b"y,,n=demo,r=nonce")).startswith(b"+ ")
        login.client.close()


def test_language_before_the_login(start: Start) -> None:
    """RFC 5255 3.1: told in the greeting, and valid in all states."""
    login = start()
    assert b" LANGUAGE " in login.greeting
    assert login.say(b"a LANGUAGE DE", b"\r\n") == b"a NO Unsupported language DE\r\n"
    assert login.say(b"b LANGUAGE de en", b"b OK Now speaking English\r\n").startswith(b"* LANGUAGE (en)\r\n")
    assert login.say(b"c LANGUAGE !").startswith(b"c BAD ")
