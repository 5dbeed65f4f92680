"""A running session, which its user may look into, holds no secret of its login."""
from __future__ import annotations

import re
import socket
import ssl
import subprocess
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

import passlib.hash
import pytest

from courierpy.admin import mkcert
from tests.conftest import MODE
from tests.programs.chain import Chain, chain, eventually

pytestmark = pytest.mark.server

PASSWORD = "Tr0ub4dor&3-correct-horse"
ODD = 'pass"word\\with-quotes-and-\xe4\xf6\xfc-letters'
MARK = b"this-word-is-found"


def memory(pid: int) -> bytes:
    """All that the process can read and has not from a file that is only mapped."""
    found = []
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb") as mem:
        for line in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if match:
                mem.seek(int(match[1], 16))
                with suppress(OSError):        # it has given that back meanwhile
                    found.append(mem.read(int(match[2], 16) - int(match[1], 16)))
    return b"\n".join(found)


def base64s(data: bytes) -> list[bytes]:
    return [b64encode(data), b64encode(data).rstrip(b"=")]


def literal(text: str) -> bytes:
    return b"a LOGIN demo {%d+}\r\n%s\r\n" % (len(text.encode()), text.encode())


def quoted(text: str) -> bytes:
    return b'a LOGIN demo "%s"\r\n' % text.replace("\\", "\\\\").replace('"', '\\"').encode()


PLAIN = b64encode(b"\0demo\0" + PASSWORD.encode())
LOGINS = {
    "LOGIN": [f"a LOGIN demo {PASSWORD}\r\n".encode()],
    "quoted": [quoted(PASSWORD)],
    "escaped": [quoted(ODD)],
    "literal": [literal(PASSWORD)],
    "in pieces": [b"a LOG", b"IN demo Tr0ub4dor&", b"3-correct", b"-horse\r", b"\n"],
    "behind others": [b"x NOOP\r\ny CAPABILITY\r\na LOGIN demo " + PASSWORD.encode() + b"\r\n"],
    "at the second try": [b"x LOGIN demo wrong-one-1234\r\na LOGIN demo " + PASSWORD.encode() + b"\r\n"],
    "PLAIN at once": [b"a AUTHENTICATE PLAIN " + PLAIN + b"\r\n"],
    "PLAIN": [b"a AUTHENTICATE PLAIN\r\n" + PLAIN + b"\r\n"],
    "LOGIN mechanism": [b"a AUTHENTICATE LOGIN\r\n", b64encode(b"demo") + b"\r\n",
                        b64encode(PASSWORD.encode()) + b"\r\n"],
}


def account(server: Chain, text: str) -> str:
    """Its stored hash."""
    userdb = server.home / "userdb"
    stored = passlib.hash.sha512_crypt.using(rounds=5000).hash(text)
    before = userdb.read_text()
    userdb.write_text(re.sub(r"(systempw|imappw)=[^|\n]*", lambda match: f"{match[1]}={stored}", before))
    assert stored in userdb.read_text()
    return stored


def session(server: Chain, client: socket.socket | ssl.SSLSocket, said: list[bytes]) -> int:
    """Log in; the pid of the session."""
    client.settimeout(20)
    for piece in said:
        client.sendall(piece)
    heard = b""
    while b"a OK" not in heard:
        data = client.recv(65536)
        assert data, heard
        heard += data
    client.sendall(b"s SELECT " + MARK + b"\r\n")
    while b"s NO" not in heard:
        heard += client.recv(65536)
    port = client.getsockname()[1]
    found: list[int] = []

    def seen() -> bool:
        with suppress(OSError):                # one of them has ended
            found[:] = [pid for pid in server.children() if MARK in memory(pid)]
        return len(found) == 1
    eventually(seen, f"no session of port {port}")
    return found[0]


@pytest.mark.parametrize("mode", ["fork", "exec", "doorway"])
@pytest.mark.parametrize("kind", LOGINS)
def test_no_password_and_no_hash(kind: str, mode: str) -> None:
    text = ODD if kind == "escaped" else PASSWORD
    with chain(*["-exec"] * (mode == "exec"), mode=mode, IMAP_HIBERNATE="0",
               IMAP_LOGIN_DELAY="0") as server:
        stored = account(server, text)
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            seen = memory(session(server, client, LOGINS[kind]))
    for secret in (text.encode(), *base64s(text.encode()), *base64s(b"\0demo\0" + text.encode()),
                   stored.encode(), b"wrong-one-1234"):
        assert secret not in seen
    for encoding in ("latin-1", "utf-16-le", "utf-32-le"):     # as an object has it that is not ASCII
        assert text.encode(encoding) not in seen


def numbers(key: Path) -> list[bytes]:
    """The private number of a key, as libraries hold it: in either order, and as PEM has it."""
    shown = subprocess.run(["openssl", "pkey", "-in", key, "-noout", "-text"], capture_output=True, text=True,
                           check=True).stdout
    match = re.search(r"(?:priv|privateExponent):\s+((?:[0-9a-f]{2}:?\s*)+)", shown)
    assert match is not None
    number = bytes.fromhex(re.sub(r"[:\s]", "", match[1])).lstrip(b"\0")
    return [number, number[::-1]]


def test_no_key_of_a_certificate_where_the_session_is_in_clear(tmp_path: Path) -> None:
    """Where it speaks TLS itself its process has the key: what it took over with the connection."""
    certificate = tmp_path / "cert.pem"
    mkcert.make(str(certificate), "localhost")
    with chain(IMAP_HIBERNATE="0", TLS_CERTFILE=str(certificate), IMAP_STARTTLS="YES") as server, \
            socket.create_connection(("127.0.0.1", server.port)) as client:
        pid = session(server, client, [b"a LOGIN demo demo\r\n"])
        seen, listener = memory(pid), memory(server.process.pid)
        holder = memory(server.children()[1]) if MODE == "doorway" else listener
    for number in numbers(certificate):
        assert number not in seen
        assert number not in listener or MODE != "doorway"
    assert any(number in holder for number in numbers(certificate))        # so that is how it looks
    for line in certificate.read_bytes().partition(b"-----END")[0].splitlines()[1:]:
        assert line not in seen
        assert line not in listener
