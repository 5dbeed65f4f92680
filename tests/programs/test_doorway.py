"""The doorway: login processes without rights, tickets, sessions behind TLS, and what becomes of each when
another one ends."""
from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from courierpy.admin import mkcert
from courierpy.system import calls
from tests.conftest import account_ids, until
from tests.programs.chain import DEADLINE, Chain, chain, eventually

pytestmark = pytest.mark.server

LOGIN_PROCESSES = {"IMAP_LOGIN_PROCESSES": "2", "IMAP_LOGIN_DELAY": "0"}


@pytest.fixture(scope="module")
def server() -> Iterator[Chain]:
    with chain(**LOGIN_PROCESSES) as running:
        with (running.home / "userdb").open("a") as file:
            uid, gid = account_ids()
            file.write(f"clear\tuid={uid}|gid={gid}|home={running.home}|mail=Maildir|clearpw=secret\n")
        running.greeted().close()      # all of it has started
        yield running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "imapd.pem"
    mkcert.make(str(path), "localhost")
    return path


def status(pid: int) -> dict[str, str]:
    """What the kernel says of a process; nothing of one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def login_processes(server: Chain) -> list[int]:
    """Those that may start no other."""
    return [pid for pid in server.children() if status(pid).get("NoNewPrivs") == "1"]


def test_a_login_process_has_no_right(server: Chain) -> None:
    eventually(lambda: len(login_processes(server)) == 2)
    for pid in login_processes(server):
        found = status(pid)
        assert found["CapEff"].strip("0") == found["CapPrm"].strip("0") == ""
        if not os.getuid():
            assert "0" not in found["Uid"].split() and "0" not in found["Gid"].split()
            assert found["Groups"].split() == []
            assert os.readlink(f"/proc/{pid}/root").endswith("/empty")
            assert os.listdir(f"/proc/{pid}/root") == []


def test_few_calls_of_the_kernel_are_answered(tmp_path: Path) -> None:
    """All that a login process does, it may do; nothing that leads out of it."""
    if calls.library() is None:
        pytest.skip("neither seccomp nor pyseccomp can be loaded with libseccomp")
    script = tmp_path / "script"
    script.write_text(TRIES)
    with chain(before=f"exec(compile(open({str(script)!r}).read(), 'tries', 'exec'))",
               **LOGIN_PROCESSES) as server, server.greeted():
        eventually(lambda: len(login_processes(server)) == 2)
        for pid in login_processes(server):
            assert status(pid)["Seccomp"] == "2"
        log = server.wait_log("tried:", 2)
        assert log.count("tried: fork 1, execve 1, open 1, socket 1, kill 1, setns 1, unknown 38") == 2


TRIES = r"""
import ctypes, os, socket
from courierpy.system import log
from courierpy.login import process

def tried(self, serve=process.House.serve):
    libc = ctypes.CDLL(None, use_errno=True)
    def call(act):
        try:
            return act() or 0
        except OSError as error:
            return error.errno
    def number(function, *words):
        ctypes.set_errno(0)
        function(*words)
        return ctypes.get_errno()
    found = {"fork": call(os.fork), "execve": call(lambda: os.execv("/bin/true", ["true"])),
             "open": call(lambda: os.open("/etc/passwd", 0)), "socket": call(socket.socket),
             "kill": call(lambda: os.kill(1, 0)), "setns": number(libc.setns, 0, 0),
             "unknown": number(libc.syscall, 4000, 0, 0, 0, 0)}
    log.info("tried: " + ", ".join(f"{name} {value}" for name, value in found.items()))
    serve(self)

