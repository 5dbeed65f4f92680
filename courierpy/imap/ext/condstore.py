"""CONDSTORE.  RFC 7162 3.1: each message has a number that rises when it changes.

A client that asks for these numbers by any of the enabling commands hears of them in every
FETCH from then on.  The numbers are of messages, not of single flags; a conditional STORE passes
for a message of which only other flags have changed, as far as the log says so.
"""
from __future__ import annotations

from itertools import compress

from courierpy.imap import modseqs
from courierpy.imap.ext import Extension
from courierpy.imap.grammar.args import ERROR
from courierpy.imap.updates import FlagsChanged
from courierpy.maildir.errors import StoreError
from courierpy.model.replies import Bad
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from courierpy.imap.commands.cmd_store import Condition
    from courierpy.imap.fetch import Chunk, Fetching, Item, Modifier
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.searchkeys import Parser
    from courierpy.imap.search import Program, SearchKey
    from courierpy.imap.selected import Selected
    from courierpy.imap.session import Session
    from courierpy.imap.updates import Update
    from courierpy.imap.view import View
    from courierpy.maildir.index.statuscache import Status
    from courierpy.model.flags import FlagChange

ENTRY = b"/flags/"
ENTRY_TYPES = (b"PRIV", b"SHARED", b"ALL")


# -- SELECT, STATUS, and what is told unasked

def _select(session: Session, args: Args) -> Callable[[Session, Selected], bytes]:
    """RFC 7162 3.1.8: the parameter has no value."""
    return _selected_first


def _selected_first(session: Session, selected: Selected) -> bytes:
    if modseqs.TOKEN in session.enabled:
        return b""                     # it was told for that
    session.enabled.add(modseqs.TOKEN)
    return _selected(session, selected)


def _selected(session: Session, selected: Selected) -> bytes:
    return modseqs.follow(session, selected, expunges=True)


def _plain(session: Session, selected: Selected) -> bytes:
    """RFC 7162 3.1.2.1, 3.1.2.2: to clients that did not ask too; Thunderbird asks only where it was told."""
    number = selected.folder.as_of()
    if number == 0:
        try:
            number = _highest(session, selected.folder.name)
        except StoreError as error:
            log.warn(f"{error}: no HIGHESTMODSEQ is told")
            return b""                 # there may be one the next time
        finally:
            session.tell(expunges=True)        # all that it stands for
    return modseqs.highest(number) if number else modseqs.none_kept()


def _status(session: Session, name: str, count: Status) -> bytes:
    """RFC 7162 3.1.7.  0: none can be kept."""
    modseqs.turn_on(session)
    return b"%d" % _highest(session, name)


def _highest(session: Session, name: str) -> int:
    from courierpy.maildir.highest import highest
    return highest(session.folders, name)


def _with_modseqs(session: Session, said: list[Update]) -> list[Update]:
    found = modseqs.find(session.need_selected())
    if found is None:
        return said
    history = found.history
    return [modseqs.Numbered(update.states, update.silent, dict(zip(
        update.states, map(history.modseq, update.states), strict=True)))
            if isinstance(update, FlagsChanged) else update for update in said]


# -- FETCH

def _number_of(view: View, seq: int) -> int:
    numbers = view.messages.modseqs
    return numbers[seq - 1] if numbers is not None and numbers[seq - 1] else 1


def _column(chunk: Chunk, known: Sequence[bytes | None]) -> list[int]:
    view = chunk.view
    return [_number_of(view, seq) for seq in chunk.seqs]


def _besides(session: Session) -> tuple[bytes, ...]:
    """RFC 7162 3.1: in each FETCH, once one has been asked for."""
    return (b"MODSEQ",) if modseqs.find(session.need_selected()) is not None else ()


def _changed_since(session: Session, args: Args) -> Modifier:
    """RFC 7162 3.1.4.1."""
    from courierpy.imap.fetch import Modifier
    args.sp()
    since = modseqs.number(args)

    def stay(fetching: Fetching, seqs: list[int]) -> list[int]:
        view = fetching.session.need_selected().view
        numbers = view.messages.modseqs
        assert numbers is not None
        if len(seqs) == len(view):
            return list(compress(seqs, map(since.__lt__, numbers)))
        return [seq for seq in seqs if numbers[seq - 1] > since]
    return Modifier(b"CHANGEDSINCE", stay, (b"MODSEQ",), prepare=modseqs.need, value=since)


