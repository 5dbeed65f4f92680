"""SEARCH and UID SEARCH.  RFC 9051 6.4.4, RFC 3501 6.4.4; with RETURN: RFC 4731."""
from __future__ import annotations

from courierpy.imap import ext, search
from courierpy.imap.commands import SELECTED, USES_SEQ, command
from courierpy.imap.grammar import lines, out, searchkeys
from courierpy.imap.search import Found
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session

CAPABILITIES = (b"I18NLEVEL=1",)       # texts are compared by i;unicode-casemap: RFC 5255 4.2


def search_messages(session: Session, args: Args) -> str:
    args.sp()
    options = take_returns(args)
    key = searchkeys.parse(args, search.grammar)
    args.end()

    found = Found(session, search.run(session, key), args.command == b"UID SEARCH")
    if options is None:
        session.write(lines.numbers(b"SEARCH", found.numbers))
    else:
        tell_returns(args, found, options)
    return "SEARCH done."


def take_returns(args: Args) -> list[tuple[bytes, Any]] | None:
    """RETURN before the keys, if it is there: options and what stands behind them; ALL for none.
    RFC 4731 3.1.  Raises Bad."""
    options = searchkeys.take_returns(args, search.return_grammar)
    if options is None or options:
        return options
    if search.return_grammar(b"ALL") is None:
        raise Bad("Unknown SEARCH result option.")
    return [(b"ALL", None)]


def tell_returns(args: Args, found: Found, options: list[tuple[bytes, Any]]) -> None:
    """The ESEARCH line: what the options say of what was found.  RFC 4731 3.2."""
    values = [b"(TAG %s)" % out.quoted(args.tag)]
    if found.by_uid:
        values.append(b"UID")
    for option, value in dict(options).items():
        told = ext.find("search_returns", option).tell(found, value)
        if told is not None:
            values += option, told
    found.session.write(lines.data(b"ESEARCH", *values))


command(b"SEARCH", when=SELECTED, flags=USES_SEQ, rights="r")(search_messages)
command(b"UID SEARCH", when=SELECTED, rights="r")(search_messages)
