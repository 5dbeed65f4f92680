"""MULTISEARCH.  RFC 7377: ESEARCH, a search in many mailboxes, whichever is selected.

Each mailbox is looked at as by EXAMINE, one after the other; the selected one as the client knows it.
What is told of a mailbox is one line, and none where nothing matches.
"""
from __future__ import annotations

from courierpy.imap import search
from courierpy.imap.commands import ANY, Done, command
from courierpy.imap.commands.cmd_search import check, refused, take_returns, tell_returns
from courierpy.imap.commands.cmd_select import opened
from courierpy.imap.ext import Extension
from courierpy.imap.grammar.searchkeys import uses_numbers
from courierpy.imap.mailboxes import WORDS, MailboxSet, chosen, take
from courierpy.imap.returns import RETURNS, Found
from courierpy.maildir.errors import Denied, FolderMissing, StoreError
from courierpy.model.replies import Bad, No
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.searchkeys import Key
    from courierpy.imap.selected import Selected
    from courierpy.imap.session import Session

SELECTED = b"SELECTED"


@command(b"ESEARCH", when=ANY)
def search_mailboxes(session: Session, args: Args) -> Done:
    args.sp()
    sets = _take_sets(args)
    options = take_returns(args) or {b"ALL": None}
    try:
        key = search.parse(session, args)
        check(session, args.tag, options, key)
        _check(session, sets, options)
        search.prepare(session, key)
        failed: list[StoreError] = []
        for name in _names(session, sets):
            try:
                _search(session, name, key, options, args.tag)
            except (FolderMissing, Denied):
                continue               # RFC 7377 2.2: as if it was not named
            except StoreError as why:
                log.err(str(why))
                failed.append(why)     # the others are told
        if failed:
            raise failed[0]
    except (No, StoreError):
        refused(session, options if session.selected is not None else None)
        raise
    return Done("ESEARCH done.", uses_seq=uses_numbers(key))


def _take_sets(args: Args) -> list[MailboxSet] | None:
    """``IN (mailboxes a personal ...)``; None without it.  RFC 7377 4."""
    if args.rest_text()[:3].upper() != b"IN ":
        return None
    args.word()
    args.sp()
    args.open()
    args.maybe_sp()
    sets = [take(args, (SELECTED, *WORDS))]
    while args.maybe_sp() and not args.at(b")"):
        sets.append(take(args, (SELECTED, *WORDS)))        # no scope options are known
    args.close()
    args.sp()
    return sets


def _check(session: Session, sets: list[MailboxSet] | None, options: Mapping[bytes, Any]) -> None:
    """Raises Bad where sets, options and the state of the session do not go together.  RFC 7377 2.2."""
    words = [SELECTED] if sets is None else [one.word for one in sets]
    records = [RETURNS.need(option) for option in options]
    if {*words} != {SELECTED} and any(record.alone for record in records):
        raise Bad("A result option belongs to the selected mailbox alone.")
    of_selected = any(record.of_selected for record in records)
    if session.selected is None and (SELECTED in words or of_selected):
        raise Bad("No mailbox is selected.")
    if of_selected and None not in _names(session, sets):
        raise Bad("A result option belongs to the selected mailbox, which is not among these.")


def _names(session: Session, sets: list[MailboxSet] | None) -> list[str | None]:
    """The names of the mailboxes; None for the one that is selected, by whatever name."""
    selected = session.selected
    found: list[str | None] = []
    if selected is not None and (sets is None or any(one.word == SELECTED for one in sets)):
        if "r" not in selected.rights:
            raise No("Access denied.", b"NOPERM")
        found.append(None)
    for name in chosen(session, [one for one in sets or () if one.word != SELECTED]):
        if selected is None or session.folders.path_of(name) != selected.folder.path:
            found.append(name)
        elif None not in found:
            found.append(None)
    return found


def _search(session: Session, name: str | None, key: Key, options: Mapping[bytes, Any], tag: bytes) -> None:
    """Tells what matches in one mailbox.  Raises a store error."""
    if name is None:
        _tell(session, key, options, tag)
        return
    left = {option: value for option, value in options.items()
            if not RETURNS.need(option).of_selected}
    with _Instead(session, opened(session, name, readonly=True)):
        try:
            _tell(session, key, left, tag)
        except Bad:
            return                     # it has not what the key asks for, say mod-sequences


def _tell(session: Session, key: Key, options: Mapping[bytes, Any], tag: bytes) -> None:
    selected = session.need_selected()
    seqs = search.run(session, key)
    where = b" MAILBOX %s UIDVALIDITY %d" % (
        session.mailbox(selected.folder.name), selected.snapshot.uidvalidity)
    tell_returns(Found(session, key, seqs, True, options, tag, where), empty=False)


class _Instead:
    """Another mailbox takes the place of the selected one, and is closed then."""

    __slots__ = ("_before", "_session")

    def __init__(self, session: Session, selected: Selected) -> None:
        self._session = session
        self._before = session.selected
        session.selected = selected

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        other = self._session.need_selected()
        self._session.selected = self._before
        other.folder.close()


EXTENSION = Extension(b"MULTISEARCH")
