"""METADATA and METADATA-SERVER.  RFC 5464: values by name, of mailboxes and of the account.

GETMETADATA takes its options before or behind the mailbox: grammar and examples of the RFC differ.
Who enables METADATA hears between two commands which entries other sessions have changed.
"""
from __future__ import annotations

import os

from courierpy.imap import ext, metadata
from courierpy.imap.commands import ANY, CHANGES, Done, command
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines, out
from courierpy.maildir import annotation, highest
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.framer import LiteralAhead
    from courierpy.imap.session import Session
    from courierpy.maildir.annotation import Entries

KEY = b"METADATA"                  # of what a session keeps: its own word in the journal, and where it is


@command(b"GETMETADATA", when=ANY, named=("l|rswip",))
def get(session: Session, args: Args) -> Done:
    wanted = metadata.Wanted()
    args.sp()
    if args.at(b"("):
        metadata.wanted(args, wanted)
        if wanted.entries:
            raise Bad("The mailbox comes first.")
        args.sp()
    name = args.mailbox()
    args.sp()
    metadata.wanted(args, wanted)
    while args.more():
        metadata.wanted(args, wanted)
    args.end()
    if not wanted.entries:
        raise Bad("GETMETADATA needs an entry.")

    session.write(metadata.told(session, name, wanted))
    code = b"METADATA LONGENTRIES %d" % wanted.longest if wanted.longest else None
    return Done("GETMETADATA completed", code)


def _spool(session: Session, ahead: LiteralAhead) -> None:
    """A value that is too long is refused before it comes."""
    most = session.settings.number("IMAP_METADATA_OCTETS")
    if ahead.size > most:
        raise _too_long(most)


@command(b"SETMETADATA", when=ANY, flags=CHANGES, spool=_spool, named=("l|rswip",))
def set_values(session: Session, args: Args) -> str:
    args.sp()
    name = args.mailbox()
    args.sp()
    values: dict[bytes, bytes | None] = {}
    args.open()
    args.maybe_sp()
    while True:
        entry = metadata.entry(args)
        args.sp()
        values[entry] = args.nstring()
        if not args.maybe_sp() or args.at(b")"):
            break
    args.close()
    args.end()
    metadata.forbid(values)

    most = session.settings.number("IMAP_METADATA_OCTETS")
    if any(value is not None and len(value) > most for value in values.values()):
        raise _too_long(most)
    if name == metadata.SERVER and metadata.ADMIN in map(bytes.lower, values):
        raise No("This entry is read-only.", b"NOPERM")
    if name == metadata.SERVER:
        _check(session, values)
    directory, file = metadata.place(session, name, args.command)
    if not metadata.own(session, name) and any(map(metadata.is_private, values)):
        raise No("Private entries are kept for one's own mailboxes only.", b"NOPERM")
    computed = _computed(session, name, values)
    session.folders.places.repair(directory)           # which has the lock
    kept = {entry: value for entry, value in values.items() if entry.lower() not in computed}
    changed = annotation.change(session.folders.options, directory, file, kept, _bound(session))
    for entry, change in computed.items():
        change()
        changed.append(entry)
    if changed:
        if name != metadata.SERVER:
            highest.rise(session.folders, name)
        annotation.tell(session.folders.options, session.folders.layout.inbox, name, changed,
                         session.kept.get(KEY, b"-").partition(b" ")[0])
    return "SETMETADATA completed"


def _too_long(most: int) -> No:
    return No("A value may not be so long here.", b"METADATA MAXSIZE %d" % most)


def _check(session: Session, values: dict[bytes, bytes | None]) -> None:
    """Raises No for a value that an extension could not make use of."""
    for entry, value in values.items():
        level = entry.lower()[:entry.rfind(b"/") + 1]
        check = ext.find("metadata_checks", level)
        if check is not None and value is not None:
            check(session, value)


def _bound(session: Session) -> Callable[[Entries, Entries], None]:
    most = session.settings.number("IMAP_METADATA_ENTRIES")

    def allow(before: Entries, after: Entries) -> None:
        if len(after) > max(most, len(before)):
            raise No(f"There may be {most} entries here.", b"METADATA TOOMANY")
    return allow


def _computed(session: Session, name: str,
              values: dict[bytes, bytes | None]) -> dict[bytes, Callable[[], None]]:
    """Entry -> what sets it, of those that other extensions keep in their own way.  Raises No."""
    found: dict[bytes, Callable[[], None]] = {}
    for entry, value in values.items() if name != metadata.SERVER else ():
        known = ext.find("metadata_entries", entry.lower())
        if known is not None:
            found[entry.lower()] = known[1](session, name, value)
    return found


# -- what others changed

def _enable(session: Session) -> None:
    if KEY not in session.kept:
        session.kept[KEY] = b"%s %s" % (os.urandom(8).hex().encode(),
                                        annotation.Journal(session.folders.layout.inbox).place)


def _wake(session: Session, kept: bytes) -> None:
    session.kept.pop(KEY, None)
    if kept:
        session.kept[KEY] = kept


def _news(session: Session) -> None:
    """Entries that others have changed, without their values.  RFC 5464 4.4.2."""
    own, _, place = session.kept[KEY].partition(b" ")
    journal = annotation.Journal(session.folders.layout.inbox, place)
    for name, entries in journal.news(own).items():
        if name == metadata.SERVER or session.folders.exists(name):
            session.write(lines.data(b"METADATA", out.mailbox(name, session.utf8),
                                     *map(out.astring, entries)))
    session.kept[KEY] = b"%s %s" % (own, journal.place)


EXTENSION = Extension(b"METADATA", b"METADATA-SERVER",
                      enable={b"METADATA": _enable, b"METADATA-SERVER": _enable},
                      news={b"METADATA": _news, b"METADATA-SERVER": _news}, kept={KEY: _wake})
