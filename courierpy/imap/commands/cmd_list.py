"""LIST and LSUB.  RFC 9051 6.3.9, RFC 3501 6.3.9; CHILDREN: RFC 3348."""
from __future__ import annotations

from courierpy.imap import ext
from courierpy.imap.commands import ANY, command
from courierpy.imap.grammar import lines, out
from courierpy.imap.grammar.pattern import Pattern
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session


CAPABILITIES = (b"CHILDREN",)
NAMED = 5                          # Maildirs that are not shown


@command(b"LIST", b"LSUB", when=ANY)
def list_mailboxes(session: Session, args: Args) -> str:
    args.sp()
    extended = args.command == b"LIST"         # RFC 5258 3: LSUB has no options
    options: list[Callable[[str], bool]] = []
    if extended and args.at(b"("):
        options = ext.parameters("list_options", session, args)
        args.sp()
    reference = _maybe(args.mailbox)
    args.sp()
    pattern = _maybe(args.list_mailbox)
    returns: list[Callable[[str], bytes]] = []
    if extended and args.more():
        if args.word() != b"RETURN":
            raise Bad("LIST: RETURN or nothing must follow the pattern.")
        args.sp()
        returns = ext.parameters("list_returns", session, args)
    args.end()

    word = args.command
    if reference is None or pattern is None:
        return f"{word.decode()} completed"        # no name can match it
    if not pattern and word == b"LIST":
        root = "#shared." if reference.startswith("#shared.") else ""
        if not root:
            session.write(lines.data(b"LIST", b"(\\Noselect)", b'"%s"' % session.separator.encode(), b'""'))
        return "LIST completed"
    separator = session.separator
    matches = _wanted(reference, pattern, separator)
    folders = session.folders
    if word == b"LSUB":
        names = folders.subscriptions()
        real: Collection[str] = set(names)
    else:
        names = folders.names()
        real = set(names)
    if word == b"LSUB":
        # RFC 3501 6.3.9: a level above is told for what the pattern does not reach
        parents = missing_parents([name for name in names if not matches(name)], real, separator)
    else:
        parents = missing_parents(names, real, separator)
    line = _lines(session, word, returns)
    with_children = parents_of(names, separator)
    told = [line(name, name in with_children, True) for name in names
            if matches(name) and all(listed(name) for listed in options)]
    told += [line(name, True, False) for name in parents
             if matches(name) and all(listed(name) for listed in options)]
    session.write(b"".join(told))
    if word == b"LIST":
        _tell_of_others(session)
    return f"{word.decode()} completed"


def _maybe(take: Callable[[], str]) -> str | None:
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


def _wanted(reference: str, pattern: str, separator: str) -> Callable[[str], bool]:
    """Reference and pattern joined, as Courier does, by the separator; ``*`` is all
    that begins with the reference, and so the mailbox of that name too."""
    if not reference or reference.endswith(separator):
        return Pattern(reference + pattern, separator).matches
    inner = Pattern(reference + separator + pattern, separator)
    if inner.text[len(reference):] != f"{separator}*":
        return inner.matches
    own = inner.text.removesuffix(f"{separator}*")
    return lambda name: name == own or inner.matches(name)


def parents_of(names: Iterable[str], separator: str) -> set[str]:
    """Every level above a mailbox of ``names``."""
    found: set[str] = set()
    for name in names:
        parent = name.rpartition(separator)[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition(separator)[0]
    return found


def missing_parents(names: Iterable[str], real: Collection[str], separator: str) -> list[str]:
    """Levels that are no mailbox themselves, the deepest first."""
    found = parents_of(names, separator).difference(real)
    return sorted(found, key=lambda name: (-name.count(separator), name))


def _lines(session: Session, word: bytes,
           returns: Sequence[Callable[[str], bytes]]) -> Callable[[str, bool, bool], bytes]:
    """What makes the line of a mailbox: (its name, has it children, can it be selected)."""
    obsolete = session.settings.flag("IMAP_OBSOLETE_CLIENT")
    check_all = session.settings.flag("IMAP_CHECK_ALL_FOLDERS")
    utf8 = session.utf8
    separator = b'"%s"' % session.separator.encode()

    def line(name: str, children: bool, selectable: bool) -> bytes:
        flags = b""
        if not selectable:
            flags = b"\\Noselect "
        elif word == b"LIST" and (name == "INBOX" or check_all):
            flags = b"\\Marked " if session.folders.marked(name) else b"\\Unmarked "
        if not obsolete:
            flags += b"\\HasChildren" if children else b"\\HasNoChildren"
        elif selectable and not children:
            flags += b"\\Noinferiors"
        for more in returns:
            flags += b" " + more(name)
        return lines.data(word, b"(%s)" % flags.strip(), separator, out.mailbox(name, utf8))
    return line