process.House.serve = tried
"""


def test_no_process_leaves_a_core(server: Chain) -> None:
    with server.session():
        for pid in server.process.pid, *server.children():
            try:
                limits = Path(f"/proc/{pid}/limits").read_text()
            except OSError:
                continue               # of a session of before, which ended just now
            assert "Max core file size        0                    0 " in limits


def test_no_octet_of_a_client_is_read_by_the_listener(server: Chain) -> None:
    """It has no descriptor of a client, once that was given away."""
    with server.greeted():
        def sockets(pid: int) -> int:
            found = 0
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):      # it was given away since
                    found += "socket" in os.readlink(fd)
            return found
        with ExitStack() as stack:
            stack.enter_context(server.greeted())
            few = sockets(server.process.pid)
            for _ in range(20):
                stack.enter_context(server.greeted())
            eventually(lambda: sockets(server.process.pid) <= few)


def test_the_dialogue_and_what_comes_behind_it(server: Chain) -> None:
    with server.greeted() as client:
        client.sendall(b"a CAPABILITY\r\nb LOGIN demo wrong\r\nc LOGIN {4}\r\n")
        said = until(client, b"\r\n+ ")
        assert b"a OK" in said and b"b NO [AUTHENTICATIONFAILED] Login failed.\r\n" in said
        client.sendall(b"demo demo\r\nd SELECT INBOX\r\ne LOGOUT\r\n")
        said = until(client, b"e OK")
        assert said.index(b"c OK LOGIN Ok.") < said.index(b"d OK") < said.index(b"* BYE")
        client.settimeout(DEADLINE)
        while client.recv(100):
            continue                   # nobody else holds the client's connection


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_mechanisms(server: Chain, mechanism: str) -> None:
    import imaplib
    client = imaplib.IMAP4("127.0.0.1", server.port, DEADLINE)
    if mechanism == "CRAM-MD5":
        assert client.login_cram_md5("clear", "secret")[0] == "OK"
    elif mechanism == "PLAIN":
        assert client.authenticate("PLAIN", lambda _: b"\0demo\0demo")[0] == "OK"
    else:
        answers = iter((b"demo", b"demo"))
        assert client.authenticate("LOGIN", lambda _: next(answers))[0] == "OK"
    client.logout()


def test_many_clients_in_one_process(server: Chain) -> None:
    """More than there are processes, and each goes on as if alone."""
    clients = [server.greeted() for _ in range(20)]
    for number, client in enumerate(clients):
        client.sendall(b"a%d NO" % number)
    for number, client in enumerate(clients):
        client.sendall(b"OP\r\n")
        assert until(client, b"\r\n").startswith(b"a%d OK" % number)
    for client in clients:
        client.sendall(b"b LOGIN demo demo\r\n")
    for client in clients:
        assert b"b OK" in until(client, b"b OK")
        client.close()


def test_who_waits_too_long_and_who_comes_too_many() -> None:
    with chain(IMAP_MAXPRELOGIN="2", **LOGIN_PROCESSES) as server:
        waiting = [server.greeted(), server.greeted()]
        time.sleep(2.1)                # the grace of the oldest is over
        with server.greeted() as third:
            assert until(waiting[0], b"\r\n").startswith(b"* BYE [UNAVAILABLE] Too many connections")
            third.sendall(b"a LOGIN demo demo\r\n")
            assert b"a OK" in until(third, b"a OK")
        waiting[1].sendall(b"a LOGIN demo demo\r\n")
        assert b"a OK" in until(waiting[1], b"a OK")


def test_an_account_that_cannot_be_served_is_refused_as_a_wrong_password_is(server: Chain) -> None:
    os.rename(server.home / "Maildir", server.home / "elsewhere")
    try:
        with server.greeted() as client:
            client.sendall(b"a LOGIN demo demo\r\n")
            assert until(client, b"\r\n") == b"a NO [AUTHENTICATIONFAILED] Login failed.\r\n"
    finally:
        os.rename(server.home / "elsewhere", server.home / "Maildir")


def test_when_a_login_process_ends() -> None:
    """Its clients before the login are gone; sessions go on, and another one takes its place."""
    with chain(IMAP_LOGIN_PROCESSES="1") as server, server.session() as session, server.greeted() as waiting:
        before, = login_processes(server)
        waiting.sendall(b"a NOOP\r\n")
        assert b"a OK" in until(waiting, b"a OK")      # couriertcpd has greeted it, and that process has it
        os.kill(before, signal.SIGKILL)
        assert waiting.recv(100) == b""
        session.sendall(b"a NOOP\r\n")
        assert b"a OK" in until(session, b"a OK")
        server.wait_log(f"login process {before} ended; 1 clients before their login are gone")
        with server.session():
            assert before not in login_processes(server)


def accepted(port: int) -> bool:
    """Has the listener taken all who have connected?  The kernel tells how many wait."""
    waiting = 0
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(path).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
                waiting += int(words[4].partition(":")[2], 16)
    return not waiting


def test_a_client_that_a_login_process_has_not_seen_is_the_next_ones() -> None:
    with chain(IMAP_LOGIN_PROCESSES="1", IMAP_LOGIN_DELAY="0") as server:
        server.greeted().close()
        server.wait_log("Disconnected")
        before, = login_processes(server)
        os.kill(before, signal.SIGSTOP)
        clients = [server.connect(), server.connect()]
        eventually(lambda: accepted(server.port))
        os.kill(before, signal.SIGKILL)
        server.wait_log(f"login process {before} ended; 0 clients before their login are gone")
        for client in clients:
            assert until(client, b"\r\n").startswith(b"* OK ")
            client.sendall(b"a LOGIN demo demo\r\n")
            assert until(client, b"\r\n").startswith(b"a OK")        # nobody is greeted twice
            client.close()


def test_a_client_is_greeted_while_the_login_processes_are_busy(server: Chain) -> None:
    """And hears the same as one that is greeted by them, which a rule is about."""
    eventually(lambda: len(login_processes(server)) == 2)
    stopped = login_processes(server)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        client = server.connect()
        greeted = until(client, b"\r\n")
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    with client:
        client.sendall(b"a CAPABILITY\r\nb LOGOUT\r\n")
        said = until(client, b"b OK")
        assert said.startswith(b"* CAPABILITY ")
        assert greeted.startswith(b"* OK [" + said[2:said.index(b"\r\n")] + b"]")
        rest = b""
        while piece := client.recv(100):
            rest += piece
        said = greeted + said + rest
        server.wait_log(f", rcvd=24, sent={len(said)}")


def test_a_rule_about_an_address_changes_its_greeting(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("127.0.0.1\tallow,IMAP_CAPABILITY=IMAP4rev1 IDLE\n")
    with chain(f"-access={rules}", **LOGIN_PROCESSES) as server, server.connect() as client:
        greeted = until(client, b"\r\n")
        assert b" IDLE" in greeted and b" QUOTA" not in greeted
        client.sendall(b"a LOGIN demo demo\r\n")
        assert until(client, b"\r\n").startswith(b"a OK")


def test_when_the_helper_ends_no_login_is_lost() -> None:
    with chain(**LOGIN_PROCESSES) as server, server.greeted() as client, server.greeted() as other:
        helper = server.children()[0]
        assert helper not in login_processes(server)
        os.kill(helper, signal.SIGSTOP)
        other.sendall(b"a LOGIN demo demo\r\n")       # it is asked, or found to be gone
        os.kill(helper, signal.SIGKILL)
        client.sendall(b"a LOGIN demo demo\r\n")
        for each in (client, other):
            said = until(each, b"\r\n")
            assert said.startswith(b"a OK"), said
        assert f"password helper {helper} ended" in server.log.read_text()


def test_sigterm() -> None:
    with chain(**LOGIN_PROCESSES) as server, server.greeted() as waiting, server.session() as session:
        server.process.terminate()
        for client in (waiting, session):
            assert until(client, b"\r\n").startswith(b"* BYE ")
        assert server.process.wait(DEADLINE) == 0
        eventually(lambda: not server.processes())


def test_sigkill_leaves_nothing() -> None:
    with chain(**LOGIN_PROCESSES) as server, server.greeted(), server.session():
        server.process.kill()
        server.process.wait(DEADLINE)
        eventually(lambda: not server.processes(), "something is left")


def test_settings_are_read_again_with_clients_at_the_door() -> None:
    with chain(**LOGIN_PROCESSES) as server, server.greeted() as waiting, server.session() as session:
        old = login_processes(server)
        server.hup(1)
        waiting.sendall(b"a LOGIN demo demo\r\nb NOOP\r\n")
        assert b"b OK" in until(waiting, b"b OK")
        session.sendall(b"a NOOP\r\n")
        assert b"a OK" in until(session, b"a OK")
        with server.session():
            eventually(lambda: not set(old) & set(login_processes(server)), "the old ones stay")
        assert ": ERR: " not in server.log.read_text()


# -- behind TLS

@pytest.fixture(scope="module")
def secure(certificate: Path) -> Iterator[Chain]:
    with chain("-tls", TLS_CERTFILE=str(certificate), IMAP_TLS="1", TLS_PROTOCOL="TLSv1.2",
               **LOGIN_PROCESSES) as running:
        yield running


def by_tls(server: Chain, certificate: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
           ) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    context.maximum_version = version
    client = context.wrap_socket(server.connect(), server_hostname="localhost")
    assert until(client, b"\r\n").startswith(b"* OK ")
    return client


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_behind_tls(secure: Chain, certificate: Path, version: ssl.TLSVersion) -> None:
    with by_tls(secure, certificate, version) as client:
        client.sendall(b"a LOGIN demo demo\r\nb SELECT INBOX\r\nc FETCH 1:* BODY[]\r\n")
        said = until(client, b"c OK")
        assert b"a OK LOGIN Ok." in said and said.count(b" FETCH (BODY[] ") == 4
        message = b"Subject: large\r\n\r\n" + b"0123456789abcde\r\n" * 200_000
        client.sendall(b"d APPEND INBOX {%d+}\r\n" % len(message) + message + b"\r\n")
        assert b"d OK" in until(client, b"d OK")
        client.sendall(b"e FETCH 5 BODY.PEEK[]\r\nf STORE 5 +FLAGS.SILENT (\\Deleted)\r\n"
                       b"g EXPUNGE\r\nh LOGOUT\r\n")
        said = until(client, b"h OK")
        assert message in said and b"g OK" in said
        while client.recv(100):
            continue                   # ends by close_notify: SSLEOFError else


def test_a_session_behind_tls_sleeps(certificate: Path) -> None:
    with chain("-tls", TLS_CERTFILE=str(certificate), IMAP_TLS="1", IMAP_REUSE="no",
               **LOGIN_PROCESSES) as server, by_tls(server, certificate) as client:
        client.sendall(b"a LOGIN demo demo\r\nb SELECT INBOX\r\nc IDLE\r\n")
        until(client, b"+ ")
        sessions = [pid for pid in server.children() if status(pid).get("NoNewPrivs") == "0"]
        eventually(lambda: len([pid for pid in server.children() if pid in sessions]) < len(sessions),
                   "it stays awake")
        (server.home / "Maildir" / "new" / "1.x.y").write_bytes(b"Subject: new\n\n")
        assert b"* 5 EXISTS" in until(client, b"EXISTS\r\n")
        client.sendall(b"DONE\r\nd LOGOUT\r\n")
        assert b"d OK" in until(client, b"d OK")


def test_a_client_that_goes_without_a_word(secure: Chain, certificate: Path) -> None:
    client = by_tls(secure, certificate)
    client.sendall(b"a LOGIN demo demo\r\n")
    until(client, b"a OK")
    count = secure.log.read_text().count(" DISCONNECTED, ")
    socket.socket(fileno=client.detach()).close()
    secure.wait_log(" DISCONNECTED, ", count + 1)


def test_what_is_no_handshake(secure: Chain, certificate: Path) -> None:
    for octets in (b"a LOGIN demo demo\r\n", b"\x16\x03\x01", b""):
        client = secure.connect()
        client.sendall(octets)
        client.shutdown(socket.SHUT_WR)
        while client.recv(100):
            continue
        client.close()
    with by_tls(secure, certificate) as client:
        client.sendall(b"a LOGIN demo demo\r\n")
        assert b"a OK" in until(client, b"a OK")
    assert "Traceback" not in secure.log.read_text()


def test_when_a_login_process_ends_its_sessions_by_tls_do_too(certificate: Path) -> None:
    with chain("-tls", TLS_CERTFILE=str(certificate), IMAP_TLS="1", IMAP_LOGIN_PROCESSES="1") as server, \
            by_tls(server, certificate) as client:
        client.sendall(b"a LOGIN demo demo\r\n")
        until(client, b"a OK")
        os.kill(login_processes(server)[0], signal.SIGKILL)
        server.wait_log(" DISCONNECTED, ")
        with by_tls_soon(server, certificate):
            pass


def by_tls_soon(server: Chain, certificate: Path) -> ssl.SSLSocket:
    server.wait_log("login process")
    return by_tls(server, certificate)


# -- a login process in other hands



def test_a_login_process_in_other_hands(tmp_path: Path) -> None:
    """It says what it likes on its channels: sessions there are for tickets of its own, and once."""
    script = tmp_path / "script"
    script.write_text(INTRUDER)
    with chain(before=f"exec(compile(open({str(script)!r}).read(), 'intruder', 'exec'))",
               IMAP_LOGIN_PROCESSES="1", IMAP_LOGIN_DELAY="0") as server:
        client = server.connect()
        said = until(client, b"END\r\n")
        assert said.split(b"\r\n")[1:-1] == [        # behind the greeting
            b"no ticket: F", b"a guessed ticket: F", b"clear password: R", b"external: R", b"kinds: R R",
            b"wrong password: R", b"right password: G", b"for another client: F", b"once: F",
            b"given, wrong password: R", b"given, for another client: B ''", b"its own: S", b"again: F",
            b"given, again: B ''", b"END"]
        log = server.log.read_text()
        assert log.count("wants a session without a ticket of its own") == 4
        assert "Traceback" not in log


INTRUDER = r"""
import os, select, socket, struct
from courierpy.login import process
from courierpy.system import channels, passing

