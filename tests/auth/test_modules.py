"""Each auth module, and the password daemon's protocol byte by byte."""
from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from courierpy import auth
from courierpy.auth import (
    DELIVERY,
    Account,
    Rejected,
    Request,
    TemporaryFailure,
    Unservable,
    authpam,
    authpwd,
    authshadow,
    authuserdb,
    check,
    configured,
    helper,
    passwords,
    protocol,
    sound,
)
from tests.auth.test_passwords import _state
from tests.conftest import plain_environ

RECORD = ("bob@example.com\tuid=65534|gid=65533|home=/home/bob|mail=/home/bob/Maildir|quota=100000S"
          "|gecos=Bob B|imappw={SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=|systempw={MD5}nothing"
          "|options=group=staff,mailhost=a,b\n")


@pytest.fixture
def userdb(tmp_path: Path) -> Path:
    path = tmp_path / "userdb"
    states = "".join(_state("md5", bytes(octet ^ pad for octet in b"secret".ljust(64, b"\0"))).hex()
                     for pad in (0x5c, 0x36))
    path.write_text("# comment\n\n" + RECORD + "joe\tuid=1|gid=1|home=/home/joe|clearpw=secret\n"
                    f"amy\tuid=1|gid=1|home=/home/amy|hmac-md5pw={states}\nbroken\tuid=1|gid=x|systempw=x|imappw={{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
    path.chmod(0o600)
    return path


def ask(userdb: Path, user: str, password: str, service: str = "imap") -> Account:
    return check(["authuserdb"],
                 Request("login", service, {"USERDB": str(userdb)}, user=user, password=password))


def test_userdb(userdb: Path) -> None:
    account = ask(userdb, "bob@example.com", "password")
    assert (account.uid, account.gid, account.home, account.maildir, account.name, account.quota) == (
        65534, 65533, "/home/bob", "/home/bob/Maildir", "Bob B", "100000S")
    assert account.option("group") == "staff"
    assert account.option("mailhost") == "a"
    assert account.option("b") == "1"
    assert account.option("nothing") is None
    assert ask(userdb, "joe", "secret").address == "joe"
    for user, password in (("bob@example.com", "wrong"), ("bob@example.com", ""), ("nobody", "password")):
        with pytest.raises(Rejected):
            ask(userdb, user, password)
    with pytest.raises(Rejected):
        ask(userdb, "bob@example.com", "password", "pop3")     # systempw counts there
    with pytest.raises(Rejected):
        ask(userdb, "broken", "x", "imap")                     # the password of another service
    with pytest.raises(Unservable, match="broken: uid, gid or home"):
        ask(userdb, "broken", "password")


def test_userdb_that_others_can_read(userdb: Path) -> None:
    for mode in (0o640, 0o604, 0o620):
        userdb.chmod(mode)
        with pytest.raises(TemporaryFailure, match="others can read or write it"):
            ask(userdb, "joe", "secret")


def test_userdb_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Rejected):
        ask(tmp_path / "absent", "joe", "secret")


