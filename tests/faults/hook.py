"""Inside a server process of these tests: number the calls that touch the Maildir, and disturb one.

Counting begins with the command whose tag is FAULT and ends when its tagged answer
is written, so start-up and preparation are not counted.  A plan names a kind of
call, its number and what happens instead of it:

    kill    the process is gone before the call (for ``answer``: before the client hears)
    after   the call is done, then the process is gone
    torn    half of the data is written, then the process is gone
    short   half of the data is written, which write(2) may do at any time
    ENOSPC  or another name of an error: the call fails

A kind may also be one of GROUPS: then every call of the group from that number on
fails, as on a disk that stays full.
"""
from __future__ import annotations

import builtins
import errno
import fcntl
import io
import json
import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn

TAG = b"FAULT"

# function of os -> (kind, how many of its first arguments name files)
CALLS = {
    "open": ("open", 1), "read": ("read", 1), "pread": ("read", 1), "readv": ("read", 1),
    "write": ("write", 1), "pwrite": ("write", 1), "writev": ("write", 1),
    "sendfile": ("write", 2), "copy_file_range": ("write", 2), "posix_fallocate": ("write", 1),
    "rename": ("rename", 2), "replace": ("rename", 2), "link": ("link", 2), "symlink": ("link", 2),
    "unlink": ("unlink", 1), "remove": ("unlink", 1), "mkdir": ("mkdir", 1), "rmdir": ("rmdir", 1),
    "ftruncate": ("truncate", 1), "truncate": ("truncate", 1),
    "fsync": ("fsync", 1), "fdatasync": ("fsync", 1),
    "utime": ("utime", 1), "chmod": ("utime", 1), "fchmod": ("utime", 1), "close": ("close", 1),
    "stat": ("stat", 1), "lstat": ("stat", 1), "access": ("stat", 1),
    "listdir": ("list", 1), "scandir": ("list", 1),
}

GROUPS = {
    "full": ("create", "write", "mkdir", "link"),
    "descriptors": ("open", "create", "list"),
    "readonly": ("create", "write", "rename", "link", "unlink", "mkdir", "rmdir", "truncate", "utime"),
}

# the kinds that change what is on disk: only between two of them can a kill make a difference
CHANGES = ("create", "write", "rename", "link", "unlink", "mkdir", "rmdir", "truncate", "utime", "fsync")


class Hook:
    """``plan``: kind, number and fault, or nothing to do but record.  ``journal``: a
    file that gets a line of JSON for each call (or, with a plan, for those hit)."""

    def __init__(self, root: str, plan: dict[str, Any], journal: str) -> None:
        self.root = root
        self.kind = plan.get("kind", "")
        self.number = plan.get("number", 0)
        self.fault = plan.get("fault", "")
        self.group = GROUPS.get(self.kind, ())
        self.counts: Counter[str] = Counter()
        self.armed = False
        self.real = {name: getattr(os, name) for name in CALLS}
        self.name = journal
        self.journal = self._open()

    def _open(self) -> int:
        fd = self.real["open"](self.name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200)
        finally:
            self.real["close"](fd)

    def install(self) -> None:
        import _pyio
        for name, (kind, files) in CALLS.items():
            setattr(os, name, self._wrapped(name, kind, files))
        os.supports_follow_symlinks.add(os.stat)
        # the built-in open() calls the kernel behind our back, its twin in Python calls os.open
        builtins.open = io.open = _pyio.open  # type: ignore[assignment]

    def _wrapped(self, name: str, kind: str, files: int) -> Callable[..., Any]:
        real = self.real[name]

        def call(*args: Any, **named: Any) -> Any:
            if not self.armed:
                if name != "read" or args[0] != 0:
                    return real(*args, **named)
                data = real(*args, **named)
                self.armed = data.startswith(TAG + b" ") or b"\n" + TAG + b" " in data
                return data
            if name == "write" and re.search(rb"(?:^|\n)%s (?:OK|NO|BAD) " % TAG, args[1]) \
                    and os.path.samestat(os.fstat(args[0]), os.fstat(1)):      # opened once more, it may be
                return self._answer(args[1])
            paths = [self._path(arg) for arg in (args or (".",))[:files]]
            if not any(path == self.root or path.startswith(self.root + "/") for path in paths):
                return real(*args, **named)
            return self._counted(name, self._kind(kind, args), paths, args, named)
        return call

    def _path(self, named: Any) -> str:
        if isinstance(named, int):
            try:
                return os.readlink(f"/proc/self/fd/{named}").removesuffix(" (deleted)")
            except OSError:
                return ""
        return os.path.normpath(os.path.join(os.getcwd(), os.fsdecode(named)))

    @staticmethod
    def _kind(kind: str, args: tuple[Any, ...]) -> str:
        if kind == "open" and len(args) > 1 and args[1] & (os.O_CREAT | os.O_TRUNC):
            return "create"
        if kind == "close" and fcntl.fcntl(args[0], fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            return "close-read"              # nothing was written: close cannot fail for that
        return kind

    def _counted(self, name: str, kind: str, paths: list[str], args: tuple[Any, ...],
                 named: dict[str, Any]) -> Any:
        self.counts[kind] += 1
        number = self.counts[kind]
        for group, kinds in GROUPS.items():
            if kind in kinds:
                self.counts[group] += 1
        if kind in self.group:
            hit = self.counts[self.kind] >= self.number
        else:
            hit = kind == self.kind and number == self.number
        if hit or not self.kind:
            self._note(name, kind, number, paths)
        if hit:
            return self._disturb(name, kind, paths, args, named)
        if kind == "fsync" and self.kind:
            return None                      # no power is lost here, only time
        return self.real[name](*args, **named)

    def _note(self, name: str, kind: str, number: int, paths: list[str]) -> None:
        line = json.dumps({"call": name, "kind": kind, "number": number,
                           "paths": [os.path.relpath(path, self.root) for path in paths]})
        try:
            self.real["write"](self.journal, line.encode() + b"\n")
        except OSError:                      # a child of the server has closed what it does not need
            self.journal = self._open()
            self.real["write"](self.journal, line.encode() + b"\n")

    def _disturb(self, name: str, kind: str, paths: list[str], args: tuple[Any, ...],
                 named: dict[str, Any]) -> Any:
        real = self.real[name]
        if self.fault in ("torn", "short"):
            if name in ("write", "pwrite"):
                data = bytes(args[1])
                done = real(args[0], data[:(len(data) + 1) // 2], *args[2:])
            else:
                done = real(*args, **named)
            if self.fault == "short":
                return done
            self._die()
        if self.fault == "kill":
            self._die()
        if self.fault == "after":
            real(*args, **named)
            self._die()
        if kind == "close":
            real(*args, **named)             # the descriptor is gone whatever close says
        if name == "access":
            return False                     # access(2) may fail, os.access does not raise
        number = getattr(errno, self.fault)
        if args and isinstance(args[0], int):
            raise OSError(number, os.strerror(number))
        raise OSError(number, os.strerror(number), *(args[:1] if args else (".",)))

    def _answer(self, data: bytes) -> int:
        self._note("write", "answer", 1, [])
        if self.kind == "answer" and self.fault == "kill":
            self._die()
        self.armed = False
        view = memoryview(data)
        while view:
            view = view[self.real["write"](1, view):]
        if self.kind == "answer" and self.fault == "after":
            self._die()
        return len(data)

    @staticmethod
    def _die() -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a killed process goes on")