# -- STORE

def _unchanged_since(session: Session, args: Args) -> Condition:
    """RFC 7162 3.1.3."""
    from courierpy.imap.commands.cmd_store import Condition
    from courierpy.imap.grammar.numset import compact
    args.sp()
    since = modseqs.number(args)
    failed: list[tuple[int, int]] = []     # sequence number and UID

    def stay(session: Session, change: FlagChange, seqs: list[int]) -> list[int]:
        selected = session.need_selected()
        found = modseqs.find(selected)
        assert found is not None
        found.refresh()
        messages = found.history.messages
        numbers = found.history.modseqs
        changed: dict[int, int] = {}           # UID: sequence number
        for seq in seqs:
            uid = selected.view.uids[seq - 1]
            row = messages.find(uid)
            # what is not there any more is left out by the store
            if row >= 0 and numbers[row] > since and (since or not _is_new(change, messages.state(uid)[1])):
                changed[uid] = seq
        if not changed:
            return seqs
        if since:
            for uid in found.untouched(since, changed, change):
                del changed[uid]
        failed.extend((seq, uid) for uid, seq in changed.items())
        missed = set(changed.values())
        return [seq for seq in seqs if seq not in missed]

    def code(by_uid: bool) -> bytes | None:
        return b"MODIFIED " + compact(pair[by_uid] for pair in failed) if failed else None
    return Condition(stay, code, modseqs.need)


def _is_new(change: FlagChange, words: frozenset[bytes]) -> bool:
    """Does the change concern keywords alone, none of which the message has?  RFC 7162 3.1.3, example 8: the
    only thing that was never changed since 0."""
    have = {word.lower() for word in words}
    return change.mode != "=" and not change.flags and bool(change.keywords) \
        and not any(word.lower() in have for word in change.keywords)


# -- SEARCH

def _parse_search(parser: Parser) -> int:
    """``MODSEQ ["/flags/..." priv|shared|all] number``.  RFC 7162 3.1.5: without numbers for single flags
    what names one is ignored."""
    args = parser.args
    args.sp()
    if args.at(b'"'):
        entry = args.string()
        args.sp()
        kind = args.word()
        if not entry.lower().startswith(ENTRY) or kind not in ENTRY_TYPES:
            raise Bad(ERROR)
        args.sp()
    return modseqs.number(args)


def _mask(program: Program, since: int, within: bytes) -> bytes:
    numbers = program.view.messages.modseqs
    assert numbers is not None
    return bytes(map(since.__le__, numbers))


def _highest_of(session: Session, seqs: list[int]) -> tuple[bytes, bytes] | None:
    """RFC 7162 3.1.6, 3.1.10."""
    view = session.need_selected().view
    return (b"MODSEQ", b"%d" % max(_number_of(view, seq) for seq in seqs)) if seqs else None


def _items() -> dict[bytes, Item]:
    from courierpy.imap.fetch import Column, Item
    return {b"MODSEQ": Item(column=Column(_column, form=b"(%d)"), prepare=modseqs.need)}


def _keys() -> dict[bytes, SearchKey]:
    from courierpy.imap.search import SearchKey
    return {b"MODSEQ": SearchKey(_mask, parse=_parse_search, prepare=modseqs.need, besides=_highest_of)}


# each SELECT comes here, and needs nothing of FETCH, SEARCH and STORE
EXTENSION = Extension(
    modseqs.TOKEN,
    enable={modseqs.TOKEN: modseqs.turn_on},
    select_params={modseqs.TOKEN: _select},
    on_open={modseqs.TOKEN: lambda session, mailbox: mailbox.number_changes()},
    on_selected={modseqs.TOKEN: _selected},
    on_plain={modseqs.TOKEN: _plain},
    on_updates={modseqs.TOKEN: _with_modseqs},
    status_items={b"HIGHESTMODSEQ": _status},
    fetch_items=_items,
    fetch_besides={modseqs.TOKEN: _besides},
    fetch_modifiers={b"CHANGEDSINCE": _changed_since},
    store_modifiers={b"UNCHANGEDSINCE": _unchanged_since}, search_keys=_keys)