def test_a_delivery_asks_a_userdb_that_is_not_there(userdb: Path, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """Mail waits where accounts are, or were, in it; where the settings as they are shipped speak of none but
    the system's, a delivery goes on to these."""
    monkeypatch.setattr(authuserdb, "DEFAULT", str(userdb))

    def deliver(**environ: str) -> Account:
        return check(["authuserdb"], Request("pre", DELIVERY, environ, user="joe"))

    kept = userdb.rename(tmp_path / "kept")
    for environ in {"USERDB": str(userdb)}, {}:
        with pytest.raises(Rejected):
            deliver(**environ)
    for environ in {"USERDB": str(tmp_path / "absent")}, {"USERDB": str(userdb), "AUTHMODULES": "authuserdb"}:
        with pytest.raises(TemporaryFailure, match="it is not there"):
            deliver(**environ)
    kept.rename(userdb)
    assert deliver(USERDB=str(userdb)).address == "joe"
    userdb.unlink()
    with pytest.raises(TemporaryFailure, match="it is not there"):
        deliver(USERDB=str(userdb))


def test_userdb_folder(userdb: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(0o700)
    userdb.rename(folder / "one")
    (folder / ".hidden").write_text("joe\tuid=2|gid=2|home=/|clearpw=other\n")
    assert ask(folder, "joe", "secret").uid == 1
    link = tmp_path / "link"
    link.symlink_to(folder / "one")
    with pytest.raises(TemporaryFailure, match="symbolic link"):
        ask(link, "joe", "secret")


def test_a_folder_in_the_place_of_a_userdb_file(userdb: Path, tmp_path: Path) -> None:
    """Which was read before, and is known."""
    os.utime(userdb, (1, 1))
    assert ask(userdb, "joe", "secret").address == "joe"
    userdb.rename(tmp_path / "before")
    userdb.mkdir()
    (tmp_path / "before").rename(userdb / "one")
    (userdb / "two").write_text("ann\tuid=1|gid=1|home=/home/ann|clearpw=other\n")
    (userdb / "two").chmod(0o600)
    assert (ask(userdb, "joe", "secret").address, ask(userdb, "ann", "other").address) == ("joe", "ann")


def test_an_unknown_user_costs_a_hash(userdb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(passwords, "verify",
                        lambda stored, password: bool(asked.append(stored)))
    with pytest.raises(Rejected):
        ask(userdb, "who", "x")
    with pytest.raises(Rejected):
        ask(userdb, "bob@example.com", "x")
    assert asked[0] == asked[1]


@pytest.mark.parametrize("user", ["joe", "amy"])
def test_cram(userdb: Path, user: str) -> None:
    from base64 import b64encode
    challenge = b"<1@host>"
    answer = passwords.cram_answer("md5", "secret", challenge)
    for digest, good in ((answer, True), ("0" * 32, False), ("", False), ("é", False)):
        request = Request("cram-md5", "imap", {"USERDB": str(userdb)},
                          challenge=b64encode(challenge).decode(),
                          response=b64encode(f"{user} {digest}".encode()).decode())
        if good:
            assert check(["authuserdb"], request).address == user
        else:
            with pytest.raises(Rejected):
                check(["authuserdb"], request)


def test_what_is_stored_need_not_be_utf_8(tmp_path: Path) -> None:
    """It is somebody's password by its octets, or nobody's, and costs no process that asks for it."""
    import hmac
    from base64 import b64encode
    path = tmp_path / "userdb"
    path.write_bytes(b"ann\tuid=1|gid=1|home=/|clearpw=s\xe9cret\n" + b"".join(
        b"%s\tuid=1|gid=1|home=/|systempw={%s}s\xe9cret\n" % (scheme, scheme)
        for scheme in (b"MD5", b"MD5RAW", b"SHA", b"SSHA", b"CRYPT")))
    path.chmod(0o600)
    digest = hmac.new(b"s\xe9cret", b"<1@host>", "md5").hexdigest()
    request = Request("cram-md5", "imap", {"USERDB": str(path)}, challenge=b64encode(b"<1@host>").decode(),
                      response=b64encode(f"ann {digest}".encode()).decode())
    assert check(["authuserdb"], request).address == "ann"
    for user in ("ann", "MD5", "MD5RAW", "SHA", "SSHA", "CRYPT", "nobody"):
        with pytest.raises(Rejected):
            ask(path, user, "sécret")


def test_system_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Rejected):
        authpwd.lookup(Request("login", "imap", {}, user="no-such-user", password="x"))
    with pytest.raises(Rejected):
        authpwd.lookup(Request("login", "imap", {}, user="root", password="x"))
    assert authpwd.lookup(Request("pre", "imap", {}, user="root")).uid == 0
    shadow = tmp_path / "shadow"
    shadow.write_text("daemon:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=:19000:0:99999:7:::\n"
                      "bin:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=:19000:0:99999:7::1:\nsys:*:19000:0:99999:7:::\n")
    monkeypatch.setattr(authshadow, "SHADOW", str(shadow))
    good = authshadow.lookup(Request("login", "imap", {}, user="daemon", password="password"))
    assert (good.username, good.passwd2) == ("daemon", "password")
    for user, password in (("daemon", "x"), ("bin", "password"), ("sys", "*"), ("root", "x")):
        with pytest.raises(Rejected):
            authshadow.lookup(Request("login", "imap", {}, user=user, password=password))
    monkeypatch.setattr(authshadow, "SHADOW", str(tmp_path / "absent"))
    with pytest.raises(TemporaryFailure, match="absent"):
        authshadow.lookup(Request("login", "imap", {}, user="daemon", password="password"))


def test_pam() -> None:
    pytest.importorskip("pam", reason="python-pam is not installed")
    with pytest.raises(Rejected):
        check(["authpam"], Request("login", "imap", {}, user="daemon", password="wrong"))


def test_the_system_is_asked_by_pam_where_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured({"AUTHMODULES": "authpwd authpipe"}) == ["authpwd", "authpipe"]
    assert configured({"AUTHMODULES": ""}) == []
    for found, module in ((object(), "authpam"), (None, "authpwd")):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, found=found: found)
        assert configured({}) == ["authuserdb", module]


def test_the_service_of_pam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authpam, "RULES", (str(tmp_path),))
    assert authpam.service_of("imap") == "login"
    (tmp_path / "imap").touch()
    assert authpam.service_of("imap") == "imap"
    assert authpam.service_of("pop3") == "login"
    monkeypatch.setattr(authpam, "RULES", (str(tmp_path / "none"),))
    assert authpam.service_of("imap") == "imap"          # one file has the rules of all


