"""HMAC from the two states that Courier's userdb keeps instead of a clear password.

``hmac-<hash>pw`` is the hexadecimal state of the hash after the block
key^0x5c, then that after key^0x36.  RFC 2104; hashlib cannot go on from a
state, so the compression functions are here.  Only for CRAM logins.
"""
from __future__ import annotations

import math
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = 64
_MASK = 0xFFFFFFFF


def digest(kind: str, states: str, data: bytes) -> bytes | None:
    """The HMAC of ``data``; None when ``states`` is not hexadecimal of the right length."""
    words, order, compress = _KINDS[kind]
    size = words * 4
    try:
        raw = bytes.fromhex(states)
    except ValueError:
        return None
    if len(raw) != 2 * size:
        return None
    inner = _finish(raw[size:], data, order, compress)
    return _finish(raw[:size], inner, order, compress)


def states(kind: str, secret: bytes) -> str:
    """What the field holds for a clear password.  RFC 2104 2."""
    import hashlib
    words, order, compress = _KINDS[kind]
    key = (hashlib.new(kind, secret).digest() if len(secret) > BLOCK else secret).ljust(BLOCK, b"\0")
    found = b""
    for pad in (0x5C, 0x36):
        block = struct.unpack(order + "16I", bytes(octet ^ pad for octet in key))
        found += struct.pack(f"{order}{words}I", *compress(_FIRST[kind], block))
    return found.hex()


def _finish(state: bytes, data: bytes, order: str, compress: Compress) -> bytes:
    """The hash of one block that led to ``state``, and ``data`` behind it."""
    words = struct.unpack(f"{order}{len(state) // 4}I", state)
    bits = struct.pack(order + "Q", (BLOCK + len(data)) * 8)
    padded = data + b"\x80" + b"\0" * ((55 - len(data)) % BLOCK) + bits
    for at in range(0, len(padded), BLOCK):
        words = compress(words, struct.unpack(order + "16I", padded[at:at + BLOCK]))
    return struct.pack(f"{order}{len(words)}I", *words)


def _left(value: int, count: int) -> int:
    value &= _MASK
    return (value << count | value >> (32 - count)) & _MASK


def _sum(state: tuple[int, ...], change: tuple[int, ...]) -> tuple[int, ...]:
    return tuple((one + two) & _MASK for one, two in zip(state, change, strict=True))


_MD5_SHIFTS = ((7, 12, 17, 22), (5, 9, 14, 20), (4, 11, 16, 23), (6, 10, 15, 21))


def _md5(state: tuple[int, ...], block: tuple[int, ...]) -> tuple[int, ...]:
    """RFC 1321 section 3.4."""
    a, b, c, d = state
    for step in range(64):
        kind = step // 16
        if kind == 0:
            mixed, word = b & c | ~b & d, step
        elif kind == 1:
            mixed, word = d & b | ~d & c, (5 * step + 1) % 16
        elif kind == 2:
            mixed, word = b ^ c ^ d, (3 * step + 5) % 16
        else:
            mixed, word = c ^ (b | ~d & _MASK), (7 * step) % 16
        constant = int(abs(math.sin(step + 1)) * 2 ** 32)
        turned = _left(a + mixed + constant + block[word], _MD5_SHIFTS[kind][step % 4])
        a, d, c, b = d, c, b, (b + turned) & _MASK
    return _sum(state, (a, b, c, d))


def _sha1(state: tuple[int, ...], block: tuple[int, ...]) -> tuple[int, ...]:
    """RFC 3174 section 6.1."""
    words = list(block)
    for step in range(16, 80):
        words.append(_left(words[step - 3] ^ words[step - 8] ^ words[step - 14] ^ words[step - 16], 1))
    a, b, c, d, e = state
    for step, word in enumerate(words):
        if step < 20:
            mixed, constant = b & c | ~b & d, 0x5A827999
        elif step < 40:
            mixed, constant = b ^ c ^ d, 0x6ED9EBA1
        elif step < 60:
            mixed, constant = b & c | b & d | c & d, 0x8F1BBCDC
        else:
            mixed, constant = b ^ c ^ d, 0xCA62C1D6
        a, b, c, d, e = (_left(a, 5) + mixed + e + constant + word) & _MASK, a, _left(b, 30), c, d
    return _sum(state, (a, b, c, d, e))


def _cube_root_fractions() -> list[int]:
    """32 bits behind the point of the cube roots of the first 64 primes."""
    primes = [n for n in range(2, 312) if all(n % other for other in range(2, math.isqrt(n) + 1))]
    found = []
    for prime in primes:
        target, low, high = prime << 96, 0, 1 << 36
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if middle ** 3 <= target else (low, middle - 1)
        found.append(low & _MASK)
    return found


def _sha256(state: tuple[int, ...], block: tuple[int, ...]) -> tuple[int, ...]:
    """RFC 6234 section 6.2."""
    def right(value: int, *counts: int) -> int:
        out = 0
        for count in counts:
            out ^= _left(value, 32 - count)
        return out

    words = list(block)
    for step in range(16, 64):
        early, late = words[step - 15], words[step - 2]
        words.append((words[step - 16] + (right(early, 7, 18) ^ early >> 3) + words[step - 7]
                      + (right(late, 17, 19) ^ late >> 10)) & _MASK)
    a, b, c, d, e, f, g, h = state
    for word, constant in zip(words, _cube_root_fractions(), strict=True):
        one = h + right(e, 6, 11, 25) + (e & f ^ ~e & g) + constant + word
        two = right(a, 2, 13, 22) + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = (one + two) & _MASK, a, b, c, (d + one) & _MASK, e, f, g
    return _sum(state, (a, b, c, d, e, f, g, h))


if TYPE_CHECKING:
    Compress = Callable[[tuple[int, ...], tuple[int, ...]], tuple[int, ...]]

_KINDS: dict[str, tuple[int, str, Compress]] = {
    "md5": (4, "<", _md5), "sha1": (5, ">", _sha1), "sha256": (8, ">", _sha256)}
KINDS = tuple(_KINDS)
# RFC 1321 3.3, RFC 3174 6.1, RFC 6234 6.1
_FIRST = {"md5": (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476),
          "sha1": (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0),
          "sha256": (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB,
                     0x5BE0CD19)}
