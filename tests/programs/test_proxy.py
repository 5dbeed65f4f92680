"""Logins that are sent on to the host that an account's mail is at: servers on loopback."""
from __future__ import annotations

import imaplib
import os
import poplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from courierpy.admin import mkcert
from courierpy.system import haproxy
from tests.conftest import of_mode, until
from tests.programs.chain import DEADLINE, Chain, chain, eventually
from tests.programs.test_doorway import INTRUDER, login_processes, status

pytestmark = pytest.mark.server
IMAP = ("imaplogin", "imapd", "Maildir")
POP3 = ("pop3login", "pop3d", "Maildir")


def account(front: Chain, name: str, host: str) -> None:
    """One more user of ``front``, password demo, whose mail is at ``host``: with no home here."""
    userdb = front.home / "userdb"
    row = next(line for line in userdb.read_text().splitlines() if line.startswith("demo\t"))
    fields = [field for field in row.split("\t", 1)[1].split("|") if not field.startswith("home=")]
    text = "|".join([*fields, "home=/nonexistent", f"options=mailhost={host}"])
    others = [line for line in userdb.read_text().splitlines() if not line.startswith(f"{name}\t")]
    write(front, [*others, f"{name}\t{text}"])


class Proxied:
    """``front`` sends on; ``back`` has the mail of demo."""

    def __init__(self, front: Chain, back: Chain) -> None:
        self.front = front
        self.back = back
        account(front, "moved", f"127.0.0.1:{back.port}")

    def login(self, user: bytes = b"moved", rest: bytes = b"") -> tuple[socket.socket, bytes]:
        return log_in(self.front, user, rest)


def log_in(front: Chain, user: bytes = b"moved", rest: bytes = b"") -> tuple[socket.socket, bytes]:
    """The client, and the line that answers it: what follows that is there to be read."""
    client = front.greeted()
    client.sendall(b"a LOGIN %s demo\r\n%s" % (user, rest))
    return client, line_of(client)


def line_of(client: socket.socket) -> bytes:
    """One line, and no octet of what follows it."""
    line = b""
    while not line.endswith(b"\n"):
        octet = client.recv(1)
        assert octet, line
        line += octet
    return line


def again(back: Chain, name: str) -> None:
    """The user demo of ``back`` by one more name."""
    rows = (back.home / "userdb").read_text().splitlines()
    rows += [row.replace("demo\t", f"{name}\t", 1) for row in rows if row.startswith("demo\t")]
    write(back, rows)


def write(server: Chain, rows: list[str]) -> None:
    """The whole userdb at once: nobody reads half of it."""
    fresh = server.home / "userdb.fresh"
    fresh.touch(0o600)
    fresh.write_text("\n".join(rows) + "\n")
    fresh.rename(server.home / "userdb")


@contextmanager
def proxied(program: tuple[str, ...] = IMAP, back: dict[str, str] | None = None,
            options: tuple[str, ...] = (), back_options: tuple[str, ...] = (),
            **settings: str) -> Iterator[Proxied]:
    name = "POP3_PROXY" if program == POP3 else "IMAP_PROXY"
    with ExitStack() as stack:
        behind = stack.enter_context(chain(*back_options, program=program, IMAP_LOGIN_DELAY="0",
                                           **(back or {})))
        front = stack.enter_context(chain(*options, program=program, IMAP_LOGIN_DELAY="0", **{name: "1"},
                                          **settings))
        again(behind, "moved")
        yield Proxied(front, behind)


# a process for each connection, and login processes
WAYS = {"alone": {"IMAP_LOGIN_PROCESSES": "0"}, "doorway": {"IMAP_LOGIN_PROCESSES": "2"}}


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> dict[str, str]:
    return WAYS[request.param]


@pytest.fixture(scope="module")
def plain(way: dict[str, str]) -> Iterator[Proxied]:
    with proxied(PROXY_ORIGIN="id", PROXY_TIMEOUT="50", **way) as found:
        yield found


@pytest.fixture(scope="module")
def hasty(way: dict[str, str]) -> Iterator[Chain]:
    """One that waits for no host longer than a second."""
    with chain(IMAP_PROXY="1", IMAP_LOGIN_DELAY="0", PROXY_TIMEOUT="1", **way) as found:
        yield found


