"""What a tool tells while it works: a bar on a terminal, and lines."""
from __future__ import annotations

import sys
import time

WIDTH = 30                         # of the bar
REFRESH = 0.1                      # seconds


class Bar:
    """How far it is, on a terminal.  ``standing``: one is on its last line."""

    standing = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.terminal = sys.stdout.isatty()
        self.start = time.monotonic()
        self.shown = 0.0

    def show(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not self.terminal or not done or now - self.shown < REFRESH and done < total:
            return
        self.shown = now
        full = WIDTH * done // total
        rate = done / max(now - self.start, 0.001)
        line = (f"{self.name[:30]} [{'#' * full}{'.' * (WIDTH - full)}] {100 * done // total:3}% "
                f"{done:,}/{total:,} {rate:,.0f}/s, {(total - done) / rate:.0f} s left")
        sys.stdout.write(f"\r{plain(line)}\033[K")
        sys.stdout.flush()
        Bar.standing = True

    @staticmethod
    def clear() -> None:
        if Bar.standing:
            sys.stdout.write("\r\033[K")
            Bar.standing = False


def plain(text: str) -> str:
    """As the terminal or file can take it, and without what would steer a terminal."""
    coding = sys.stdout.encoding or "ascii"
    shown = "".join(char if char.isprintable() or char == "\t" else "?" for char in text)
    return shown.encode(coding, "backslashreplace").decode(coding)


def say(text: str) -> None:
    """A line; a bar makes room for it."""
    Bar.clear()
    print(plain(text))


def size_of(octets: int) -> str:
    return f"{octets / 1e6:.1f} MB" if abs(octets) >= 100_000 else f"{octets / 1e3:.1f} kB"
