"""What is overwritten in a process's own memory, and what stays whole."""
from __future__ import annotations

import subprocess
import sys

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
