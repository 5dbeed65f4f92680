"""The same through strace: the kernel's own list of calls, and its own faults."""
from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.faults.operations import Operation
from tests.faults.sweep import Ground, Run

# system call -> kind, as in hook.py
CALLS = {
    "openat": "open", "write": "write", "pwrite64": "write", "writev": "write", "sendfile": "write",
    "copy_file_range": "write", "rename": "rename", "renameat": "rename", "renameat2": "rename",
    "link": "link", "linkat": "link", "symlink": "link", "unlink": "unlink", "unlinkat": "unlink",
    "mkdir": "mkdir", "mkdirat": "mkdir", "rmdir": "rmdir", "ftruncate": "truncate", "truncate": "truncate",
    "fsync": "fsync", "fdatasync": "fsync", "utimensat": "utime",
}
_LINE = re.compile(r"(\w+)\((.*)\) += +(.*)")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|<([^>]*)>')


class Refused(Exception):
    """strace may not attach here."""


class Tracer:
    """strace on a living process; ``inject``: as its option -e inject takes it."""

    def __init__(self, pid: int, output: Path, inject: str = "") -> None:
        words = ["strace", "-o", str(output), "-y", "-s", "4096", "-e", "trace=" + ",".join(CALLS),
                 "-e", "signal=none", "-p", str(pid)]
        if inject:
            words[1:1] = ["-e", f"inject={inject}"]
        self.output = output
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, bufsize=0)
        assert self.process.stderr is not None
        said, end = b"", time.monotonic() + 20
        while b"attached" not in said:
            ready = select.select([self.process.stderr], [], [], max(0, end - time.monotonic()))[0]
            piece = os.read(self.process.stderr.fileno(), 4096) if ready else b""
            if not piece:
                self.process.kill()
                self.process.wait()
                self.process.stderr.close()
                raise Refused(said.decode(errors="replace").strip())
            said += piece

    def end(self) -> list[str]:
        """Let go of the process; the lines of the trace."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return self.output.read_text(errors="backslashreplace").splitlines()


def calls(lines: list[str], root: str) -> list[dict[str, Any]]:
    """The calls of a trace that touch ``root``, up to the answer: call, its number since
    strace attached, kind, paths, and what became of it."""
    found = []
    counts: dict[str, int] = {}
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue
        name, words, result = match.groups()
        counts[name] = counts.get(name, 0) + 1
        if CALLS[name] == "write" and re.search(r"\bFAULT (OK|NO|BAD) ", words):
            found.append({"call": name, "number": counts[name], "kind": "answer", "result": result,
                          "paths": []})
            break
        kind = CALLS[name]
        if kind == "open" and re.search("O_CREAT|O_TRUNC", words):
            kind = "create"
        paths = _paths(kind, words, root)
        if any(path == root or path.startswith(root + "/") for path in paths):
            found.append({"call": name, "number": counts[name], "kind": kind, "result": result,
                          "paths": [os.path.relpath(path, root) for path in paths]})
    return found


def _paths(kind: str, words: str, root: str) -> list[str]:
    """``AT_FDCWD</a>, "b"`` is /a/b, ``5</a/b>, ...`` is /a/b, ``"b"`` is below the
    server's working directory, its Maildir."""
    if kind == "write":
        return [path.removesuffix(" (deleted)") for path in re.findall(r"^\d+<([^>]*)>", words)]
    found, base = [], ""
    for quoted, directory in _WORD.findall(words):
        if directory:
            base = directory.removesuffix(" (deleted)")
        else:
            found.append(os.path.normpath(os.path.join(base or root, quoted)))
            base = ""
    return [*found, base] if base else found


class KernelRun(Run):
    """A case whose fault strace injects, or none."""

    hooked = False

    def __init__(self, ground: Ground, operation: Operation, inject: str = "") -> None:
        super().__init__(ground, operation, {"inject": inject} if inject else {})
        self.inject = inject
        self.traced: list[dict[str, Any]] = []

    def command(self) -> list[bytes]:
        tracer = Tracer(self.actor.pid, self.folder / "trace", self.inject)
        try:
            return super().command()
        finally:
            self.traced = calls(tracer.end(), os.path.realpath(self.maildir))

    def hits(self) -> list[dict[str, Any]]:
        """The calls that strace disturbed."""
        return [call for call in self.traced
                if "(INJECTED)" in call["result"] or call["result"].startswith("?")]
