"""Annotations as clients name and are told them: entries, METADATA lines.  RFC 5464."""
from __future__ import annotations

import re

from courierpy.imap import ext, permitted
from courierpy.imap.grammar import lines, out
from courierpy.maildir import annotation
from courierpy.maildir.errors import FolderMissing
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session

SERVER = ""                        # the mailbox name of the account's own entries
ADMIN = b"/shared/admin"
MAX_NAME_OCTETS = 1024
# RFC 5464 3.2: slashes apart, none at the end; no wildcards, no controls, nothing but ASCII
_ENTRY = re.compile(rb"/(private|shared)(/[\x20-\x24\x26-\x29\x2b-\x2e\x30-\x7e]+)*", re.I)
_INFINITY = 1 << 30
_DEPTHS = {b"0": 0, b"1": 1, b"INFINITY": _INFINITY}


class Wanted:
    """What is asked of a mailbox.  ``depth``: levels below each entry.  ``most``: octets of a value that is
    told, None for any.  ``longest``: of those that were not told, 0 without any."""

    __slots__ = ("depth", "entries", "longest", "most")

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.depth: int | None = None
        self.most: int | None = None
        self.longest = 0


def entry(args: Args) -> bytes:
    """The name of an entry, or of a level above some.  Raises Bad."""
    name = args.astring()
    if len(name) > MAX_NAME_OCTETS or not _ENTRY.fullmatch(name):
        raise Bad("That is no name of an entry.")
    return name


def wanted(args: Args, wanted: Wanted) -> None:
    """Entries, alone or in parentheses; or the options of GETMETADATA, which are told apart by the
    slash that each entry begins with."""
    if not args.at(b"("):
        wanted.entries.append(entry(args))
        return
    args.open()
    args.maybe_sp()
    if args.rest_text()[:1].isalpha():
        _option(args, wanted)
        while args.maybe_sp() and not args.at(b")"):
            _option(args, wanted)
    else:
        wanted.entries.append(entry(args))
        while args.maybe_sp() and not args.at(b")"):
            wanted.entries.append(entry(args))
    args.close()


def _option(args: Args, wanted: Wanted) -> None:
    """RFC 5464 4.2.1, 4.2.2."""
    word = args.word()
    args.sp()
    if word == b"MAXSIZE" and wanted.most is None:
        wanted.most = args.number()
    elif word == b"DEPTH" and wanted.depth is None:
        wanted.depth = _DEPTHS.get(args.word())
        if wanted.depth is None:
            raise Bad("DEPTH is 0, 1 or infinity.")
    else:
        raise Bad("Options of GETMETADATA are MAXSIZE and DEPTH, each once.")


def place(session: Session, name: str, command: bytes = b"GETMETADATA") -> tuple[str, str]:
    """Directory and file of the entries of a mailbox, or of SERVER, for a command on them.  Raises
    FolderMissing, NotPermitted."""
    store = session.folders
    if name == SERVER:
        return store.layout.inbox, annotation.SERVER_FILE
    permitted.named(session, command, name)
    if not store.exists(name):
        raise FolderMissing(f"no such mailbox: {name!r}")
    return store.path_of(name), annotation.FILE


def own(session: Session, name: str) -> bool:
    """Is it a mailbox of the user's own?  The private entries of others are none of his."""
    return name == SERVER or session.folders.located(name)[0] is session.folders


def is_private(entry: bytes) -> bool:
    return entry.lower().startswith(b"/private/")


def told(session: Session, name: str, wanted: Wanted) -> bytes:
    """The METADATA line of a mailbox (RFC 5464 4.4.1); b"" where nothing is left to be told.  Raises
    StoreError."""
    known = annotation.read(*place(session, name))
    if not own(session, name):
        known = {key: value for key, value in known.items() if not is_private(key)}
    if name == SERVER and session.settings.text("IMAP_METADATA_ADMIN"):
        known[ADMIN] = session.settings.text("IMAP_METADATA_ADMIN").encode("utf-8", "surrogateescape")
    for key in ext.keys("metadata_entries") if name != SERVER and own(session, name) else ():
        computed = ext.find("metadata_entries", key)
        value = computed[0](session, name) if computed is not None else None
        if value is not None:
            known[key] = value
    values = []
    for key, value in _chosen(known, wanted).items():
        if value is not None and wanted.most is not None and len(value) > wanted.most:
            wanted.longest = max(wanted.longest, len(value))
        else:
            values.append(out.astring(key) + b" " + _value(value))
    if not values:
        return b""
    return lines.data(b"METADATA", session.mailbox(name), b"(%s)" % b" ".join(values))


def _chosen(known: Mapping[bytes, bytes], wanted: Wanted) -> dict[bytes, bytes | None]:
    """What is asked for, in the order of the client; None for what has no value.  Names are spelled
    as the client spells them, and else as who set them."""
    folded = {key.lower(): key for key in known}
    found: dict[bytes, bytes | None] = {}
    for asked in dict.fromkeys(wanted.entries):
        top = asked.lower()
        below = []
        if wanted.depth:
            deepest = top.count(b"/") + wanted.depth
            below = [key for key in folded if key.startswith(top + b"/") and key.count(b"/") <= deepest]
        if top in folded or not below:
            found[asked] = known.get(folded.get(top, b""))
        for key in below:
            found.setdefault(folded[key], known[folded[key]])
    return found


def _value(value: bytes | None) -> bytes:
    """``nstring / literal8``."""
    if value is not None and b"\0" in value:
        return b"~{%d}\r\n%s" % (len(value), value)
    return out.nstring(value)


def forbid(names: Iterable[bytes]) -> None:
    """Raises Bad for what is no entry, but a level above some."""
    for name in names:
        levels = name.lower().split(b"/")[1:]
        # RFC 5464 3.2: of a vendor's own, the name is behind the vendor's
        if len(levels) < (4 if levels[1:2] == [b"vendor"] else 2):
            raise Bad("That is no name of an entry, but of a level above some.")
