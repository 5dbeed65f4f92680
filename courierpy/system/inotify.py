"""inotify(7), through the binding of pyinotify: one instance, its watches, its events as they come.

pyinotify's own reader keeps account of each rename for a minute, and the module
brings logging, threads and processes that we have no use for: 45 ms and more
than a megabyte in the memory of every session.  So it is loaded without these,
when the first watch is made, and only its binding is used.
"""
from __future__ import annotations

import errno
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# the masks of <sys/inotify.h>
IN_ATTRIB, IN_CLOSE_WRITE = 0x4, 0x8
IN_MOVED_FROM, IN_MOVED_TO = 0x40, 0x80
IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF = 0x100, 0x200, 0x400, 0x800
IN_UNMOUNT, IN_Q_OVERFLOW, IN_IGNORED = 0x2000, 0x4000, 0x8000
IN_ONLYDIR, IN_DONT_FOLLOW = 0x1000000, 0x2000000
_EVENT = struct.Struct("iIII")         # watch, mask, cookie, octets of the name
READ_SIZE = 65536
LARGEST = _EVENT.size + 256            # octets of an event


class Inotify:
    """One instance.  ``fd`` is readable when there are events.  Raises OSError where the kernel refuses."""

    def __init__(self) -> None:
        self._binding = binding()
        self.fd: int = self._binding.inotify_init()
        if self.fd < 0:
            raise self._failure("inotify_init")
        os.set_blocking(self.fd, False)
        os.set_inheritable(self.fd, False)

    def add(self, path: str, mask: int) -> int:
        """The number of the watch: of the old one when ``path`` is watched already."""
        try:
            path.encode()
        except UnicodeEncodeError:
            # the binding takes UTF-8 only: name the directory by a descriptor
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                return self.add(f"/proc/self/fd/{fd}", mask & ~IN_DONT_FOLLOW)
            finally:
                os.close(fd)
        number: int = self._binding.inotify_add_watch(self.fd, path, mask)
        if number < 0:
            raise self._failure(path)
        return number

    def remove(self, number: int) -> None:
        """End a watch.  Events of it may still come.  One that ended by itself is no error."""
        self._binding.inotify_rm_watch(self.fd, number)

    def _failure(self, what: str) -> OSError:
        number: int = self._binding.get_errno()
        return OSError(number, os.strerror(number), what)

    def events(self) -> list[tuple[int, int, bytes]]:
        """(watch, mask, name) of what there is to read now; the name is b"" for what is watched itself."""
        found: list[tuple[int, int, bytes]] = []
        while True:
            try:
                data = os.read(self.fd, READ_SIZE)
            except BlockingIOError:
                return found
            at = 0
            while at < len(data):
                number, mask, _, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size
                found.append((number, mask, data[at:at + length].rstrip(b"\0")))
                at += length
            if len(data) < READ_SIZE - LARGEST:
                return found           # the kernel gives what it has, as far as it fits

    def close(self) -> None:
        """Slow: the kernel waits until none of its threads can be using a watch, 8 ms and more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class NotInstalled(OSError):
    """There is no pyinotify, or it finds no inotify."""

    def __init__(self) -> None:
        super().__init__(errno.ENOSYS, "pyinotify is not installed")


_binding: Any = None


def binding() -> Any:
    """pyinotify's binding to the system.  Raises NotInstalled."""
    global _binding
    if _binding is None:
        import ctypes
        import sys
        real = sys.modules.get("ctypes.util")
        # the real one brings subprocess, threading, tempfile and random (some with hooks at a
        # fork, 600 kB in every process), and starts a program to find the C library
        util = type(sys)("ctypes.util")
        util.find_library = lambda name: None  # type: ignore[attr-defined]
        sys.modules["ctypes.util"] = ctypes.util = util  # type: ignore[attr-defined]
        try:
            _binding = _load().INotifyWrapper.create()
        except ImportError:
            raise NotInstalled from None
        finally:
            if real is not None:
                sys.modules["ctypes.util"] = ctypes.util = real  # type: ignore[attr-defined]
            else:
                del sys.modules["ctypes.util"], ctypes.util  # type: ignore[attr-defined]
        if _binding is None:
            raise NotInstalled
    return _binding


class _Nothing:
    """In the place of a class that pyinotify derives from, or of an object that it calls at
    its import."""

    def __init__(self, *args: object, **words: object) -> None:
        pass

    def __getattr__(self, name: str) -> _Nothing:
        return self

    def __call__(self, *args: object, **words: object) -> _Nothing:
        return self


# what pyinotify imports and only its threads, its log and its daemon use
_UNUSED = {"asyncore": ("file_dispatcher",), "atexit": (), "datetime": ("datetime", "timedelta"), "glob": (),
           "locale": (), "logging": ("getLogger", "StreamHandler", "Formatter"), "subprocess": (),
           "threading": ("Thread",)}


def _load() -> Any:
    """The module, without what is not used.  ImportError."""
    import sys
    if "pyinotify" in sys.modules:
        return sys.modules["pyinotify"]
    kind = type(sys)
    stand_ins = []
    for name, words in _UNUSED.items():
        if name not in sys.modules:
            module = kind(name)
            for word in words:
                # a class of its own for each: some classes derive from two of them
                setattr(module, word, type(word, (_Nothing,), {}))
            sys.modules[name] = module
            stand_ins.append(name)
    try:
        import pyinotify
        return pyinotify
    finally:
        for name in stand_ins:
            del sys.modules[name]      # one that is loaded later for its own sake shall be the real one
