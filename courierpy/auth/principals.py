"""EXTERNAL_MAP: the users that names from outside stand for, of certificates and the like, as in krb.equiv.

A line has a name and, behind the last blanks of it, a user.  A name that is in no line stands for itself.
"""
from __future__ import annotations

import os

from courierpy.auth import TemporaryFailure
from courierpy.system.regular import open_regular

VARIABLE = "EXTERNAL_MAP"
MAX_OCTETS = 16 * 1024 * 1024


class Principals:
    """``users``: name -> user, the first line of a name counts.  ``wrong``: what is odd, a text for each line
    of it, with its number."""

    __slots__ = ("users", "wrong")

    def __init__(self, text: str) -> None:
        self.users: dict[str, str] = {}
        self.wrong: list[str] = []
        for number, line in enumerate(text.split("\n"), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            name, user = ([*line.rsplit(None, 1), ""])[:2]
            if not user:
                self.wrong.append(f"line {number}: a name and a user were expected, not one word")
            elif not (name + user).isprintable():
                self.wrong.append(f"line {number}: there is a character in it that cannot be shown")
            elif name in self.users:
                self.wrong.append(f"line {number}: an earlier line has this name, and counts")
            else:
                self.users[name] = user


def read(path: str) -> Principals:
    """Raises OSError, ValueError: nobody can tell who is meant."""
    fd = open_regular(path, os.O_RDONLY)
    with open(fd, "rb") as file:
        if os.fstat(fd).st_mode & 0o022:
            raise ValueError("others can write it, mode must be 0644")
        data = file.read(MAX_OCTETS + 1)
    if len(data) > MAX_OCTETS:
        raise ValueError(f"it has more than {MAX_OCTETS} octets")
    return Principals(data.decode("utf-8", "surrogateescape"))


def user_of(name: str, path: str) -> str:
    """Whom the name stands for.  ``path``: of the file, "" for none.  Raises TemporaryFailure."""
    if not path or not name:
        return name
    try:
        return read(path).users.get(name, name)
    except (OSError, ValueError) as error:
        raise TemporaryFailure(f"{VARIABLE}: {path}: {getattr(error, 'strerror', '') or error}") from None
