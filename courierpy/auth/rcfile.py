"""Courier's authldaprc, authmysqlrc, authpgsqlrc and authsqliterc: the words of a back end.

A line is ``NAME``, blanks, and the value up to the end of the line; a line that ends in a backslash goes
on in the next.  Lines that begin with ``#`` are comments, and never go on.  Where a name stands twice the
first counts, as in Courier.  The files hold passwords: others must not be able to read or write them.
"""
from __future__ import annotations

import os
import stat

from courierpy.auth import TemporaryFailure
from courierpy.system.regular import open_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = "/etc/courier"
# module -> (the setting that names its file, where that is otherwise)
FILES = {"authldap": ("AUTHLDAPRC", f"{FOLDER}/authldaprc"),
         "authmysql": ("AUTHMYSQLRC", f"{FOLDER}/authmysqlrc"),
         "authpgsql": ("AUTHPGSQLRC", f"{FOLDER}/authpgsqlrc"),
         "authsqlite": ("AUTHSQLITERC", f"{FOLDER}/authsqliterc")}


def path_of(module: str, environ: Mapping[str, str]) -> str:
    """Where the file of a module is."""
    setting, default = FILES[module]
    return environ.get(setting) or default


def words(path: str) -> dict[str, str]:
    """name -> value, as the file is now.  Raises TemporaryFailure, also where there is no file: without it
    nobody can tell who is who."""
    try:
        fd = open_regular(path)
        with open(fd, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            if stat.S_IMODE(os.fstat(fd).st_mode) & 0o007:
                raise TemporaryFailure(f"{path}: others can read or write it; chmod o= {path}")
            return parse(file.read())
    except OSError as error:
        raise TemporaryFailure(f"{path}: {error.strerror}") from None


def told(error: Exception) -> str:
    """An error of a driver in one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def parse(text: str) -> dict[str, str]:
    """The words of such a file.  Names without a value have none."""
    found: dict[str, str] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        if line.startswith("#"):
            continue
        line = line.rstrip()
        while line.endswith("\\"):
            line = f"{line[:-1].rstrip()} {next(lines, '').strip()}".rstrip()
        name, *value = line.split(None, 1)[:2] if line[:1].strip() else [""]
        if value:
            found.setdefault(name, value[0])
    return found
