"""Free blocks that are taken before a process forks."""
from __future__ import annotations

import subprocess
import sys

from tests.conftest import plain_environ

FILLED = """
import os
from courierpy.system import holes

blocks = [bytes(200) for _ in range(4000)]
del blocks[::2]
error = os.fstat(2)

def free():
    return dict(holes._classes()).get(240, 0)

before = free()
holes.fill()
print(before >= 1000, free() < 100, len(holes._kept) >= before)
assert os.fstat(2) == error and os.listdir("/proc/self/fd") == ["0", "1", "2", "3"]
os.close(2)
holes.fill()
"""


def _said(**environ: str) -> str:
    done = subprocess.run([sys.executable, "-c", FILLED], capture_output=True, text=True, check=False,
                          env=plain_environ(**environ))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_free_blocks_are_taken() -> None:
    assert _said() == "True True True\n"


def test_an_allocator_that_tells_of_none_is_left_alone() -> None:
    assert _said(PYTHONMALLOC="malloc") == "False True True\n"
