"""Password hashes, against published values and the system's own libcrypt."""
from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import hmac
import subprocess
import sys
from base64 import b64encode

import passlib.hash
import pytest

from courierpy.auth import hmacstate, passwords


@pytest.mark.parametrize("stored", [
    "{MD5}X03MO1qnZdYdgyfeuILPmQ==",
    "{md5raw}5f4dcc3b5aa765d61d8327deb882cf99",
    "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
    "{SHA256}XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg=",
    "{SHA512}" + b64encode(hashlib.sha512(b"password").digest()).decode(),
    "{SSHA}" + b64encode(hashlib.sha1(b"passwordsalt").digest() + b"salt").decode(),
    "{SSHA256}" + b64encode(hashlib.sha256(b"passwordlongersalt").digest() + b"longersalt").decode(),
    "{BLF-CRYPT}" + passlib.hash.bcrypt.using(rounds=4).hash("password"),
    passlib.hash.bcrypt.using(rounds=4, ident="2y").hash("password"),
    passlib.hash.argon2.using(rounds=1, memory_cost=64).hash("password"),
], ids=lambda stored: stored[:4])
def test_scheme(stored: str) -> None:
    assert passwords.verify(stored, "password")
    assert not passwords.verify(stored, "Password")
    assert not passwords.verify(stored, "")


@pytest.mark.parametrize("setting", ["$1$saltsalt$", "$5$rounds=1000$saltsalt$",
                                     "$6$rounds=1000$saltsalt$",
                                     "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$", "$2b$04$abcdefghijklmnopqrstuu", "ab"])
def test_what_the_system_hashed(setting: str) -> None:
    library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    hashed = library.crypt("geheimnis é".encode(), setting.encode())
    if not hashed or hashed.startswith(b"*"):
        pytest.skip("this system's libcrypt does not know the scheme")
    for stored in (hashed.decode(), "{CRYPT}" + hashed.decode()):
        assert passwords.verify(stored, "geheimnis é")
        assert not passwords.verify(stored, "anderes")


def test_what_the_system_knows_needs_no_library_of_python() -> None:
    """A worker that asks the userdb has its hashes by libcrypt, as they are on this system."""
    code = """
import sys
from courierpy.auth import passwords
stored = sys.argv[1]
print([passwords.verify(stored, word) for word in ("secret", "other")], "passlib" in sys.modules)
"""
    stored = "$1$lablab$BLb20GUlY9imG3u1FCK4s."
    known = passwords._library()
    if known is None or known(b"secret", stored.encode()) != stored.encode():
        pytest.skip("this system's libcrypt does not know the scheme")
    said = subprocess.run([sys.executable, "-c", code, stored], capture_output=True, text=True, check=True)
    assert said.stdout == "[True, False] False\n"


@pytest.mark.parametrize("stored", [
    passlib.hash.md5_crypt.using(salt_size=4).hash("password"),
    passlib.hash.sha256_crypt.using(rounds=1000).hash("password"),
    passlib.hash.sha512_crypt.using(rounds=1000).hash("password"),
    passlib.hash.bcrypt.using(rounds=4).hash("password")], ids=lambda stored: stored[:3])
def test_a_system_without_libcrypt(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "LIBRARIES", ("libcrypt.so.absent",))
    passwords._library.cache_clear()
    try:
        assert passwords.verify(stored, "password")
        assert not passwords.verify(stored, "Password")
    finally:
        passwords._library.cache_clear()


@pytest.mark.parametrize("stored", ["", "*", "!", "!!", "x", "{UNKNOWN}abc", "{SSHA}!!", "{SHA}",
                                    "{SSHA}YQ==",
                                    "$1$", "$2b$99$", "$argon2id$", "$y$", "\udce9b",
                                    "$1$\udce9$x"])
def test_nobody_has_this_password(stored: str) -> None:
    for password in ("", "x", "*", "password", "a\0b"):
        assert not passwords.verify(stored, password)


@pytest.mark.parametrize("kind", passwords.CRAM_KINDS)
def test_hmac_goes_on_from_its_states(kind: str) -> None:
    states = {"md5": "cd3ba7de", "sha1": "", "sha256": ""}[kind]
    key = b"secret".ljust(64, b"\0")
    whole = "".join(_state(kind, bytes(octet ^ pad for octet in key)).hex() for pad in (0x5c, 0x36))
    assert whole.startswith(states)
    for size in (0, 1, 54, 55, 56, 63, 64, 65, 200):
        data = b"c" * size
        assert hmacstate.digest(kind, whole, data) == hmac.new(b"secret", data, kind).digest()
    assert hmacstate.digest(kind, "zz", b"") is None
    assert hmacstate.digest(kind, whole[:-2], b"") is None
    answer = hmac.new(b"secret", b"challenge", kind).hexdigest()
    assert passwords.cram_matches(kind, "", whole, b"challenge", answer)
    assert passwords.cram_matches(kind, "secret", "", b"challenge", answer.upper())
    assert not passwords.cram_matches(kind, "", whole, b"other", answer)
    assert not passwords.cram_matches(kind, "", "", b"challenge", answer)


def _state(kind: str, block: bytes) -> bytes:
    """The state after one block, from the start values of the standards."""
    import struct
    start = {"md5": (0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476),
             "sha1": (0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0),
             "sha256": (0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
                        0x5be0cd19)}[kind]
    _, order, compress = hmacstate._KINDS[kind]
    return struct.pack(f"{order}{len(start)}I", *compress(start, struct.unpack(order + "16I", block)))
