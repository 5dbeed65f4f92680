"""Sockets for programs of this host: at a path, or at a port that no other host reaches."""
from __future__ import annotations

import errno
import os
import socket
import stat

from courierpy.listener import places
from courierpy.listener.places import Place
from courierpy.model.numbers import decimal

BACKLOG = 128
EXPECTED = "/PATH, or a port of this machine alone, as 127.0.0.1:10027 and [::1]:10027"


class Wrong(Exception):
    """A listener cannot start; str() says why, and what to do."""


def place(word: str) -> Place:
    """Of a word of a setting: a whole path, or a port.  Raises Wrong."""
    if word.startswith("/"):
        return Place("unix", word)
    try:
        found, = places.parse(word)
    except ValueError:
        found = None
    if found is None or found.kind != "tcp":
        raise Wrong(f"{word}: expected was {EXPECTED}")
    return found


def group_id(setting: str, group: str) -> int:
    """The number of the group that a setting names; -1 for none.  Raises Wrong."""
    if not group:
        return -1
    import grp
    try:
        number = decimal(group)
        return grp.getgrnam(group).gr_gid if number is None else number
    except KeyError:
        raise Wrong(f"{setting}: there is no group {group}") from None


class LocalSocket:
    """One that listens; ``place``: where.  A path is as it should be before anybody can connect."""

    def __init__(self, at: Place, mode: int, gid: int) -> None:
        """A socket of this name that nobody listens at is replaced.  ``mode``, ``gid``: of a path, -1 for our
        own group.  Raises Wrong."""
        self.place = at
        self._own: os.stat_result | None = None
        family = socket.AF_UNIX if at.kind == "unix" else \
            socket.AF_INET6 if ":" in at.address else socket.AF_INET
        self.socket = socket.socket(family)
        try:
            if at.kind == "unix":
                self._bind(at.path, mode, gid)
            else:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self.socket.bind((at.address, at.port))
            self.socket.listen(BACKLOG)
            self.socket.setblocking(False)
        except OSError as error:
            self.close()
            what = "path of at most 107 octets in a directory of ours" if at.kind == "unix" else \
                "port that nobody listens at"
            raise Wrong(f"{at.path or at}: {error.strerror or error}; a {what} was expected") from None
        except Wrong:
            self.close()
            raise

    def _bind(self, path: str, mode: int, gid: int) -> None:
        """OSError, Wrong."""
        make_way(path)
        umask = os.umask(0o177)
        try:
            self.socket.bind(path)
        finally:
            os.umask(umask)
        self._own = os.lstat(path)
        os.chown(path, -1, gid)
        os.chmod(path, mode)

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        """Nobody can connect any more; the name is gone, unless another listener has taken it."""
        self.socket.close()
        if self._own is None:
            return
        try:
            if os.path.samestat(os.lstat(self.place.path), self._own):
                os.unlink(self.place.path)
        except OSError:
            return


def make_way(path: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> None:
    """A socket of this kind that nobody is at any more goes.  Raises OSError and Wrong."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise Wrong(f"{path}: something else is there; name another, or remove it")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) != errno.ECONNREFUSED:
            raise Wrong(f"{path}: another program listens there: end it, or name another")
    os.unlink(path)
