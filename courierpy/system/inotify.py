"""inotify(7): instances, their watches, their events as they come, and one instance for a process.

pyinotify makes instances and watches; events are read here, as its own reader keeps
account of each rename for a minute.  It is imported when a process makes its first
instance itself: that costs 50 ms and 3 MB, and hooks that would run in each fork of the
listener.  So sessions of the listener have theirs made by the keeper (see lend()).
"""
from __future__ import annotations

import errno
import os
import select
import struct

from courierpy.model import fresh

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Protocol

    class Lent(Protocol):
        """As Inotify."""

        fd: int

        def add(self, path: str, mask: int) -> int: ...
        def add_all(self, wanted: Sequence[tuple[str, int]]) -> list[int | OSError]: ...
        def remove(self, number: int) -> None: ...
        def events(self) -> list[tuple[int, int, bytes]]: ...
        def close(self) -> None: ...

# the masks of <sys/inotify.h>
IN_ATTRIB, IN_CLOSE_WRITE = 0x4, 0x8
IN_MOVED_FROM, IN_MOVED_TO = 0x40, 0x80
IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF = 0x100, 0x200, 0x400, 0x800
IN_UNMOUNT, IN_Q_OVERFLOW, IN_IGNORED = 0x2000, 0x4000, 0x8000
IN_ONLYDIR, IN_DONT_FOLLOW = 0x1000000, 0x2000000
IN_MASK_ADD = 0x20000000               # to what is watched of that directory already
_ALL_HEAR = IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED
_EVENT = struct.Struct("iIII")         # watch, mask, cookie, octets of the name
READ_SIZE = 65536
_OVERFLOW = _EVENT.pack(-1, IN_Q_OVERFLOW, 0, 0)[:8]
LARGEST = _EVENT.size + 256            # octets of an event


class Instance:
    """``fd`` is readable when there are events."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        os.set_blocking(fd, False)
        os.set_inheritable(fd, False)

    def add(self, path: str, mask: int) -> int:
        """The number of the watch: of the old one when ``path`` is watched already.  OSError."""
        raise NotImplementedError

    def add_all(self, wanted: Sequence[tuple[str, int]]) -> list[int | OSError]:
        """As add() of each path and mask; what the kernel says to one that it refuses stands in its place."""
        return one_by_one(self.add, wanted)

    def events(self) -> list[tuple[int, int, bytes]]:
        """(watch, mask, name) of what there is to read now; the name is b"" for what is watched itself."""
        found: list[tuple[int, int, bytes]] = []
        if not self._poll.poll(0):     # most often; a read that would block costs three times as much
            return found
        while True:
            try:
                data = os.read(self.fd, READ_SIZE)
            except BlockingIOError:
                return found
            found += _events(data)
            if len(data) < READ_SIZE - LARGEST:
                return found           # the kernel gives what it has, as far as it fits

    def skip(self, octets: int) -> list[tuple[int, int, bytes]] | None:
        """None if what there is to read are just so many octets of events, which are nobody's then; else
        as events()."""
        try:
            data = os.read(self.fd, octets + READ_SIZE)
        except BlockingIOError:
            return []
        if len(data) == octets and data.find(_OVERFLOW) < 0:
            return None
        return _events(data) + self.events()

    def close(self) -> None:
        """Slow: the kernel waits until none of its threads can be using a watch, 8 ms and more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _events(data: bytes) -> list[tuple[int, int, bytes]]:
    found = []
    at, end, head, unpack = 0, len(data), _EVENT.size, _EVENT.unpack_from
    while at < end:
        number, mask, _, length = unpack(data, at)
        at += head
        name = data[at:at + length].rstrip(b"\0") if length else b""
        found.append((number, mask, name))
        at += length
    return found


def one_by_one(add: Callable[[str, int], int], wanted: Iterable[tuple[str, int]]) -> list[int | OSError]:
    """As Inotify.add_all, where nothing is won by asking for many at once."""
    found: list[int | OSError] = []
    for path, mask in wanted:
        try:
            found.append(add(path, mask))
        except OSError as error:
            found.append(error)
    return found


