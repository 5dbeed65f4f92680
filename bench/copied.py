"""What a fork of an interpreter copies because functions are called in it: no server, no IMAP.

    python bench/copied.py [functions called]

Modules are made and loaded, and all of their functions called, as a listener rehearses.  Then it forks, and
the child calls some of them once more.  Each call counts a reference of the function and of its code up and
down, so that the pages in which these are become the child's own, though nothing in them differs afterwards.
Prints the pages (4 kB) that are the child's own: of a child that calls nothing; where the functions are a few
of each module, as those that a session calls are; and where they are all of some modules, side by side.
"""
from __future__ import annotations

import gc
import os
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator

MODULES, EACH = 240, 12                # as many as a listener has, and about as many functions in each
FUNCTION = '''
def f{0}(values, name="f{0} of {1}"):
    """What it does is of no matter: it is as long as a function is, and has a few constants."""
    found = {{}}
    for number, value in enumerate(values):
        if value.startswith(name[:1]) and number not in found:
            found[number] = "%s is {0} of {1}" % value
        elif len(found) > {0}:
            found.clear()
    return [found.get(number, "none, {0}, {1}") for number in range(len(values)) if number % 2 == 0]
'''
OURS = 1 << 63 | 1 << 56               # of /proc/PID/pagemap: it is in memory, and nobody else has it


def writable() -> Iterator[tuple[int, int]]:
    """Pages of this process that it may write to: (the first, one behind the last)."""
    with open("/proc/self/maps", encoding="ascii", errors="replace") as file:
        for line in file:
            words = line.split()
            if "w" in words[1]:
                first, behind = (int(word, 16) // 4096 for word in words[0].split("-"))
                yield first, behind


def own(ranges: list[tuple[int, int]]) -> int:
    """How many of these pages are this process's alone."""
    found = 0
    with open("/proc/self/pagemap", "rb", buffering=0) as file:
        for first, behind in ranges:
            file.seek(first * 8)
            for (word,) in struct.iter_unpack("=Q", file.read((behind - first) * 8)):
                found += word & OURS == OURS
    return found


def copied(functions: list[Callable[[list[str]], list[str]]]) -> int:
    """Pages of a fork that calls them."""
    values = ["fa", "fb", "ga", "fc"]
    ranges = list(writable())
    told, tell = os.pipe()
    stays, leave = os.pipe()
    beside = _forked(lambda: os.read(stays, 1))        # what it shares with the other is copied by neither
    goes, go = os.pipe()

    def work() -> None:
        os.read(goes, 1)
        for function in functions:
            function(values)
        os.write(tell, struct.pack("=I", own(ranges)))

    pid = _forked(work)
    os.write(go, b"x")
    (found,) = struct.unpack("=I", os.read(told, 4))
    os.write(leave, b"x")
    for child in (pid, beside):
        os.waitpid(child, 0)
    for fd in (told, tell, stays, leave, goes, go):
        os.close(fd)
    return int(found)


def _forked(work: Callable[[], object]) -> int:
    """The pid of a child that does this and ends."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, folder)
        modules = []
        for number in range(MODULES):
            with open(os.path.join(folder, f"copied{number}.py"), "w", encoding="ascii") as file:
                file.write("".join(FUNCTION.format(each, number) for each in range(EACH)))
            modules.append(__import__(f"copied{number}"))
    by_module = [[getattr(module, f"f{each}") for each in range(EACH)] for module in modules]
    for functions in by_module:
        for function in functions * 12:
            function(["fa", "fb"])
    gc.collect()
    gc.freeze()
    gc.disable()
    together = [function for functions in by_module for function in functions]
    spread = [functions[each] for each in range(EACH) for functions in by_module]
    print(f"Python {sys.version.split()[0]}, {count} of {len(together)} functions")
    for what, functions in (("none", []), ("a few of each module", spread), ("side by side", together)):
        print(f"  {what:22} {copied(functions[:count]):6} pages")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 700)
