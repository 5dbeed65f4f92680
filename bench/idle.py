"""Push latency: from the change on disk to the bytes at each of ten idle clients.

    make bench-idle        or: python bench/idle.py [windows] [rounds]

Prints milliseconds: median, 99th percentile and maximum over all windows and
rounds, for deliveries from outside and for flags that another program set.
"""
from __future__ import annotations

import os
import select
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.conftest import fill
from tests.realtime.windows import Window, deliver, over_pipe

PAUSE = 0.05                       # seconds between two changes: each finds all windows waiting


def wait_for(windows: list[Window], text: bytes, start: float) -> list[float]:
    """Seconds from ``start`` to ``text``, for each window."""
    waiting = {window.infd: window for window in windows}
    found = []
    while waiting:
        ready, _, _ = select.select(list(waiting), [], [], 20)
        assert ready, "a push was lost"
        now = time.perf_counter()
        for fd in ready:
            window = waiting[fd]
            window.buffer += os.read(fd, 65536)
            if text in window.buffer:
                window.buffer = b""
                found.append(now - start)
                del waiting[fd]
    return found


def report(what: str, seconds: list[float]) -> None:
    ordered = sorted(1000 * value for value in seconds)
    print(f"{what:12} median {ordered[len(ordered) // 2]:6.2f}   p99 {ordered[len(ordered) * 99 // 100]:6.2f}"
          f"   max {ordered[-1]:6.2f} ms   ({len(ordered)} pushes)")


def main(count: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        maildir = Path(folder) / "Maildir"
        fill(maildir, 3)
        windows = [over_pipe(maildir) for _ in range(count)]
        for window in windows:
            window.do("SELECT INBOX")
        for window in windows:
            window.idle()
        times: list[float] = []
        for number in range(rounds):
            time.sleep(PAUSE)
            start = time.perf_counter()
            deliver(maildir, f"{1800000000 + number}.M1P1.host")
            times += wait_for(windows, b" FETCH (FLAGS", start)
        report("deliveries", times)
        times = []
        file = next((maildir / "cur").glob("1700000001.*"))
        for number in range(rounds):
            time.sleep(PAUSE)
            file = file.rename(file.with_name(file.name.partition(":")[0] + (":2,F", ":2,")[number % 2]))
            times += wait_for(windows, b"* 1 FETCH (FLAGS", time.perf_counter())
        report("flags", times)
        for window in windows:
            window.close()


if __name__ == "__main__":
    main(*(int(word) for word in [*sys.argv[1:], "10", "200"][:2]))
