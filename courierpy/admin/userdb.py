"""courierpy userdb: a field of an account in a userdb, by the words of Courier's userdb."""
from __future__ import annotations

import os

from courierpy.admin import complain, default_files, read_settings
from courierpy.admin.secrets import NoPassword, ask
from courierpy.admin.user import FORBIDDEN, Wrong, changing, fields_of, find, read, row_of, split
from courierpy.system.settings import Settings

USAGE = """Usage: courierpy userdb [PATH/ | -f FILE] NAME set FIELD=VALUE FIELD=VALUE...
       courierpy userdb [PATH/ | -f FILE] NAME unset FIELD FIELD...
       courierpy userdb [PATH/ | -f FILE] NAME del
       courierpy userdb -show [PATH/ | -f FILE] [NAME]"""
EINVAL = 22                        # exit status for a field or value that cannot be


def main(words: list[str]) -> int:
    if words[:1] in (["--help"], ["-h"]):
        print(USAGE)
        return 0
    show = words[:1] == ["-show"]
    words = words[show:]
    path = ""
    if words[:1] == ["-f"] and len(words) > 1:
        path, words = words[1], words[2:]
    name, rest = words[0] if words else "", words[1:]
    if not path:
        below, slash, name = name.rpartition("/")
        path = Settings(read_settings(default_files())).text("USERDB")
        path = os.path.join(path, below) if slash else path
    if show:
        return _usage() if rest else _show(path, name)
    action, fields = rest[0] if rest else "", rest[1:]
    if not name or (action == "del") == bool(fields) or action not in ("set", "unset", "del"):
        return _usage()
    try:
        values = _values(name, fields) if action == "set" else {}
    except Wrong as why:
        complain(str(why))
        return EINVAL
    except NoPassword as why:
        complain(f"{name}: {why}")
        return 1
    try:
        with changing(path, new=action == "set") as rows:
            at = find(rows, name)
            if action == "set":
                _put(rows, at, row_of(name, (fields_of(rows[at]) if at is not None else {}) | values))
            elif at is not None:
                kept = {key: value for key, value in fields_of(rows[at]).items() if key not in fields}
                _put(rows, at, row_of(name, kept) if action == "unset" else None)
    except Wrong as why:
        complain(str(why))
        return 1
    return 0


def _usage() -> int:
    complain(USAGE)
    return 1


def _put(rows: list[str], at: int | None, row: str | None) -> None:
    if at is None:
        assert row is not None
        rows.append(row)
    elif row is None:
        del rows[at]
    else:
        rows[at] = row


def _values(name: str, words: list[str]) -> dict[str, str]:
    """A field without a value gets it from the terminal, or from a line of standard input.  Raises Wrong,
    NoPassword."""
    found = {}
    for word in words:
        field, equals, value = word.partition("=")
        if not equals:
            value = ask(f"{name}, {field}")
        if not field or any(char in FORBIDDEN for char in word + value) or any(
                char in FORBIDDEN for char in name) or name.startswith("#"):
            raise Wrong("Invalid field or value.")
        found[field] = value
    return found


def _show(path: str, name: str) -> int:
    """The names, or the fields of one account."""
    try:
        rows = split(read(path))
    except Wrong as why:
        complain(str(why))
        return 1
    if not name:
        for row in rows:
            if "\t" in row and not row.startswith("#"):
                print(row.partition("\t")[0])
        return 0
    at = find(rows, name)
    for field, value in (fields_of(rows[at]) if at is not None else {}).items():
        print(f"{field}={value}")
    return 0