def test_pipe(tmp_path: Path) -> None:
    program = tmp_path / "authProg"
    program.write_text("""#!/bin/sh
while read word rest; do
  case $word in
    PRE) case $rest in
      ". imap joe") printf 'UID=5\\nGID=6\\nHOME=/h\\nADDRESS=joe\\n.\\n' ;;
      *) echo FAIL ;;
    esac ;;
    AUTH) exit 1 ;;
  esac
done
""")
    program.chmod(0o755)
    environ = {"AUTHPIPE": str(program)}
    account = check(["authpipe"], Request("pre", "imap", environ, user="joe"))
    assert (account.uid, account.gid, account.home, account.address) == (5, 6, "/h", "joe")
    with pytest.raises(Rejected):
        check(["authpipe"], Request("pre", "imap", environ, user="amy"))
    with pytest.raises(TemporaryFailure):
        check(["authpipe"], Request("login", "imap", environ, user="joe", password="x"))
    program.chmod(0o644)
    if os.getuid():
        with pytest.raises(Rejected):                 # not executable: the module is off
            check(["authpipe"], Request("pre", "imap", environ, user="joe"))


def custom(request: Request) -> object:
    """Named in AUTHCUSTOM below."""
    if request.user == "joe":
        return Account("joe", 1, 1, "/h")
    if request.user == "odd":
        return None
    if request.user == "bug":
        raise KeyError("bug")
    raise Rejected


def test_custom() -> None:
    def ask_custom(user: str) -> Account:
        environ = {"AUTHCUSTOM": f"{__name__}:custom"}
        return check(["authcustom"], Request("login", "imap", environ, user=user))
    assert ask_custom("joe").address == "joe"
    with pytest.raises(Rejected):
        ask_custom("amy")
    for user in ("odd", "bug"):
        with pytest.raises(TemporaryFailure):
            ask_custom(user)
    with pytest.raises(TemporaryFailure, match="module:function"):
        check(["authcustom"], Request("login", "imap", {}, user="joe"))


def test_modules_in_order(userdb: Path) -> None:
    request = Request("login", "imap", {"USERDB": str(userdb)}, user="joe", password="secret")
    assert check(["authpipe", "authuserdb"], request).address == "joe"
    with pytest.raises(TemporaryFailure, match="no such auth module"):
        check(["authuserdb2", "authuserdb"], request)
    with pytest.raises(Rejected):
        check([], request)


@pytest.mark.parametrize("kind", ["", "scram-sha-256", "external", "PRE", "plain"])
def test_a_request_of_no_kind_that_there_is_finds_nobody(userdb: Path, kind: str) -> None:
    """A module would take it for one that needs no password."""
    environ = {"USERDB": str(userdb)}
    assert check(["authuserdb"], Request("pre", "imap", environ, user="joe")).address == "joe"
    for module, user in (("authuserdb", "joe"), ("authpwd", "root"), ("authshadow", "root")):
        with pytest.raises(Rejected):
            check([module], Request(kind, "imap", environ, user=user))


def test_default_options(tmp_path: Path) -> None:
    userdb = tmp_path / "userdb"
    own = {"joe": "", "ann": "|options=disableimap=0, group=a", "eve": "|options=disableimap"}
    userdb.write_text("".join(f"{name}\tuid=7|gid=8|home=/h|clearpw=secret{more}\n"
                              for name, more in own.items()))
    userdb.chmod(0o600)
    environ = {"USERDB": str(userdb), "DEFAULTOPTIONS": "disableimap=1, sharedgroup=x,"}
    found = {name: check(["authuserdb"], Request("pre", "imap", environ, user=name)).options for name in own}
    assert found == {"joe": "disableimap=1,sharedgroup=x", "ann": "disableimap=0, group=a,sharedgroup=x",
                     "eve": "disableimap,sharedgroup=x"}
    for kind in ("login", "pre"):
        request = Request(kind, "imap", {"USERDB": str(userdb)}, user="eve", password="secret")
        assert check(["authuserdb"], request).options == "disableimap"