class Host(threading.Thread):
    """One that is no mail server, for a try or more: ``answer`` has each connection.  ``heard``: of all."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        super().__init__(daemon=True)
        self.answer = answer
        self.heard = b""
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.start()

    def run(self) -> None:
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            with client:
                client.settimeout(DEADLINE)
                try:
                    self.answer(client)
                    while data := client.recv(65536):
                        self.heard += data
                except OSError:
                    continue

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()


def hosts() -> Iterator[Callable[[Callable[[socket.socket], None]], Host]]:
    made: list[Host] = []

    def make(answer: Callable[[socket.socket], None]) -> Host:
        made.append(Host(answer))
        return made[-1]
    yield make
    for each in made:
        each.close()


host = pytest.fixture(name="host")(hosts)


def test_a_session_at_another_host(plain: Proxied) -> None:
    """What follows the login in the same packet is done once, there, in order; what the login's answer says
    that the server can is what the other says."""
    client, said = plain.login(rest=b"b ENABLE QRESYNC\r\nc SELECT INBOX\r\nd NOOP\r\ne FETCH 1 (UID)\r\n")
    assert said.startswith(b"a OK [CAPABILITY IMAP4rev1 "), said
    assert said.endswith(b"] connected to proxy server.\r\n"), said
    rest = until(client, b"e OK")
    places = [rest.index(word) for word in (b"* ENABLED QRESYNC", b"b OK", b"c OK", b"d OK", b"* 1 FETCH (")]
    assert places == sorted(places) and rest.count(b"* ENABLED") == 1
    direct = plain.back.greeted()
    direct.sendall(b"a LOGIN demo demo\r\nb CAPABILITY\r\n")
    own = until(direct, b"b OK").partition(b"* CAPABILITY ")[2].partition(b"\r\n")[0]
    assert own in said
    # and as long as it lasts: literals, IDLE, the end
    message = b"Subject: moved\r\n\r\n" + b"x" * 100_000 + b"\r\n"
    client.sendall(b"f APPEND INBOX {%d}\r\n" % len(message))
    assert until(client, b"\r\n").startswith(b"+ ")
    client.sendall(message + b"\r\n")
    until(client, b"f OK")
    client.sendall(b"g IDLE\r\n")
    until(client, b"+ ")
    direct.sendall(b"c SELECT INBOX\r\nd STORE 1 +FLAGS (\\Flagged)\r\n")
    until(direct, b"d OK")
    assert b"\\Flagged" in until(client, b"\\Flagged")
    client.sendall(b"DONE\r\nh LOGOUT\r\n")
    assert b"* BYE" in until(client, b"h OK")
    while client.recv(4096):
        continue
    client.close()
    direct.close()
    assert f"protocol=IMAP, proxy=127.0.0.1:{plain.back.port}" in plain.front.wait_log("LOGIN, user=moved")
    plain.front.wait_log("DISCONNECTED, user=moved")


def test_no_process_of_the_front_keeps_a_right(plain: Proxied, way: dict[str, str]) -> None:
    """The one that carries is nobody, and has neither the way to the listener nor a Maildir; it is a login
    process where there are any."""
    with plain.front.greeted():        # all that serve any client are there by then
        before = set(plain.front.children())
    client, said = plain.login()
    assert said.startswith(b"a OK")
    plain.front.wait_log("LOGIN, user=moved")
    fresh = set(plain.front.children()) - before
    if way is WAYS["alone"]:
        carries = min(fresh)
        assert fresh == {carries}
    else:
        log = plain.front.wait_log("LOGIN, user=moved")
        carries = int(log.rpartition(": LOGIN, user=moved")[0].rpartition("imaplogin[")[2].rstrip("]"))
        eventually(lambda: carries in login_processes(plain.front))

    eventually(lambda: status(carries)["NoNewPrivs"] == "1")
    assert "0" not in status(carries)["Uid"].split() or os.getuid() != 0
    client.close()


def test_it_is_told_who_the_client_is(plain: Proxied) -> None:
    """ID of its own goes with the login; what it says of another address does not."""
    client = plain.front.greeted()
    client.sendall(b'x ID ("name" "thunderpig" "x-originating-ip" "203.0.113.9")\r\na LOGIN moved demo\r\n')
    until(client, b"a OK")
    log = plain.back.wait_log("thunderpig")
    line = next(line for line in log.splitlines() if "thunderpig" in line)
    assert "name=thunderpig, x-proxy-ttl=4, x-originating-ip=::ffff:127.0.0.1" in line
    assert "203.0.113.9" not in line
    client.close()
    # nor is anybody believed who says so to the host himself
    client = plain.back.greeted()
    client.sendall(b'x ID ("x-originating-ip" "203.0.113.9")\r\na LOGIN demo demo\r\n')
    until(client, b"a OK")
    assert "LOGIN, user=demo, ip=[::ffff:127.0.0.1]" in plain.back.wait_log("LOGIN, user=demo")
    assert "ip=[203.0.113.9]" not in plain.back.log.read_text()
    client.close()


def test_who_has_mail_here_is_served_here(plain: Proxied) -> None:
    client, said = plain.login(b"demo")
    assert b"connected to proxy" not in said and said.startswith(b"a OK")
    plain.front.wait_log("proxy enabled, but no proxy host defined for demo")
    client.close()


@pytest.mark.parametrize("said", [b"", b"* BYE too many\r\n", b"HTTP/1.1 400\r\n\r\n", b"* OK [CAPABILITY X",
                                  b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] no\r\n"])
@pytest.mark.parametrize("closes", [True, False])
def test_a_host_that_is_no_good(hasty: Chain, host: Callable[..., Host], said: bytes, closes: bool) -> None:
    """Also one that says nothing more.  It hears no password; the client is told, and may go on."""
    def answer(client: socket.socket) -> None:
        client.sendall(said)
        if closes:
            client.shutdown(socket.SHUT_WR)
    bad = host(answer)
    account(hasty, "bad", f"127.0.0.1:{bad.port}")
    client, heard = log_in(hasty, b"bad", b"b LOGIN demo demo\r\n")
    assert heard.startswith(b"a NO [UNAVAILABLE] "), heard
    assert line_of(client).startswith(b"b OK")
    client.close()
    assert b"demo" not in bad.heard
    hasty.wait_log(f"Login to 127.0.0.1:{bad.port} failed: ")


def test_a_host_that_closes_behind_the_password(plain: Proxied, host: Callable[..., Host]) -> None:
    def answer(client: socket.socket) -> None:
        client.sendall(b"* OK [CAPABILITY IMAP4rev1] hi\r\n")
        assert b"LOGIN" in until(client, b"\r\n")
        client.shutdown(socket.SHUT_WR)
    bad = host(answer)
    account(plain.front, "bad", f"127.0.0.1:{bad.port}")
    client, heard = plain.login(b"bad", b"b LOGIN moved demo\r\n")
    assert heard.startswith(b"a NO [UNAVAILABLE] "), heard
    assert line_of(client).startswith(b"b OK")
    client.close()


def test_the_next_host_of_several(plain: Proxied, host: Callable[..., Host]) -> None:
    """One is down, one hangs up; the third one has the mail."""
    rude = host(lambda client: client.shutdown(socket.SHUT_WR))
    with socket.socket() as down:
        down.bind(("127.0.0.1", 0))                # and nobody listens
        ports = down.getsockname()[1], rude.port, plain.back.port
        account(plain.front, "many", ",".join(f"127.0.0.1:{port}" for port in ports))
        again(plain.back, "many")
        client, heard = plain.login(b"many")
    assert heard.startswith(b"a OK"), heard
    client.close()


def test_a_password_that_is_another_there(plain: Proxied) -> None:
    account(plain.front, "stranger", f"127.0.0.1:{plain.back.port}")
    client, heard = plain.login(b"stranger", b"b NOOP\r\n")
    assert heard == b"a NO [AUTHENTICATIONFAILED] Login failed.\r\n"
    assert line_of(client).startswith(b"b OK")
    client.close()
    plain.front.wait_log("LOGIN FAILED, user=stranger")


def test_a_host_that_is_this_one(plain: Proxied) -> None:
    """By an address that PROXY_HOSTNAME does not say."""
    account(plain.front, "loop", f"127.0.0.1:{plain.front.port}")
    client, heard = plain.login(b"loop", b"b NOOP\r\n")
    assert heard.startswith(b"a NO [UNAVAILABLE] ")
    assert line_of(client).startswith(b"b OK")
    client.close()
    log = plain.front.wait_log("it is this server itself")
    assert log.count("it is this server itself") == 1


@pytest.mark.parametrize("how", ["starttls", "tls"])
def test_tls_to_the_host(how: str, way: dict[str, str], tmp_path: Path) -> None:
    """And from the client: deciphered here, and enciphered anew.  PROXY_TRUSTCERTS decides."""
    good, other = tmp_path / "good", tmp_path / "other"
    mkcert.make(str(good), "localhost")
    mkcert.make(str(other), "localhost")
    with proxied(back={"TLS_CERTFILE": str(good), "IMAP_STARTTLS": "YES"},
                 back_options=("-tls",) if how == "tls" else (), options=("-tls",), TLS_CERTFILE=str(other),
                 PROXY_TLS=how, PROXY_TRUSTCERTS=str(good), PROXY_TIMEOUT="10", **way) as found:
        account(found.front, "moved", f"localhost:{found.back.port}")
        unchecked = ssl.create_default_context()
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
        client = imaplib.IMAP4_SSL("127.0.0.1", found.front.port, ssl_context=unchecked, timeout=DEADLINE)
        client.login("moved", "demo")
        client.select()
        message = b"Subject: large\r\n\r\n" + b"y" * 78 * 20_000 + b"\r\n"
        assert client.append("INBOX", "", "", message)[0] == "OK"
        count = client.select()[1][0].decode()
        assert message in client.fetch(count, "(BODY.PEEK[])")[1][0]
        client.logout()
        assert "starttls=1" in found.back.wait_log("LOGOUT, user=moved")


def test_a_session_here_after_a_login_that_no_host_took(way: dict[str, str], tmp_path: Path) -> None:
    """By one connection: the session is told apart from the one that was sought."""
    shown = tmp_path / "shown"
    mkcert.make(str(shown), "localhost")
    with chain("-tls", IMAP_PROXY="1", IMAP_LOGIN_DELAY="0", TLS_CERTFILE=str(shown), **way) as front:
        account(front, "moved", "127.0.0.1:0")
        unchecked = ssl.create_default_context()
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
        client = imaplib.IMAP4_SSL("127.0.0.1", front.port, ssl_context=unchecked, timeout=DEADLINE)
        with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
            client.login("moved", "demo")
        client.login("demo", "demo")
        assert client.select()[0] == "OK"
        client.logout()


def test_the_proxy_protocol_to_the_host(way: dict[str, str]) -> None:
    """Ahead of TLS and of everything else; another server of ours takes it."""
    with proxied(back_options=("-haproxy=20",), PROXY_ORIGIN="proxy", back=of_mode(), **way) as found:
        client, heard = found.login()
        assert heard.startswith(b"a OK"), heard
        port = client.getsockname()[1]
        log = found.back.wait_log("LOGIN, user=moved")
        assert f"LOGIN, user=moved, ip=[::ffff:127.0.0.1], port=[{port}]" in log
        client.close()


def test_a_header_of_the_proxy_protocol_comes_first(way: dict[str, str],
                                                    host: Callable[..., Host]) -> None:
    heard: list[bytes] = []

    def answer(client: socket.socket) -> None:
        heard.append(until(client, b"LOGIN") if client.send(b"* OK [CAPABILITY IMAP4rev1] hi\r\n") else b"")
        client.shutdown(socket.SHUT_WR)
    with chain(IMAP_PROXY="1", PROXY_ORIGIN="proxy", **way) as front:
        there = host(answer)
        account(front, "moved", f"127.0.0.1:{there.port}")
        client = front.greeted()
        port = client.getsockname()[1]
        client.sendall(b"a LOGIN moved demo\r\n")
        assert until(client, b"\r\n").startswith(b"a NO [UNAVAILABLE]")
        client.close()
    cut = haproxy.cut(heard[0])
    assert cut is not None and cut[0] is not None
    assert cut[0].remote == ("127.0.0.1", port) and cut[0].local == ("127.0.0.1", front.port)
    assert cut[1].startswith(b"p1 LOGIN")


def test_a_login_process_in_other_hands(tmp_path: Path, host: Callable[..., Host]) -> None:
    """It has connections to the hosts of accounts whose password it was given, each once, and no sessions of
    these accounts here."""
    script = tmp_path / "script"
    script.write_text(INTRUDER.partition('    says("no ticket"')[0] + STEPS)
    there = host(lambda client: client.sendall(b"it is there\r\n"))
    with chain(before=f"exec(compile(open({str(script)!r}).read(), 'intruder', 'exec'))", IMAP_PROXY="1",
               IMAP_LOGIN_PROCESSES="1", IMAP_LOGIN_DELAY="0") as front:
        account(front, "moved", f"127.0.0.1:{there.port}")
        client = front.connect()
        said = until(client, b"END\r\n")
        client.close()
        assert said.split(b"\r\n")[1:-1] == [
            b"no ticket: F", b"carries: F", b"of a user that is here: F", b"a second host: F", b"its host: O",
            b"which says: it is there", b"again: F", b"a session here: F", b"another ticket: F",
            b"another one: O", b"carries now: S", b"twice: F", b"END"], said
        log = front.log.read_text()
        assert log.count("wants to lead on to a host that is not its client's") == 3
        assert "Traceback" not in log


STEPS = r"""
    def connect(ticket, which=0, seconds=5.0):
        passing.send(link, [channels.CONNECTS.pack(channels.CONNECT, mine, ticket, which, seconds)])
        data, fds = wait(link)
        told = channels.HEAD.size
        assert not fds or data[told:told + 16] == ticket
        return data[:1], fds

    def carries():
        passing.send(link, [channels.HEAD.pack(channels.CARRIES, mine)])
        return wait(link)[0][:1]

    def granted(user):
        return login(user, "demo")[1].partition(b"\0")[2][:16]

    says("no ticket", connect(bytes(16))[0])
    says("carries", carries())
    says("of a user that is here", connect(granted("demo"))[0])
    ticket = granted("moved")
    says("a second host", connect(ticket, 1)[0])
    said, fds = connect(ticket)
    says("its host", said)
    made = socket.socket(fileno=fds[0])
    made.setblocking(True)
    says("which says", made.recv(11))
    says("again", connect(ticket)[0])
    says("a session here", start(mine, ticket))
    says("another ticket", connect(os.urandom(16))[0])
    says("another one", connect(granted("moved"))[0])
    says("carries now", carries())
    says("twice", carries())
    client.send(b"END\r\n")
    wait(link)
    return 0