def octets_of(names: Iterable[bytes]) -> int:
    """Of events with these names, one for each."""
    size = _EVENT.size                 # the kernel fills a name up with NULs, one at least
    return sum([size + (len(name) + size) // size * size for name in names])


class Inotify(Instance):
    """An instance of this process's making.  Raises OSError where the kernel refuses."""

    def __init__(self, fd: int = -1) -> None:
        """``fd``: of an instance that is there already."""
        self._binding = binding()
        if fd < 0:
            fd = self._binding.inotify_init()
        if fd < 0:
            raise self._failure("inotify_init")
        super().__init__(fd)

    def add(self, path: str, mask: int) -> int:
        """As Instance.add."""
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


# -- one instance for all that a process hears

class _Dispatcher:
    """The process's instance, and whose watches are in it.  ``masks``: watch -> ear -> what that
    one wants to hear.  ``inherited``: another process had it, and its watches.  ``ends``: it is about to be
    closed, and all watches end with it."""

    def __init__(self, inotify: Lent | None = None) -> None:
        """``inotify``: one that another process had."""
        self.inherited = inotify is not None
        self.ends = False
        self.inotify: Lent = inotify or (_lender() if _lender is not None else Inotify())
        self.masks: dict[int, dict[Ear, int]] = {}

    def read(self) -> None:
        """Give each ear the events that are its own."""
        events = self.inotify.events()
        if events:
            self._give(events)

    def skip(self, ear: Ear, number: int, octets: int) -> bool:
        """As Ear.skip()."""
        inotify = self.inotify
        if ear.waiting or not isinstance(inotify, Instance) or [*self.masks.get(number, ())] != [ear]:
            return False
        left = inotify.skip(octets)
        self._give(left or [])
        return left is None

    def _give(self, events: list[tuple[int, int, bytes]]) -> None:
        for event in events:
            number, mask, _ = event
            if mask & IN_Q_OVERFLOW:
                for ear in {ear: None for ears in self.masks.values() for ear in ears}:
                    ear.waiting.append(event)
                continue
            for ear, wanted in self.masks.get(number, {}).items():
                if mask & (wanted | _ALL_HEAR):
                    ear.waiting.append(event)
            if mask & IN_IGNORED:
                self.masks.pop(number, None)   # the kernel has ended it


def lend(lender: Callable[[], Lent] | None) -> None:
    """From now on the instance of this process is made by another one: ``lender`` gives what stands
    for it, or raises OSError."""
    global _lender
    _lender = lender


_lender: Callable[[], Lent] | None = None


def is_at_hand() -> bool:
    """Is an instance to be had without loading what makes one?"""
    return _dispatcher is not None or _lender is not None or _binding is not None


def inherit(instance: Lent) -> None:
    """The instance of this process is one that another process had, with all its watches: see Ear.again()."""
    global _dispatcher
    _dispatcher = _Dispatcher(instance)


def own() -> int:
    """The descriptor of this process's instance, which another can go on with; -1 where it has none."""
    if _dispatcher is None or not isinstance(_dispatcher.inotify, Instance):
        return -1
    return _dispatcher.inotify.fd


def watched() -> dict[int, int]:
    """All watches of this process: their numbers, and what is heard of each."""
    found = {}
    for number, ears in _dispatcher.masks.items() if _dispatcher is not None else ():
        found[number] = 0
        for mask in ears.values():
            found[number] |= mask
    return found


class Ear:
    """The watches of one who listens.  All of a process share an instance: to close one takes the
    kernel 8 ms, and a user has 128.  ``fd`` is readable when there are events, unless ``waiting``
    has them: another ear's reading brought them.  Raises OSError where the kernel refuses."""

    def __init__(self) -> None:
        global _dispatcher
        if _dispatcher is None:
            _dispatcher = _Dispatcher()
        self._dispatcher = _dispatcher
        self.fd = _dispatcher.inotify.fd
        self.waiting: list[tuple[int, int, bytes]] = []

    @classmethod
    def again(cls, watches: Mapping[int, int]) -> Ear | None:
        """One that has these watches, number -> mask, of the instance that was inherited; None where none
        was."""
        if _dispatcher is None or not _dispatcher.inherited:
            return None
        ear = cls()
        for number, mask in watches.items():
            _dispatcher.masks.setdefault(number, {})[ear] = mask
        return ear

    @property
    def watches(self) -> dict[int, int]:
        """Its watches: number -> mask."""
        return {number: ears[self] for number, ears in self._dispatcher.masks.items() if self in ears}

    def add(self, path: str, mask: int) -> int:
        """The number of the watch: of the old one when ``path`` is watched already.  OSError."""
        number = self._dispatcher.inotify.add(path, mask | IN_MASK_ADD)
        self._hears(number, mask)
        return number

    def add_all(self, wanted: Sequence[tuple[str, int]]) -> list[int | OSError]:
        """As add() of each path and mask; the error of one stands in its place."""
        found = self._dispatcher.inotify.add_all([(path, mask | IN_MASK_ADD) for path, mask in wanted])
        for number, (_, mask) in zip(found, wanted, strict=True):
            if isinstance(number, int):
                self._hears(number, mask)
        return found

    def _hears(self, number: int, mask: int) -> None:
        ears = self._dispatcher.masks.setdefault(number, {})
        ears[self] = ears.get(self, 0) | mask

    def remove(self, number: int) -> None:
        """End a watch; what it heard before is forgotten."""
        ears = self._dispatcher.masks.get(number, {})
        if ears.pop(self, 0):
            self.waiting = [event for event in self.waiting if event[0] != number]
            if not ears:
                del self._dispatcher.masks[number]
                # else it is that of our parent, or to end each of them alone is of no use
                if self._dispatcher.inotify.fd >= 0 and not self._dispatcher.ends:
                    self._dispatcher.inotify.remove(number)

    def events(self) -> list[tuple[int, int, bytes]]:
        """As Inotify.events(), of these watches."""
        self.listen()
        found = self.waiting
        if found:
            self.waiting = []
        return found

    def skip(self, number: int, octets: int) -> bool:
        """Let no event wait of what this process did to what is watched: these have so many octets.  False,
        and they wait like all others, if there is another one, or somebody else wants to hear them."""
        return self._dispatcher.inotify.fd >= 0 and self._dispatcher.skip(self, number, octets)

    def listen(self) -> None:
        """Let ``waiting`` have all that happened until now."""
        dispatcher = self._dispatcher
        if dispatcher.inotify.fd >= 0:
            dispatcher.read()

    def close(self) -> None:
        """End all its watches."""
        self.waiting = []
        for number in self.watches:
            self.remove(number)


_dispatcher: _Dispatcher | None = None


def ends() -> None:
    """The instance of this process is about to be closed, by drop() or with the process."""
    if _dispatcher is not None:
        _dispatcher.ends = True


def drop() -> None:
    """Close the instance of this process; who listens by it hears no more."""
    global _dispatcher
    if _dispatcher is not None:
        _dispatcher.inotify.close()
        _dispatcher = None


@fresh.forgets
def _own() -> None:
    drop()
    lend(None)


# what a parent hears is its own; to close it is quick as long as the parent has it open
os.register_at_fork(after_in_child=drop)


class NotInstalled(OSError):
    """There is no pyinotify, or it finds no inotify."""

    def __init__(self) -> None:
        super().__init__(errno.ENOSYS, "pyinotify is not installed")


_binding: Any = None


def binding() -> Any:
    """pyinotify's binding to the system.  Raises NotInstalled."""
    global _binding
    if _binding is None:
        try:
            import pyinotify
        except ImportError:
            raise NotInstalled from None
        _binding = pyinotify.INotifyWrapper.create()
        if _binding is None:
            raise NotInstalled
    return _binding
