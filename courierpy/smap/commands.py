"""SMAP's commands: name -> what it does, and what it needs.

A handler is a function of the session and of the words behind the name; it gives the text of the ``+OK``.
Raises Bad for what cannot be understood, No for what may not be, and store errors. """
from __future__ import annotations

from courierpy.smap import adding, contents, folders, messages, rights

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Handler = Callable[[Any, Sequence[bytes]], str]


class Row:
    """``like``: the command of IMAP whose state and rights on the open
    mailbox it needs, b"" for none.  ``failed``: begins the answer where the store refuses it."""

    __slots__ = ("failed", "handler", "like")

    def __init__(self, handler: Handler, failed: str = "", like: bytes = b"") -> None:
        self.handler = handler
        self.failed = failed
        self.like = like


STATUS, OPEN, CREATE = "Cannot read folder status", "Cannot open the folder", "Cannot create folder"
ACLS = "Invalid folder"

COMMANDS: Mapping[bytes, Row] = {
    b"ACL": Row(rights.acl, ACLS), b"GETACL": Row(rights.getacl, ACLS),
    b"SETACL": Row(rights.setacl, ACLS, b"SETACL"), b"DELETEACL": Row(rights.deleteacl, ACLS, b"SETACL"),
    b"ADD": Row(adding.add, "Cannot save message", b"CREATE"), b"RSET": Row(adding.rset),
    b"LIST": Row(folders.list_, "Cannot list folders"), b"STATUS": Row(folders.status, STATUS),
    b"CREATE": Row(folders.create, CREATE, b"CREATE"), b"MKDIR": Row(folders.mkdir, CREATE, b"CREATE"),
    b"DELETE": Row(folders.delete, "Cannot delete folder", b"DELETE"),
    b"RMDIR": Row(folders.rmdir, CREATE, b"DELETE"),
    b"RENAME": Row(folders.rename, "Cannot rename folder", b"RENAME"),
    b"OPEN": Row(folders.open_, OPEN), b"SOPEN": Row(folders.sopen, OPEN), b"CLOSE": Row(folders.close),
    b"NOOP": Row(messages.noop), b"IDLE": Row(messages.idle), b"RESUME": Row(messages.resume),
    b"EXPUNGE": Row(messages.expunge, "Cannot remove messages", b"EXPUNGE"),
    b"FETCH": Row(contents.fetch, "Cannot retrieve message", b"FETCH"),
    b"STORE": Row(messages.store, "Cannot update messages", b"STORE"),
    b"COPY": Row(messages.copy, "Cannot copy messages", b"COPY"),
    b"MOVE": Row(messages.move, "Cannot copy messages", b"MOVE"),
    b"SEARCH": Row(messages.search_, "SEARCH failed", b"SEARCH"),
    b"LOGOUT": Row(folders.logout)}
