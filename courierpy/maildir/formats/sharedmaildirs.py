"""The list of Maildirs whose mailboxes are shared by the rights of their files: Courier's ``shared-maildirs``
in a Maildir, and ``maildirshared`` beside the settings, which is for all accounts.

A line is ``name<TAB>path``, where blanks may stand for the tab; ``#`` begins a comment.  The name is a level
of the names of mailboxes.
"""
from __future__ import annotations

import os

NAME = "shared-maildirs"
OF_ALL = "/etc/courier/maildirshared"
COPIES = "shared-folders"          # in a Maildir: what there is of each, as its user has it


def are_there(root: str) -> bool:
    """Is anything named to the user whose Maildir is at ``root``?"""
    return os.access(os.path.join(root, NAME), os.F_OK) or os.access(OF_ALL, os.F_OK)


def parse(data: bytes) -> dict[bytes, bytes]:
    """Name -> path of the Maildir.  Of two lines of a name the first counts; what is no such line is passed
    over."""
    found: dict[bytes, bytes] = {}
    for line in data.split(b"\n"):
        name = _name(line)
        path = line.partition(b"#")[0][len(name):].lstrip(b" \t")
        if path.startswith(b"/") and is_name(name):
            found.setdefault(name, path)
    return found


def _name(line: bytes) -> bytes:
    """What a line begins with, as far as the first blank."""
    return line.partition(b"#")[0].replace(b"\t", b" ").partition(b" ")[0]


def is_name(name: bytes) -> bool:
    """Can it be a level of names of mailboxes?"""
    return bool(name) and not any(octet in b"./# \t\n\0" for octet in name)


def changed(data: bytes, name: bytes, path: bytes | None) -> bytes:
    """The list with that path for the name; None: without it.  Other lines stay as they are."""
    lines = [line for line in data.split(b"\n") if line and _name(line) != name]
    if path is not None:
        lines.append(name + b"\t" + path)
    return b"".join([line + b"\n" for line in lines])