def test_default_domain() -> None:
    assert auth.with_domain("joe", {}) == "joe"
    assert auth.with_domain("joe", {"DEFDOMAIN": "@example.com"}) == "joe@example.com"
    assert auth.with_domain("joe@x", {"DEFDOMAIN": "@example.com"}) == "joe@x"
    assert auth.with_domain("joe%x", {"DEFDOMAIN": "@example.com", "DOMAINSEP": "%@"}) == "joe%x"


@contextmanager
def helping(folder: Path, modules: list[str], **environ: str) -> Iterator[str]:
    """The socket of a helper that runs in a process of its own."""
    path = str(folder / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        pid = os.fork()
        if pid == 0:
            try:
                helper.serve(listener, modules, environ)
            finally:
                os._exit(1)
    try:
        yield path
    finally:
        os.kill(pid, signal.SIGTERM)
        assert os.waitpid(pid, 0)[1] == 0
        os.unlink(path)


def says(path: str, data: bytes) -> bytes:
    """What the helper says to these bytes."""
    with socket.socket(socket.AF_UNIX) as ours:
        ours.settimeout(60)
        ours.connect(path)
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        reply = b""
        while piece := ours.recv(65536):
            reply += piece
    return reply


def answer(userdb: Path, data: bytes) -> bytes:
    with helping(userdb.parent, ["authuserdb"], USERDB=str(userdb)) as path:
        return says(path, data)


NOBODY = 0x7FFFFFFF            # a pid that no process has
HUNG = """#!/bin/sh
read line
case $line in *slow*) exec sleep 1000 ;; esac
read a; read b; read user; read password
[ "$user" = slow ] && exec sleep 1000
[ "$user" = quick ] && printf 'UID=5\\nGID=6\\nHOME=/h\\nADDRESS=quick\\n.\\n' || echo FAIL
"""


def login_request(user: str, password: str = "secret") -> bytes:
    return protocol.render_request(Request("login", "imap", {}, user=user, password=password))


def test_a_module_that_hangs_holds_up_only_itself(userdb: Path, tmp_path: Path) -> None:
    """Requests that never answer; who is known before, and who asks while there are workers, is served."""
    program = tmp_path / "authProg"
    program.write_text(HUNG)
    program.chmod(0o755)
    hung: list[bytes] = []
    with helping(tmp_path, ["authuserdb", "authpipe"], USERDB=str(userdb), AUTHPIPE=str(program),
                 AUTH_TIMEOUT="30 authpipe=4", AUTH_WORKERS="10 authpipe=3") as path:
        def hang() -> None:
            hung.append(says(path, login_request("slow")))

        slow = [threading.Thread(target=hang) for _ in range(2)]
        for thread in slow:
            thread.start()
        assert b"ADDRESS=joe\n" in says(path, login_request("joe"))
        assert b"ADDRESS=quick\n" in says(path, login_request("quick"))        # a third worker
        assert says(path, login_request("nobody")) == b"FAIL\n"
        more = [threading.Thread(target=hang) for _ in range(9)]
        for thread in more:
            thread.start()
        assert b"ADDRESS=joe\n" in says(path, login_request("joe"))
        for thread in (*slow, *more):
            thread.join(60)
        assert hung == [b""] * 11                  # a temporary failure, in time
        assert b"ADDRESS=quick\n" in says(path, login_request("quick"))
    left = [line for line in subprocess.run(["ps", "axo", "args"], capture_output=True, text=True,
                                            check=True).stdout.splitlines() if str(program) in line]
    assert left == []


class Queue:
    """A helper with one worker for authpipe at a time, which is no process.  ``started``: how many there
    were; ``refused``: users who had no answer.  ``now``: on its clock."""

    def __init__(self, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.started = 0
        self.refused: list[str] = []
        self._stack = stack
        monkeypatch.setattr(helper.time, "monotonic", lambda: self.now)
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        self.helper = helper.Helper(listener, ["authpipe"], {"AUTH_TIMEOUT": "15", "AUTH_WORKERS": "1"})
        monkeypatch.setattr(self.helper, "_start", self._start)

    def _start(self, module: str) -> helper.Worker:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._stack.enter_context(theirs)
        worker = helper.Worker(module, NOBODY, ours)
        self.helper.workers[module].append(worker)
        self.started += 1
        return worker

    def ask(self, user: str) -> None:
        self.helper.begin(helper.Job(lambda reply: self.refused.append(user), data=b"x",
                                     request=Request("login", "imap", {}, user=user)))

    def at(self, now: float) -> list[str]:
        """Who has been refused by then."""
        self.now = now
        self.helper._see_to_time()
        return self.refused


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    with ExitStack() as stack:
        yield Queue(stack, monkeypatch)


def test_who_waited_behind_one_that_hangs_has_its_time(queue: Queue) -> None:
    """That of the module counts from when a worker has the request, and not from when it was asked."""
    queue.ask("hangs")
    queue.now = 101.0
    queue.ask("waits")
    assert queue.at(115.0) == ["hangs"] and queue.started == 2
    assert queue.at(129.0) == ["hangs"]
    assert queue.at(130.0) == ["hangs", "waits"]


def test_no_worker_is_started_for_who_has_waited_too_long(queue: Queue) -> None:
    for number in range(20):
        queue.ask(str(number))
    queue.now = 101.0
    queue.ask("later")
    assert sorted(queue.at(115.0)) == sorted(map(str, range(20)))
    assert queue.started == 2
    assert "later" in queue.at(130.0)


def test_a_worker_that_dies_fails_its_request_only(userdb: Path, tmp_path: Path) -> None:
    with helping(tmp_path, ["authcustom"], AUTHCUSTOM=f"{__name__}:dies") as path:
        assert says(path, login_request("die")) == b""
        assert says(path, login_request("amy")) == b"FAIL\n"


def dies(request: Request) -> Account:
    if request.user == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    raise Rejected


def test_protocol(userdb: Path) -> None:
    """A hash is told to nobody, a clear password where a mechanism computes with it."""
    whole = (b"UID=65534\nGID=65533\nHOME=/home/bob\nADDRESS=bob@example.com\nNAME=Bob B\n"
             b"MAILDIR=/home/bob/Maildir\nQUOTA=100000S\n")
    assert answer(userdb, b"PRE . imap bob@example.com\n") == whole + b"OPTIONS=group=staff,mailhost=a,b\n.\n"
    request = b"imap\nlogin\nbob@example.com\npassword\n"
    assert answer(userdb, b"TCPREMOTEIP=::1\nAUTH %d\n%s" % (len(request), request)) == (
        whole + b"OPTIONS=group=staff,mailhost=a,b\n.\n")
    request = request.replace(b"password", b"otherwise")
    assert answer(userdb, b"AUTH %d\n%s" % (len(request), request)) == b"FAIL\n"
    assert answer(userdb, b"PRE . imap nobody\n") == b"FAIL\n"
    for nonsense in (b"HELLO\n", b"AUTH x\n", b"AUTH 999999999\n", b"AUTH 50\nimap\n", b"\xff\n", b""):
        assert answer(userdb, nonsense) == b""
    userdb.chmod(0o644)
    assert answer(userdb, b"PRE . imap bob@example.com\n") == b""      # a temporary failure
    fred = Request("login", "imap", {}, user="fred@example.com", password="foobar")
    assert protocol.render_request(fred) == (
        b"AUTH 35\nimap\nlogin\nfred@example.com\nfoobar\n")
    for broken in (b"UID=1\nGID=1\nHOME=/\n", b"UID=x\nGID=1\nHOME=/\nADDRESS=x\n",
                   b"UID=%d\nGID=1\nHOME=/\nADDRESS=x\n" % 2**32, b"USERNAME=no-such\nHOME=/\nADDRESS=x\n"):
        with pytest.raises(Unservable):
            protocol.parse_reply(broken + b".\n")
    with pytest.raises(TemporaryFailure):
        protocol.parse_reply(b"UID=1\n")


@pytest.mark.parametrize("octet", ["\n", "\0"])
@pytest.mark.parametrize("field", ["user", "password", "challenge", "response"])
def test_what_would_be_another_request_is_not_sent(octet: str, field: str) -> None:
    """A line of the protocol within a name or a password."""
    kind = "login" if field in ("user", "password") else "cram-md5"
    words = {"user": "joe", "password": "x", "challenge": "y", "response": "z"}
    assert protocol.render_request(Request(kind, "imap", {}, **words))
    for value in (octet, f"joe{octet}PRE . imap root{octet}"):
        with pytest.raises(Rejected):
            protocol.render_request(Request(kind, "imap", {}, **{**words, field: value}))


def test_no_daemon(tmp_path: Path) -> None:
    with pytest.raises(TemporaryFailure, match="No such file"):
        check(["authdaemon"], Request("login", "imap", {"AUTHDAEMON_SOCKET": str(tmp_path / "none")},
                                      user="joe", password="x"))


@pytest.mark.parametrize(("module", "environ", "why"), [
    ("authuserdbx", {}, "no such auth module: authuserdbx"), ("authcustom", {}, "must be module:function"),
    ("authcustom", {"AUTHCUSTOM": "no_such_module:x"}, "no_such_module"),
    ("authcustom", {"AUTHCUSTOM": "os:no_such"}, "no such function")])
def test_a_module_that_lets_nobody_in_is_told(module: str, environ: dict[str, str], why: str) -> None:
    found = sound.wrong(["authpwd", module], environ)
    assert len(found) == 1
    assert why in found[0]


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pam", None)
    assert "python-pam is not installed" in sound.wrong(["authpam"], {})[0]
    assert sound.wrong(["authuserdb", "authpipe", "authdaemon"], {}) == []
    assert len(sound.odd(["authuserdb", "authpipe"], {"USERDB": "/none", "AUTHPIPE": "/none"})) == 2


def test_a_userdb_that_lets_nobody_in_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, link = tmp_path / "userdb", tmp_path / "link"

    def told(path: Path) -> str:
        return " ".join(sound.odd(["authuserdb"], {"USERDB": str(path)}))

    assert told(path) == f"authuserdb: {path} is not there: it knows nobody; courierpy user add makes it"
    path.touch(0o600)
    link.symlink_to(path)
    assert told(path) == told(tmp_path) == ""
    assert "a symbolic link" in told(link)
    path.chmod(0o640)
    assert f"chmod 0600 {path}" in told(path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert f"{path} cannot be read by uid {os.geteuid()}" in told(path)


def test_a_program_or_daemon_that_is_not_there_is_told(tmp_path: Path) -> None:
    program = tmp_path / "program"

    def told(name: str, setting: str, path: Path) -> str:
        return " ".join(sound.odd([name], {setting: str(path)}))

    assert told("authpipe", "AUTHPIPE", program).startswith(f"authpipe: {program} is not there: nobody of it")
    program.write_text("#!/bin/sh\n")
    for path in (program, tmp_path):
        assert f"{path} is not executable" in told("authpipe", "AUTHPIPE", path)
    program.chmod(0o755)
    assert told("authpipe", "AUTHPIPE", program) == ""

    daemon = tmp_path / "socket"
    assert f"authdaemon: {daemon}: No such file or directory: nobody can log in until authdaemond" \
        in told("authdaemon", "AUTHDAEMON_SOCKET", daemon)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(daemon))
        assert "Connection refused" in told("authdaemon", "AUTHDAEMON_SOCKET", daemon)
        listening.listen(1)
        assert told("authdaemon", "AUTHDAEMON_SOCKET", daemon) == ""


def test_it_is_said_before_listening(tmp_path: Path) -> None:
    settings = tmp_path / "imapd"
    settings.write_text("ADDRESS=127.0.0.1\nPORT=1\nAUTHMODULES=\"authuserdb authfoo\"\nUSERDB=/none\n")
    for words in (["serve"], ["config"]):
        done = subprocess.run([sys.executable, "-c", "from courierpy.admin import run; run()", *words,
                               "-C", str(settings)], capture_output=True, text=True, check=False, timeout=60,
                              env=plain_environ())
        assert done.returncode == 1
        assert "no such auth module: authfoo" in done.stdout + done.stderr
        assert "cannot listen" not in done.stderr
        assert "/none is not there: it knows nobody; courierpy user add" in done.stdout + done.stderr
    words = ["-address=127.0.0.1", "-exec", "1", "imaplogin", "authpipe", "authbar", "imapd"]
    done = subprocess.run([sys.executable, "-c", "from courierpy.tcpd import run; run()", *words],
                          capture_output=True, text=True, check=False, timeout=60,
                          env=plain_environ(AUTHPIPE="/none"))
    assert done.returncode == 1
    assert "no such auth module: authbar" in done.stderr
    assert "authpipe: /none is not there" in done.stderr
