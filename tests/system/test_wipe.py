"""What is overwritten in a process's own memory, and what stays whole."""
from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from courierpy.system.wipe import wipe
from tests.conftest import plain_environ

PROGRAM = """
import ctypes, os
from courierpy.system.wipe import wipe_found

for size in (64, 700, 1190, 2400, 5000):
    for _ in range(8):
        secret = os.urandom(size)
        # freed, between what is held, and larger than it: what is asked for next is cut from that
        held = []
        for _ in range(8):
            held += [bytearray(secret * 3), bytearray(size * 2), bytearray(secret)]
        del held[::2]
        del held
        others = [bytearray(octets) for octets in range(600, 6000, 300)]
        wipe_found(secret[16:])
        others = [bytearray(octets) for octets in range(600, 6000, 100)]

secret = bytes(range(200, 100, -1)) * 20
held = ctypes.create_string_buffer(secret)
wipe_found(bytes(bytearray(secret)))
assert not held.raw.strip(b"\\0")
print("whole")
"""


def test_memory_stays_whole_when_what_was_freed_is_overwritten() -> None:
    """The allocator gives away again at once what was freed, and keeps words of its own there."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False,
                          env=plain_environ(), timeout=120)
    assert (done.stdout, done.stderr) == ("whole\n", "")


@pytest.mark.parametrize("letter", ["e", "\xe9", "\u1234", "\U00012345"])
@pytest.mark.parametrize("used", [False, True])
def test_all_of_a_secret_goes_and_nothing_behind_it(letter: str, used: bool) -> None:
    """Whatever its letters are, and where a library has asked for its octets, which it keeps then."""
    secret = "".join(["s", *letter * 30, "t"])
    if used:
        ctypes.pythonapi.PyUnicode_AsUTF8.argtypes = [ctypes.py_object]
        ctypes.pythonapi.PyUnicode_AsUTF8.restype = ctypes.c_void_p
        copy = ctypes.pythonapi.PyUnicode_AsUTF8(secret)
        octets = len(secret.encode())
    # to the end of its last letter; what the allocator gives is rounded up to more
    end = sys.getsizeof(secret) - (octets + 1 if used and not letter.isascii() else 0)
    width = 1 if ord(letter) < 256 else 2 if ord(letter) < 65536 else 4
    before = ctypes.string_at(id(secret), end)
    wipe(secret)
    after = ctypes.string_at(id(secret), end)
    assert len(before) == len(after) == end and not after[-width * 33:].strip(b"\0")
    assert after[:-width * 33] == before[:-width * 33]
    if used:
        assert ctypes.string_at(copy, octets) == bytes(octets)


def test_octets_go_and_what_is_shared_stays() -> None:
    secret, other = bytes(bytearray(b"secret")), bytearray(b"secret")
    wipe(secret, other, b"s", "\xe9", None)
    assert (secret, other, b"\x73", chr(0xe9)) == (bytes(6), bytes(6), b"s", "\xe9")
