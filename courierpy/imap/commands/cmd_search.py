"""SEARCH and UID SEARCH.  RFC 9051 6.4.4, RFC 3501 6.4.4; with RETURN: RFC 4731."""
from __future__ import annotations

from itertools import chain

from courierpy.imap import ext, search
from courierpy.imap.commands import NUMBERS, SELECTED, USES_SEQ, Done, command
from courierpy.imap.grammar import lines, searchkeys
from courierpy.imap.returns import RETURNS, Found
from courierpy.maildir.errors import StoreError
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.searchkeys import Key
    from courierpy.imap.session import Session

CAPABILITIES = (b"I18NLEVEL=1",)       # texts are compared by i;unicode-casemap: RFC 5255 4.2


def search_messages(session: Session, args: Args) -> Done:
    args.sp()
    options = take_returns(args)
    if options is None and session.manners.esearch:
        options = _all()
    try:
        key = search.parse(session, args)
        check(session, args.tag, options, key)
        seqs, lowest = search.run_within(session, key, session.rules.message_limit)
    except (No, StoreError):
        refused(session, options)
        raise

    found = Found(session, key, seqs, args.command == b"UID SEARCH", options, args.tag)
    if options is None:
        tell_numbers(b"SEARCH", found)
    else:
        tell_returns(found)
    code = ext.tagged_code(b"LIMITED", session.rules.message_limit, lowest) if lowest else None
    return Done("SEARCH done.", code, uses_seq=searchkeys.uses_numbers(key))


def check(session: Session, tag: bytes, options: Mapping[bytes, Any] | None, key: Key) -> None:
    """Raises Bad where the options of RETURN do not go with what is searched for."""
    for option in options or ():
        RETURNS.need(option).check(session, tag, key)


def tell_numbers(name: bytes, found: Found) -> None:
    """The line of numbers: of SEARCH or of SORT.  What keys have to say stands behind, in parentheses."""
    besides = [b"(%s %s)" % told for told in search.besides(found.session, found.key, found.seqs)]
    found.session.write_long(lines.numbers(name, found.numbers, *besides))


def refused(session: Session, options: Mapping[bytes, Any] | None) -> None:
    """The command is answered with NO: those of its options hear of it that want to."""
    for option in options or ():
        hears = RETURNS.need(option).refused
        if hears is not None:
            hears(session)


def take_returns(args: Args) -> dict[bytes, Any] | None:
    """RETURN before the keys, if it is there: options and what stands behind them; ALL for none.
    RFC 4731 3.1.  Raises Bad."""
    options = searchkeys.take_returns(args, RETURNS.find)
    if options is None:
        return None
    words = [option for option, _ in options]
    for option in words:
        for other in RETURNS.need(option).not_beside:
            if words.count(other) > (other == option):
                raise Bad("Result options that do not go together.")
    return dict(options) if options else _all()


def _all() -> dict[bytes, Any]:
    """The options of whoever names none.  Raises Bad where there are none at all."""
    if RETURNS.find(b"ALL") is None:
        raise Bad("Unknown SEARCH result option.")
    return {b"ALL": None}


def tell_returns(found: Found, empty: bool = True) -> None:
    """The ESEARCH line: what the options say of what was found, and the keys of that.  RFC 4731 3.2.
    ``empty``: it is told where nothing was found, too."""
    values: list[bytes | Iterable[bytes]] = [found.correlator]
    spoken: list[Sequence[int]] = []
    silent = True
    for option, value in found.options.items():
        record = RETURNS.need(option)
        told = record.tell(found, value)
        if told is not None:
            values += option, told
        if not record.silent:
            silent = False
            if not record.aside:
                spoken.append(record.part(found, value))
    for word, said in search.besides(found.session, found.key, chain.from_iterable(spoken)):
        values += word, said
    if not silent and (empty or found.seqs):
        found.session.write_long(lines.long_data(b"ESEARCH", *values))


command(b"SEARCH", when=SELECTED, flags=USES_SEQ | NUMBERS, rights="r")(search_messages)
command(b"UID SEARCH", when=SELECTED, rights="r")(search_messages)