def wait(end):
    poll = select.poll()
    poll.register(end, select.POLLIN)
    poll.poll()
    return passing.receive(end)

def run(link, *rest):
    passing.send(link, [channels.HEAD.pack(channels.READY, 0)])
    helper = client = None
    while helper is None or client is None:
        data, fds = wait(link)
        letter, number = channels.HEAD.unpack_from(data)
        if letter == channels.HELPER:
            helper = socket.socket(fileno=fds[0])
        elif letter == channels.GREETED:
            client, mine = socket.socket(fileno=fds[0]), number

    def says(what, *found):
        client.send(what.encode() + b": " + b" ".join(found) + b"\r\n")

    def start(number, ticket):
        a, b = socket.socketpair()
        passing.send(link, [channels.STARTS.pack(channels.START, number, ticket, 0), b"", b"a LOGOUT\r\n"],
                     (b.fileno(),))
        return wait(link)[0][:1]

    def ask(kind, data, number=[0]):
        number[0] += 1
        passing.send(helper, [channels.QUESTION.pack(number[0], kind), data])
        found, _ = wait(helper)
        _, said = channels.QUESTION.unpack_from(found)
        return said, found[channels.QUESTION.size:]

    def login(user, password, kind="login"):
        body = f"imap\n{kind}\n{user}\n{password}\n".encode()
        return ask(channels.ASK, b"USERDB=/tmp/own\nAUTH %d\n" % len(body) + body)

    def given(number, password):
        body = f"imap\nlogin\ndemo\n{password}\n".encode()
        said = channels.GRANTED
        while said == channels.GRANTED:        # by the helper itself, as the worker is not there yet
            a, b = socket.socketpair()
            asked = channels.QUESTION.pack(4711, channels.ASK_FOR)
            passing.send(helper, [asked, channels.FOR.pack(number, 0),
                                  b"AUTH %d\n" % len(body) + body], (b.fileno(),))
            b.close()
            _, said = channels.QUESTION.unpack_from(wait(helper)[0])
        return said, *([repr(a.recv(100))[1:].encode()] if said == channels.BEGUN else [])

    says("no ticket", start(mine, bytes(16)))
    says("a guessed ticket", start(mine, os.urandom(16)))
    said, text = ask(channels.ASK, b"PRE . imap demo\n")
    says("clear password", said)
    variables = channels.pack({"service": "imap", "external": "demo", "mechanism": "EXTERNAL"})
    says("external", ask(channels.BEGIN, channels.BEGINS.pack(len(variables), 0, True) + variables)[0])
    says("kinds", login("demo", "demo", "passwd")[0], login("demo", "x", "pre")[0])
    says("wrong password", login("demo", "wrong")[0])
    said, text = login("demo", "demo")
    says("right password", said)
    ticket = text.partition(b"\0")[2][:16]
    says("for another client", start(mine + 1, ticket))
    says("once", start(mine, ticket))
    says("given, wrong password", *given(mine, "wrong"))
    says("given, for another client", *given(mine + 1, "demo"))
    ticket = login("demo", "demo")[1].partition(b"\0")[2][:16]
    says("its own", start(mine, ticket))
    says("again", start(mine, ticket))
    says("given, again", *given(mine, "demo"))
    client.send(b"END\r\n")
    wait(link)
    return 0

