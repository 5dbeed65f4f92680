"""Changes of many folders, heard by one instance of inotify, for whoever watches them."""
from __future__ import annotations

from courierpy.hibernate.protocol import CUR, NEW, ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Protocol

    class Inotify(Protocol):
        fd: int

        def add(self, path: str, mask: int) -> int: ...
        def remove(self, number: int) -> None: ...
        def events(self) -> Iterable[tuple[int, int, bytes]]: ...

# of <sys/inotify.h>; one mask for all, as two sessions may watch the same directory
CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
DELETE_SELF, MOVE_SELF, OVERFLOW, IGNORED = 0x400, 0x800, 0x4000, 0x8000
MASK = CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF
INSIDE = MOVED_FROM | MOVED_TO | CREATE | DELETE
KEYWORD_DIRECTORY = b"courierimapkeywords"
ALL = -1


class Hearing:
    """The keeper's watches, each for all who want to hear of its directory.

    ``watchers``: watch -> number of who watches -> what the directory is in his folder."""

    def __init__(self, inotify: Inotify) -> None:
        self.inotify = inotify
        self.watchers: dict[int, dict[int, bytes]] = {}

    @property
    def fd(self) -> int:
        """Readable when there is something to hear."""
        return self.inotify.fd

    def watch(self, who: int, directories: Iterable[int], kinds: bytes) -> tuple[int, ...]:
        """``directories``: descriptors, which can be closed then.  The watches; OSError, and then none."""
        watches: tuple[int, ...] = ()
        try:
            for directory, kind in zip(directories, kinds, strict=True):
                number = self.inotify.add(f"/proc/self/fd/{directory}", MASK)
                self.watchers.setdefault(number, {})[who] = bytes((kind,))
                watches += number,
        except OSError:
            self.unwatch(who, watches)
            raise
        return watches

    def unwatch(self, who: int, watches: Iterable[int]) -> None:
        for number in watches:
            watchers = self.watchers.get(number)
            if watchers is not None and watchers.pop(who, b"") and not watchers:
                del self.watchers[number]
                self.inotify.remove(number)

    def heard(self) -> Iterator[int]:
        """Who has news; ALL when nobody can say."""
        for watch, mask, name in self.inotify.events():
            if mask & OVERFLOW:
                yield ALL
                continue
            for who, kind in list(self.watchers.get(watch, {}).items()):
                if mask & (DELETE_SELF | MOVE_SELF | IGNORED) or _tells(kind, mask, name):
                    yield who
            if mask & IGNORED:
                self.watchers.pop(watch, None)


def _tells(kind: bytes, mask: int, name: bytes) -> bool:
    """Is this event in that directory news of the folder?"""
    if kind == ROOT:
        return name == KEYWORD_DIRECTORY
    if kind == NEW:
        return bool(mask & (CREATE | MOVED_TO))
    return bool(mask & (INSIDE if kind == CUR else INSIDE | CLOSE_WRITE))