process.run = run
"""


def test_pop3(way: dict[str, str]) -> None:
    with proxied(program=POP3, **way) as found:
        pop = poplib.POP3("127.0.0.1", found.front.port, timeout=DEADLINE)
        pop.user("moved")
        assert pop.pass_("demo") == b"+OK connected to proxy server."
        direct = poplib.POP3("127.0.0.1", found.back.port, timeout=DEADLINE)
        direct.user("demo")
        direct.pass_("demo")
        assert pop.uidl()[1] == direct.uidl()[1] and pop.retr(1)[1] == direct.retr(1)[1]
        pop.quit()
        direct.quit()
        found.front.wait_log("protocol=POP3, proxy=127.0.0.1")
        account(found.front, "loop", f"127.0.0.1:{found.front.port}")
        pop = poplib.POP3("127.0.0.1", found.front.port, timeout=DEADLINE)
        pop.user("loop")
        with pytest.raises(poplib.error_proto, match=r"\[SYS/TEMP\] The server of your mail "):
            pop.pass_("demo")
        # in one packet, behind a login that failed
        pop.sock.sendall(b"USER moved\r\nPASS demo\r\nSTAT\r\n")
        assert line_of(pop.sock) == b"+OK Password required.\r\n"
        assert line_of(pop.sock) == b"+OK connected to proxy server.\r\n"
        assert line_of(pop.sock).startswith(b"+OK ")
        pop.close()