process.run = run
"""


# -- behind a proxy

LINE = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 143\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def test_a_proxy_says_who_comes(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("192.0.2.9\tdeny\n")
    with chain("-haproxy=20", "-maxperip=2", f"-access={rules}", **LOGIN_PROCESSES) as server, \
            ExitStack() as stack:
        def comes(*pieces: bytes) -> socket.socket:
            client = stack.enter_context(server.connect())
            for piece in pieces:
                client.sendall(piece)
            return client

        one = comes(*(LINE[at:at + 1] for at in range(len(LINE))))
        assert until(one, b"\r\n").startswith(b"* OK ")
        two = comes(LINE + b"a LOGIN demo demo\r\n")
        assert b"a OK" in until(two, b"a OK")
        server.wait_log("LOGIN, user=demo, ip=[::ffff:192.0.2.7], port=[4711]")
        assert comes(LINE).recv(100) == b""            # the third of its address
        for _ in range(5):                             # the proxy itself has no limit, nor have others
            other = comes(SIGNATURE + b"\x21\x11\0\x0c" + os.urandom(4) + b"\xc0\0\2\1" + b"\x12\x34\0\x8f")
            assert until(other, b"\r\n").startswith(b"* OK ")
        assert comes(LINE.replace(b"2.7 ", b"2.9 ")).recv(100) == b""
        assert comes(b"a NOOP\r\n").recv(100) == b""
        server.wait_log("no PROXY header")
        check = comes(SIGNATURE + b"\x20\0\0\0")      # the proxy looks whether we live
        assert until(check, b"\r\n").startswith(b"* OK ")
        two.sendall(b"b LOGOUT\r\n")
        while two.recv(100):
            continue
        eventually(lambda: b"* OK" in comes(LINE).recv(100), "it counts no more")


def test_a_proxy_before_tls(certificate: Path) -> None:
    """Header and handshake in one segment."""
    context = ssl.create_default_context(cafile=str(certificate))
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(inward, outward, server_hostname="localhost")
    with chain("-tls", "-haproxy=20", TLS_CERTFILE=str(certificate), IMAP_TLS="1",
               **LOGIN_PROCESSES) as server, server.connect() as raw:
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        raw.sendall(LINE + outward.read())
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outward.read())
                inward.write(raw.recv(65536))
        raw.sendall(outward.read())
        client.write(b"a LOGIN demo demo\r\n")
        raw.sendall(outward.read())
        server.wait_log("LOGIN, user=demo, ip=[::ffff:192.0.2.7], port=[4711]")


# -- names and lists of the DNS

NAMES = """
import os, socket
from courierpy.listener import dnslists, lookups
def asked(name):
    assert os.getpid() != os.getppid() and "NoNewPrivs:\t1" in open("/proc/self/status").read()
    if name.startswith("8."):
        os._exit(1)
    if name.startswith("6."):
        raise ValueError("odd")
    return (["127.0.0.2"], "seen\x07 there") if name.startswith("5.") else ([], "")
