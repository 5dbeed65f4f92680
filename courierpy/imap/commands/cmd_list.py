"""LIST and LSUB.  RFC 9051 6.3.9, RFC 3501 6.3.9; CHILDREN: RFC 3348."""
from __future__ import annotations

from courierpy.imap import ext
from courierpy.imap.commands import ANY, command
from courierpy.imap.grammar import lines
from courierpy.imap.listing import Entry, Listing, deepest_first, parents_of, remote, wanted
from courierpy.model.namespaces import INBOX, SHARED_PREFIXES
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session


CAPABILITIES = (b"CHILDREN",)
NAMED = 5                          # Maildirs that are not shown


@command(b"LIST", when=ANY)
def list_mailboxes(session: Session, args: Args) -> str:
    """RFC 5258 6: selection options, several patterns and RETURN make it an extended LIST."""
    if not args.at(b"("):              # some clients leave the blank out
        args.sp()
    extended = args.at(b"(")
    options: list[Callable[[Listing], None]] = []
    if extended:
        options += ext.parameters("list_options", session, args, maybe_none=True)
        args.sp()
    reference = maybe(args.reference)
    args.sp()
    extended = extended or args.at(b"(")
    patterns = _patterns(args)
    if args.more():
        if args.word() != b"RETURN":
            raise Bad("LIST: RETURN or nothing must follow the pattern.")
        args.sp()
        options += ext.parameters("list_returns", session, args, maybe_none=True)
        extended = True
    args.end()

    tell(Listing(session, args.command, extended), reference, patterns, options)
    return "LIST completed"


def tell(listing: Listing, reference: str | None, patterns: list[str],
         options: list[Callable[[Listing], None]]) -> None:
    """The lines of LIST, and what else a client is told then."""
    session = listing.session
    if reference is None or not patterns:
        return                         # no name can match it
    if patterns == [""] and not listing.extended:
        if not reference.startswith(SHARED_PREFIXES[0]):
            separator = b'"%s"' % session.separator.encode()
            session.write(lines.data(listing.word, b"(\\Noselect)", separator, b'""'))
        return
    listing.by_alias = listing.by_alias or reference == INBOX
    listing.others = (False,)
    if any(_of_others(reference, pattern) for pattern in patterns):
        listing.others = False, True
    prepare(listing)
    for option in options:
        option(listing)
    # RFC 5258 3: an empty pattern of an extended LIST matches nothing
    patterns = [pattern for pattern in patterns if pattern]
    by_wildcard = wanted(reference, patterns, session.separator, by_name=False) if listing.extended else None
    listing.tell(wanted(reference, patterns, session.separator), by_wildcard)
    _tell_of_others(session)


@command(b"LSUB", when=ANY)
def list_subscribed(session: Session, args: Args) -> str:
    args.sp()
    reference = maybe(args.reference)
    args.sp()
    pattern = maybe(args.list_mailbox)
    args.end()

    tell_subscribed(session, reference, pattern, {*remote(session)})
    return "LSUB completed"


def tell_subscribed(session: Session, reference: str | None, pattern: str | None,
                    hidden: Collection[str]) -> None:
    """The lines of LSUB.  ``hidden``: names that are not told."""
    if reference is None or pattern is None:
        return
    listing = Listing(session, b"LSUB")
    prepare(listing)
    separator = session.separator
    matches = wanted(reference, (pattern,), separator)
    listing.by_alias = listing.by_alias or reference == INBOX
    shared = _of_others(reference, pattern)
    names = [name for name in listing.spelled(session.folders.subscriptions())
             if name.startswith(SHARED_PREFIXES[0]) == shared and name not in hidden]
    with_children = parents_of(names, separator)
    # RFC 3501 6.3.9: a level above is told for what the pattern does not reach
    above = parents_of([name for name in names if not matches(name)], separator).difference(names)
    entries = [Entry(name, True, name in with_children) for name in names]
    above.discard(SHARED_PREFIXES[0][:-1])
    entries += [Entry(name, False, True) for name in deepest_first(above, separator)]
    line = listing.line()
    for entry in entries:
        if matches(entry.name):
            session.write(line(entry, False))


def _of_others(reference: str, pattern: str) -> bool:
    """Are mailboxes of other accounts meant?  As in Courier only where the pattern begins as their names."""
    joined = f"{reference}.{pattern}" if reference and not reference.endswith(".") else reference + pattern
    return joined.startswith(SHARED_PREFIXES[0])


def prepare(listing: Listing) -> None:
    """What extensions add to every list of mailboxes."""
    for word in ext.keys("on_list"):
        add = ext.find("on_list", word)
        if add is not None:
            add(listing)


def _patterns(args: Args) -> list[str]:
    """One, or several in parentheses; without those that no name can match."""
    if not args.at(b"("):
        found = [maybe(args.list_mailbox)]
    else:
        args.open()
        args.maybe_sp()
        found = [maybe(args.list_mailbox)]
        while args.maybe_sp() and not args.at(b")"):
            found.append(maybe(args.list_mailbox))
        args.close()
    return [pattern for pattern in found if pattern is not None]


def maybe(take: Callable[[], str]) -> str | None:
    """The name or pattern; None for what is no modified UTF-7."""
    try:
        return take()
    except No:
        return None


def _tell_of_others(session: Session) -> None:
    """What lies beside the mailboxes and is none of them, once: who looks for it learns why."""
    found = session.folders.passed_over()
    if found:
        shown = ", ".join("".join(char if char.isprintable() else "?" for char in path)
                          for path in found[:NAMED])
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        session.write(lines.told(b"OK", f"Maildirs that are not shown, as they are none of the layout "
                                 f"{session.folders.layout.name} (IMAP_LAYOUT): {shown}{more}", b"ALERT"))
