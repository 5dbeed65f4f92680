"""The UIDVALIDITY that a copy will have (linked.py) which nobody has made yet: it is told, and is true.

``courierpy-promised`` in the Maildir has a symbolic link for each, ``NAME.FOLDER``, which leads to the
number: it is made in one step and by one session, and there is nothing else in it.  It goes when there is a
copy that has the number, so that the next copy has another.  What cannot be written is kept in memory, for
one session.
"""
from __future__ import annotations

import os

from courierpy.maildir.errors import Denied, QuotaExceeded
from courierpy.maildir.files import remove
from courierpy.maildir.formats.uiddb import MAX_UID
from courierpy.model.numbers import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.uidvalidity import Uidvalidities

PROMISED = "courierpy-promised"


class Promises:
    """Of the Maildir at ``root``, whose numbers are of ``uidvalidities``.  ``read_only``: none is written."""

    __slots__ = ("_inside", "_read_only", "_uidvalidities", "_unwritten")

    def __init__(self, root: str, uidvalidities: Uidvalidities, read_only: bool) -> None:
        self._inside = os.path.join(root, PROMISED)
        self._uidvalidities = uidvalidities
        self._read_only = read_only
        self._unwritten: dict[str, int] = {}

    def find(self, name: str) -> int:
        """What was told of this copy; 0 where nothing was."""
        try:
            return decimal(os.readlink(os.path.join(self._inside, name)), MAX_UID) or 0
        except OSError:
            return self._unwritten.get(name, 0)

    def make(self, name: str) -> int:
        """What is told of it from now on.  Raises a store error."""
        found = self.find(name)
        if found:
            return found
        try:
            found = self._uidvalidities.next(record=not self._read_only)
            if not self._read_only and self._write(name, found):
                return self.find(name) or found        # another session was first, perhaps
        except (Denied, QuotaExceeded):
            found = self._uidvalidities.next(record=False)
        self._unwritten[name] = found
        return found

    def _write(self, name: str, value: int) -> bool:
        """Is it on disk, this one or another?"""
        path = os.path.join(self._inside, name)
        for _ in range(2):
            try:
                os.symlink(str(value), path)
                return True
            except FileExistsError:
                if self.find(name):
                    return True
                remove(path)           # nobody of us has made that
            except FileNotFoundError:
                try:
                    os.mkdir(self._inside, 0o700)
                except OSError:
                    continue           # another session was first, or the next try says why not
            except OSError:
                return False
        return False

    def end(self, name: str) -> None:
        """There is a copy that has it."""
        self._unwritten.pop(name, None)
        remove(os.path.join(self._inside, name))