dnslists._ask = asked
"""


def test_lists_of_the_dns_are_asked_by_a_process_of_their_own(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("127.0.0.7\tallow,BLOCK=\n")      # whatever a list says
    with chain("-block=bl.test", "-drop", "-denymsg=blocked", f"-access={rules}", before=NAMES,
               **LOGIN_PROCESSES) as server, ExitStack() as stack:
        def comes(source: str) -> socket.socket:
            client = stack.enter_context(
                socket.create_connection(("127.0.0.1", server.port), DEADLINE, (source, 0)))
            client.settimeout(DEADLINE)
            return client

        for _ in range(2):
            assert until(comes("127.0.0.5"), b"never") == b"blocked\n"
            for welcome in ("127.0.0.4", "127.0.0.6", "127.0.0.7"):
                assert until(comes(welcome), b"\r\n").startswith(b"* OK ")
            # the process ends at that, and who waited comes in
            assert until(comes("127.0.0.8"), b"\r\n").startswith(b"* OK ")
            eventually(lambda: until(comes("127.0.0.5"), b"\n") == b"blocked\n", "nobody asks again")
        log = server.log.read_text()
        assert log.count("a name cannot be looked up: ValueError: odd") == 2
        assert "the process that asks for names ended" in log
        client = comes("127.0.0.4")
        client.sendall(b"a LOGIN demo demo\r\n")
        assert b"a OK" in until(client, b"a OK")


def test_lists_of_the_dns_hear_of_who_is_behind_a_proxy() -> None:
    with chain("-block=bl.test", "-drop", "-denymsg=blocked", "-haproxy=20", before=NAMES,
               **LOGIN_PROCESSES) as server:
        for end, welcome in ((b"7", True), (b"5", False)):
            with server.connect() as client:
                client.sendall(LINE.replace(b"2.7 ", b"2." + end + b" "))
                said = until(client, b"\r\n")
                assert said.startswith(b"* OK ") if welcome else said == b""


# -- what ps shows

def test_ps_shows_what_each_process_is() -> None:
    pytest.importorskip("setproctitle")
    with chain(IMAP_PROCTITLE="1", **LOGIN_PROCESSES) as server, server.greeted(), \
            server.session(b"SELECT INBOX") as session:
        def shown() -> set[str]:
            pids = subprocess.run(["ps", "-o", "args=", "--ppid", str(server.process.pid)],
                                  capture_output=True, text=True, check=False)
            return {line.strip() for line in pids.stdout.splitlines()}

        prefix = "imapd demo [::ffff:127.0.0.1]"
        eventually(lambda: {f"{prefix} INBOX", "couriertcpd: password helper", "imaplogin (1 connections)",
                            "imaplogin (0 connections)"} <= shown())
        session.sendall(b"a CLOSE\r\nb IDLE\r\n")
        until(session, b"+ ")
        eventually(lambda: f"{prefix} - IDLE" in shown() or "couriertcpd: keeper (1 connections)" in shown())
        command = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
        assert command.rstrip(b"\0") == b"couriertcpd %d" % server.port


@pytest.mark.parametrize("said", ["os.environ[name] = 'special'",
                                  "open({rules!r}, 'w').write('127.0.0.1\\tallow,' + name + '=special')"])
def test_the_service_is_the_one_that_the_port_or_a_rule_has(tmp_path: Path, said: str) -> None:
    rules = tmp_path / "rules"
    rules.write_text("")
    before = "import os\nname = 'AUTHSERVICE' + next(word for word in sys.argv if word.isdigit())\n"
    before += said.format(rules=str(rules))
    with chain(f"-access={rules}", before=before, **LOGIN_PROCESSES) as server:
        uid, gid = account_ids()
        with (server.home / "userdb").open("a") as file:
            file.write(f"ann\tuid={uid}|gid={gid}|home={server.home}|mail=Maildir|imappw={{SHA}}x"
                       "|specialpw={MD5RAW}098f6bcd4621d373cade4e832627b4f6\n")
        for command in (b"LOGIN ann test", b"AUTHENTICATE PLAIN AGFubgB0ZXN0"):
            with server.greeted() as client:
                client.sendall(b"a " + command + b"\r\n")
                assert until(client, b"\r\n").startswith(b"a OK ")


@pytest.mark.parametrize("tls", ["0", "1"])
def test_the_greeting_tells_what_is_told_then(tls: str) -> None:
    """Also where TLS ends somewhere before us."""
    with chain(IMAP_TLS=tls, IMAP_CAPABILITY="IMAP4rev1", IMAP_CAPABILITY_TLS="IMAP4rev1 AUTH=CRAM-MD5",
               **LOGIN_PROCESSES) as server, server.connect() as client:
        words = until(client, b"\r\n").partition(b"[CAPABILITY ")[2].partition(b"]")[0]
        client.sendall(b"a CAPABILITY\r\n")
        assert until(client, b"a OK").startswith(b"* CAPABILITY " + words + b"\r\n")
        assert (b"AUTH=CRAM-MD5" in words) is (tls == "1")
