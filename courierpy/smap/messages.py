"""Messages of the open mailbox: NOOP, IDLE, EXPUNGE, STORE, COPY, MOVE, SEARCH."""
from __future__ import annotations

import time
from functools import partial

from courierpy.imap import permitted, search, updates
from courierpy.imap.appending import brought
from courierpy.imap.commands.numbers import may_save
from courierpy.imap.dialogue import READ_TIMEOUT
from courierpy.imap.disposing import disposal
from courierpy.imap.grammar.dates import parse_date
from courierpy.imap.grammar.numset import NumSet
from courierpy.imap.grammar.searchkeys import Key
from courierpy.maildir import dates
from courierpy.maildir.errors import StoreError, Vanished
from courierpy.message.dateheader import moment
from courierpy.model.flags import FlagChange
from courierpy.model.messages import keywords_used
from courierpy.model.numbers import decimal
from courierpy.model.replies import Bad, No, anew
from courierpy.model.rights import ALL_FLAGS
from courierpy.smap import grammar, paths
from courierpy.smap.told import Changed
from courierpy.system.conn import TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from courierpy.maildir.mailbox import Mailbox
    from courierpy.smap.client import Client

INVALID_SEARCH = No("SEARCH failed: Invalid argument")


def named(client: Client, words: Sequence[bytes]) -> tuple[list[int], list[bytes]]:
    """(UIDs of the messages that words name, the words behind them).  Numbers that are not there are passed
    over."""
    ranges, rest = grammar.numbers(words)
    view = client.account.need_selected().view
    return view.uids_of(view.seqs_in(ranges)), rest


# -- what changed

def noop(client: Client, words: Sequence[bytes]) -> str:
    _tell(client)
    if client.snapshots is not None and not client.said:
        made = client.snapshots.make()
        if made:
            client.account.write(grammar.line(b"* SNAPSHOT", grammar.quoted(made)))
    return "Folder updated"


def _tell(client: Client) -> None:
    client.account.tell(expunges=True)


def idle(client: Client, words: Sequence[bytes]) -> str:
    """Behind the answer the client hears of changes when they happen, until it says the next line."""
    from courierpy.imap.ext.idle import pause_of, read_now, watch_of
    from courierpy.imap.waiting import rest
    account = client.account
    account.write(grammar.ok("Entering idle mode..."))
    watch, pause = watch_of(account), pause_of(account)
    account.conn.rest()
    rest(account)
    end = time.monotonic() + READ_TIMEOUT
    while True:
        client.renew()
        _tell(client)
        line = account.framer.line(grammar.MAX_LINE)
        if line is not None:
            break
        left = end - time.monotonic()
        if left <= 0:
            raise TimedOut
        fds = (watch.fd,) if watch is not None else ()
        soon = 0.0 if watch is not None and watch.waiting else min(pause, left)
        if account.conn.infd in account.waiting.wait(fds, soon):
            read_now(account)
    if not isinstance(line, bytes) or line.strip().upper() != b"RESUME":
        raise Bad("RESUME is required to follow IDLE")
    return "Resumed..."


def resume(client: Client, words: Sequence[bytes]) -> str:
    """What ends IDLE, and means nothing else."""
    raise Bad(grammar.SYNTAX)


def expunge(client: Client, words: Sequence[bytes]) -> str:
    """Removes the messages that are named; without a name those that are DELETED."""
    selected = client.account.need_selected()
    refused: list[StoreError] = []
    if words:
        uids, rest = named(client, words)
        if rest:
            raise Bad(grammar.SYNTAX)
        if "t" not in selected.rights:             # they need not be DELETED
            raise permitted.denied(b"EXPUNGE", "current mailbox", "t")
        if uids:
            selected.folder.remove(uids, refused, disposal(client.account, len(uids)))
    else:
        uids = selected.view.messages.deleted()
        if uids:
            selected.folder.expunge(uids, refused, disposal(client.account, len(uids)))
    _tell(client)
    if refused:
        raise refused[0]
    return "Folder updated"


# -- flags, keywords and dates

_MODES = {b"": "=", b"+": "+", b"-": "-"}


def store(client: Client, words: Sequence[bytes]) -> str:
    """Attributes that nobody knows are passed over."""
    uids, attributes = named(client, words)
    refused: list[StoreError] = []
    for attribute in attributes:
        name, equals, value = attribute.partition(b"=")
        bare = name.upper().lstrip(b"+-")
        mode = _MODES.get(name[:len(name) - len(bare)])
        if not equals or mode is None:
            continue
        if bare == b"FLAGS":
            change(client, uids, FlagChange(mode, grammar.bits(value), leaves_keywords=True), refused)
        elif bare == b"KEYWORDS" and client.account.rules.keywords_on:
            asked = FlagChange(mode, 0, grammar.keywords_of(value), ALL_FLAGS)
            change(client, uids, asked, refused, keywords=True)
        elif bare == b"INTERNALDATE":
            _date(client, uids, value, refused)
    if refused:
        raise refused[0]
    return "Folder status updated"


def change(client: Client, uids: Sequence[int], asked: FlagChange, refused: list[StoreError],
           keywords: bool = False) -> None:
    """Changes flags, or keywords where that is True, as far as the user may, and tells what there is now."""
    account = client.account
    selected = account.need_selected()
    may = permitted.changeable(selected, b"STORE", asked)
    if may is not asked:               # what stays as it is stays so
        may = FlagChange(may.mode, may.flags, may.keywords, may.left | asked.left,
                         may.leaves_keywords or asked.leaves_keywords)
    if may.keywords and may.mode != "-":
        view = selected.view
        wanted = map(may.after().__getitem__, {view.words(uid) for uid in uids})
        spelled = account.folders.options.bounds.tags(
            selected.folder.path, wanted, selected.folder.keywords.files.used,
            keywords_used(view.keywords))
        may = may.spelled(frozenset(spelled.get(word, word) for word in may.keywords))
    done = selected.folder.store(uids, may, refused) if uids else {}
    updates.write(account, [Changed(done, flags=not keywords, keywords=keywords)])


