"""An open mailbox that shows somebody else's: see mirror.py."""
from __future__ import annotations

import os

from courierpy.maildir.draft import Draft
from courierpy.maildir.finder import Finder
from courierpy.maildir.mailbox import Mailbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.index.statuscache import Counts, Status
    from courierpy.maildir.intake import Intake
    from courierpy.maildir.mirror import Mirror
    from courierpy.maildir.options import StoreOptions
    from courierpy.maildir.uidvalidity import Uidvalidities
    from courierpy.maildir.watch import Watch
    from courierpy.model.messages import Snapshot


class MirroredMailbox(Mailbox):
    """``mirror``: what it shows, which is looked at before each look."""

    __slots__ = ("_mirror",)

    def __init__(self, name: str, path: str, options: StoreOptions, uidvalidities: Uidvalidities,
                 counts: Counts, mirror: Mirror) -> None:
        super().__init__(name, path, options, uidvalidities, counts)
        self._mirror = self.place.mirror = mirror

    def watch(self) -> Watch:
        watch = super().watch()
        watch.also(self._mirror.directories)
        return watch

    def scan(self, readonly: bool = False) -> Snapshot:
        self._refresh()
        return super().scan(readonly)

    def status(self) -> Status:
        self._refresh()
        return super().status()

    def _refresh(self) -> None:
        self._looker.changes.looks_beside()
        if not self.place.options.read_only:
            self._mirror.refresh(self.place.lock)

    @property
    def finder(self) -> Finder:
        return _MirroredFinder(self.place, self.contents, self._looker.numbers, self._looker.changes)

    def _intake(self) -> Intake:
        self._refresh()                # what was there before is numbered before
        return super()._intake()

    def draft(self) -> Draft:
        return Draft(self._mirror.source, self.place.options.host)


class _MirroredFinder(Finder):
    """A link that leads nowhere may be of a file that has another name since."""

    __slots__ = ()

    def locate(self, uid: int) -> tuple[bytes, int]:
        path, bits = self._last_known(uid)
        mirror = self._place.mirror
        if mirror is not None and not os.path.exists(path):
            mirror.refresh(self._place.lock, always=True)
            path, bits = super().locate(uid)
            if not os.path.exists(path):
                raise self._vanished(uid)
        return path, bits
