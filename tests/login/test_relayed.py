"""A relay between a client's TLS and a session, each of which may be slow, loud, gone, or half closed."""
from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from courierpy.admin import mkcert
from courierpy.login.relayed import Relay
from courierpy.login.wire import MARK_OCTETS, Wire
from courierpy.system import tls
from courierpy.system.conn import TAKES, WRITE_TIMEOUT
from courierpy.system.settings import Settings
from courierpy.system.tlsmemory import Keys, ServerTls

LARGE = bytes(range(256)) * 4096                       # octets: more than any buffer on the way


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> tls.Certificates:
    path = tmp_path_factory.mktemp("tls") / "imapd.pem"
    mkcert.make(str(path), "localhost")
    return tls.Certificates(Settings({"TLS_CERTFILE": str(path), "IMAP_CAPABILITY": "IMAP4rev1"}))


class Between:
    """``client``: the client's TLS, over memory too; ``outer``: its socket; ``session``: the session's
    end."""

    def __init__(self, offered: tls.Certificates, version: ssl.TLSVersion) -> None:
        ours, self.outer = socket.socketpair()
        self.outer.setblocking(False)
        inner, self.session = socket.socketpair()
        inner.setblocking(False)
        self.session.setblocking(False)
        wire = Wire(ours)
        wire.tls = ServerTls(offered, Keys(offered), "")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = version
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = context.wrap_bio(self._in, self._out)
        self.relay = Relay(1, wire, inner, b"")
        while not wire.tls.handshake() or not self._shaken():
            self._shaken()
            self.send()
            wire.tls.feed(wire.receive())
            wire.tls.handshake()
            wire.flush()
            self.fetch()

    def _shaken(self) -> bool:
        try:
            self.client.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def send(self) -> None:
        """What the client's TLS has made, to its socket."""
        data = self._out.read()
        if data:
            assert self.outer.send(data) == len(data)

    def fetch(self) -> int:
        """What is at the client's socket, to its TLS; the octets."""
        try:
            data = self.outer.recv(1 << 20)
        except BlockingIOError:
            return 0
        self._in.write(data)
        if not data:
            self._in.write_eof()
        return len(data)

    def says(self, data: bytes) -> None:
        self.client.write(data)
        self.send()
        self.relay.move()

    def hears(self) -> bytes:
        """All that has come; ends in nothing more, or in the end (SSLZeroReturnError is none here)."""
        found = b""
        while True:
            self.relay.move()
            self.fetch()
            try:
                data = self.client.read(1 << 16)
            except ssl.SSLWantReadError:
                return found
            if not data:
                return found
            found += data

    def given(self) -> bytes:
        """What the session can read."""
        try:
            return self.session.recv(1 << 20)
        except BlockingIOError:
            return b"(nothing)"

    def close(self) -> None:
        for end in (self.outer, self.session):
            end.close()
        self.relay.close()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def between(request: pytest.FixtureRequest, offered: tls.Certificates) -> Iterator[Between]:
    made = Between(offered, request.param)
    yield made
    made.close()


def test_both_ways(between: Between) -> None:
    between.says(b"a NOOP\r\n")
    assert between.given() == b"a NOOP\r\n"
    between.session.send(b"a OK\r\n")
    assert between.hears() == b"a OK\r\n"


def test_records_in_one_piece_are_all_read_at_once(between: Between) -> None:
    """More than one may be in what the socket gave: no further octet tells of them."""
    for number in range(5):
        between.client.write(b"%d NOOP\r\n" % number)
    between.send()
    between.relay.move()
    assert between.given() == b"".join(b"%d NOOP\r\n" % number for number in range(5))


def test_a_client_that_reads_nothing_holds_no_more_than_a_mark(between: Between) -> None:
    sent = 0
    for _ in range(400):
        try:
            sent += between.session.send(LARGE[sent % 4096:][:65536])
        except BlockingIOError:
            if not between.relay.wanted[1]:
                break
        between.relay.move()
    assert between.relay.wire.waiting <= 2 * MARK_OCTETS
    assert between.relay.wanted[1] == 0                # the session is not read any more
    said = between.hears()
    while len(said) < sent:
        more = between.hears()
        assert more
        said += more
    assert len(said) == sent


@pytest.mark.parametrize("ended", [False, True])
def test_a_client_that_takes_hardly_anything_has_a_minute(between: Between, ended: bool) -> None:
    """Also where its session has ended, which nothing tells of then."""
    sent = 0
    while between.relay.wanted[1]:
        try:
            sent += between.session.send(LARGE[:65536])
        except BlockingIOError:
            pass                                       # the relay takes it now
        between.relay.move()
    due = between.relay.due
    assert 0 < due <= time.monotonic() + WRITE_TIMEOUT
    if ended:
        between.session.close()
    assert between.outer.recv(1000)
    between.relay.move()
    assert between.relay.due == due and not between.relay.over
    while between.relay.due == due:                    # which has to end before all is out
        assert between.outer.recv(8192)
        between.relay.move()
    assert between.relay.due > due and between.relay.wire.waiting < 2 * MARK_OCTETS - TAKES
    between.relay.clock()
    assert between.relay.over


def test_what_is_all_taken_has_no_deadline(between: Between) -> None:
    between.session.send(LARGE[:65536])
    while len(between.hears()) == 0:
        continue
    assert between.relay.due == 0.0


def test_a_session_that_reads_nothing_holds_one_piece(between: Between) -> None:
    stopped = 0
    for _ in range(200):
        try:
            between.says(LARGE[:16384])
        except BlockingIOError:
            stopped = 1
            break
        if between.relay.wanted[0] == 0:
            stopped = 1
            break
    assert stopped


def test_a_session_that_ends_has_said_all(between: Between) -> None:
    between.session.send(b"* BYE\r\na OK\r\n")
    between.session.close()
    assert between.hears() == b"* BYE\r\na OK\r\n"
    assert between.relay.wire.last and between.relay.inner.fileno() < 0
    between.outer.close()
    between.relay.move()
    assert between.relay.over


def test_a_session_that_ends_with_octets_unread(between: Between) -> None:
    between.says(b"a LOGOUT\r\nb NOOP\r\n")
    between.session.send(b"* BYE\r\n")
    between.session.close()
    assert between.hears() == b"* BYE\r\n"


def test_a_client_that_says_no_more_still_hears(between: Between) -> None:
    between.client.write(b"a LOGOUT\r\n")
    with pytest.raises(ssl.SSLWantReadError):
        between.client.unwrap()
    between.send()
    between.relay.move()
    assert between.given() == b"a LOGOUT\r\n"
    assert between.given() == b""                      # the session knows of it
    assert not between.relay.over
    between.session.send(b"a OK\r\n")
    between.relay.move()
    assert between.relay.wire.sent == len(b"a OK\r\n")


def test_a_client_that_cuts_the_line(between: Between) -> None:
    between.says(b"a NOOP\r\n")
    between.outer.close()
    between.relay.move()
    assert between.given() == b"a NOOP\r\n"
    assert between.given() == b""
    between.session.close()
    between.relay.move()
    assert between.relay.over


def test_what_is_no_record_ends_the_client_and_not_the_session(between: Between) -> None:
    between.outer.send(b"GET / HTTP/1.0\r\n\r\n")
    between.relay.move()
    assert between.given() == b""