def _date(client: Client, uids: Iterable[int], value: bytes, refused: list[StoreError]) -> None:
    when = moment(value)
    if when is None:
        raise Bad(grammar.SYNTAX)
    selected = client.account.need_selected()
    if "w" not in selected.rights:
        raise No('Access denied: ACL "w" is required')
    for uid in uids:
        try:
            dates.set_arrived(selected.folder.finder, uid, when)
        except Vanished:
            continue
        except StoreError as why:
            refused.append(why)


# -- to other folders

def _target(client: Client, command: bytes, words: Sequence[bytes]) -> tuple[list[int], Mailbox]:
    uids, rest = named(client, words)
    if not rest or rest[0] or not grammar.numbers(words)[0]:
        raise Bad(grammar.SYNTAX)
    name = paths.name(client.account.folders, rest[1:])
    return uids, permitted.target(client.account, command, name,
                                  "Cannot copy messages: No such file or directory")


def copy(client: Client, words: Sequence[bytes]) -> str:
    uids, target = _target(client, b"COPY", words)
    return _bring(client, uids, target, client.account.need_selected().folder.copy, moves=False)


def move(client: Client, words: Sequence[bytes]) -> str:
    uids, target = _target(client, b"MOVE", words)
    selected = client.account.need_selected()
    if target is selected.folder:
        raise No("Cannot copy messages: Invalid argument")
    return _bring(client, uids, target, selected.folder.move, moves=True)


def _bring(client: Client, uids: Sequence[int], target: Mailbox, bring: Callable[..., Any],
           moves: bool) -> str:
    refused: list[StoreError] = []
    account = client.account
    view = account.need_selected().view
    may_save(account, len(uids))
    finder = account.need_selected().folder.finder
    _, pairs = brought(account, target, (partial(finder.open, uid) for uid in uids), len(uids),
                       partial(bring, uids, target, refused)) if uids else (0, [])
    for (old, _), name in zip(pairs, names(target, [new for _, new in pairs]), strict=True):
        if name is not None:
            account.write(grammar.line(b"* COPY %d" % view.seq(old), grammar.quoted(b"NEWUID=" + name)))
    if moves:
        _tell(client)
    if refused:
        raise refused[0]
    return "Messages copied."


def names(target: Mailbox, uids: Sequence[int]) -> list[bytes | None]:
    """What SMAP calls the UID of messages: the names of their files, without flags; None of one that has gone
    again."""
    if uids:
        target.scan(readonly=target.read_only)
    finder, found = target.finder, list[bytes | None]()
    for uid in uids:
        try:
            found.append(finder.name_of(uid))
        except Vanished:
            found.append(None)
    return found


# -- SEARCH

_SETS = {b"ALL": Key(b"ALL"), b"MARKED": Key(b"FLAGGED"), b"UNMARKED": Key(b"UNFLAGGED")}
_RANGES = b"-,0123456789"


def _text(word: bytes) -> str:
    return word.decode("utf-8", "replace")


def _day(word: bytes) -> int:
    return parse_date(word)            # ValueError


def _number(word: bytes) -> int:
    found = decimal(word, 1 << 62)
    if found is None:
        raise ValueError(word)
    return found


# a criterion: (key of IMAP's SEARCH, what makes its value of the words behind it, how many these are)
_CRITERIA: Mapping[bytes, tuple[bytes, Callable[..., Any], int]] = {
    **{name: (key, lambda: None, 0) for name, key in (
        (b"REPLIED", b"ANSWERED"), (b"DELETED", b"DELETED"), (b"DRAFT", b"DRAFT"), (b"SEEN", b"SEEN"))},
    **{name: (name, _text, 1) for name in (b"FROM", b"TO", b"CC", b"BCC", b"SUBJECT", b"BODY", b"TEXT")},
    **{name: (name, _day, 1) for name in (
        b"BEFORE", b"ON", b"SINCE", b"SENTBEFORE", b"SENTON", b"SENTSINCE")},
    b"LARGER": (b"LARGER", _number, 1), b"SMALLER": (b"SMALLER", _number, 1),
    b"KEYWORD": (b"KEYWORD", bytes, 1),
    b"HEADER": (b"HEADER", lambda field, text: (field, _text(text)), 2)}


def search_(client: Client, words: Sequence[bytes]) -> str:
    """In which messages, NOT perhaps, and one criterion."""
    try:
        key = Key(b"AND", [_within(words[0]), _criterion(words[1:])])
    except (ValueError, IndexError):
        raise anew(INVALID_SEARCH) from None
    account = client.account
    account.write(grammar.told_numbers(b"SEARCH", search.run(account, key)))
    return "Search completed."


def _within(word: bytes) -> Key:
    found = _SETS.get(word.upper())
    if found is not None:
        return found
    ranges, rest = grammar.numbers(word.split(b","))
    if rest or word.strip(_RANGES):
        raise ValueError(word)
    return Key(b"SEQSET", NumSet(tuple(ranges)))


def _criterion(words: Sequence[bytes]) -> Key:
    if words[0].upper() == b"NOT":
        return Key(b"NOT", _criterion_of(words[1:]))
    return _criterion_of(words)


def _criterion_of(words: Sequence[bytes]) -> Key:
    name, make, count = _CRITERIA.get(words[0].upper(), (b"", None, 0))
    if make is None or len(words) != count + 1:
        raise ValueError(words)
    return Key(name, make(*words[1:]))
