"""SORT and UID SORT.  RFC 5256 BASE.6.4.SORT; texts are compared by RFC 5051."""
from __future__ import annotations

from courierpy.commands import SELECTED, USES_SEQ, command
from courierpy.commands.cmd_fetch import Subject
from courierpy.commands.cmd_search import keys_of_extensions, numbers, run
from courierpy.errors import Bad, No
from courierpy.ext import Extension
from courierpy.maildir.errors import Vanished
from courierpy.wire import searchkeys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from courierpy.session import Session
    from courierpy.wire.args import Args
    from courierpy.wire.searchkeys import Key


def sent(subject: Subject) -> float:
    """The sent date; INTERNALDATE without one (RFC 5256 2.2)."""
    date = subject.header.sent_time()
    return subject.mtime if date is None else date


def _first_mailbox(field: bytes) -> Callable[[Subject], str]:
    def key(subject: Subject) -> str:
        from courierpy.message.collation import key as collation_key
        return collation_key(subject.header.first_mailbox(field))
    return key


def _subject(subject: Subject) -> str:
    return subject.header.base_subject()[0]


CRITERIA: dict[bytes, Callable[[Subject], Any]] = {
    b"ARRIVAL": lambda subject: subject.mtime, b"CC": _first_mailbox(b"cc"), b"DATE": sent,
    b"FROM": _first_mailbox(b"from"), b"SIZE": lambda subject: subject.message.size,
    b"SUBJECT": _subject, b"TO": _first_mailbox(b"to"),
}
# of a message that vanished: what every other value comes after
NOTHING: dict[bytes, Any] = {b"ARRIVAL": 0, b"DATE": 0, b"SIZE": 0}


def allowed(session: Session) -> None:
    """Raises No where the administrator switched SORT and THREAD off."""
    if session.settings.flag("IMAP_DISABLETHREADSORT"):
        raise No("This command is disabled by the system administrator.", b"NOPERM")


def take_program(args: Args) -> Key:
    """The charset and the search keys at the end of SORT and THREAD."""
    charset = searchkeys.take_charset(args)
    args.sp()
    key = searchkeys.parse(args, keys_of_extensions(), charset)
    args.end()
    return key


def _criteria(args: Args) -> list[tuple[bytes, bool]]:
    """(key, is it reversed) of each, in order."""
    found = []
    args.open()
    args.maybe_sp()
    while True:
        word = args.word()
        backwards = word == b"REVERSE"
        if backwards:
            args.sp()
            word = args.word()
        if word not in CRITERIA:
            raise Bad("Unknown sort criterion.")
        found.append((word, backwards))
        if not args.maybe_sp() or args.at(b")"):
            break
    args.close()
    return found


def sort(session: Session, args: Args) -> str:
    args.sp()
    criteria = _criteria(args)
    args.sp()
    program = take_program(args)
    allowed(session)

    rows: list[tuple[int, list[Any]]] = []
    for seq in run(session, program):
        subject = Subject(session, seq)
        try:
            rows.append((seq, [CRITERIA[word](subject) for word, _ in criteria]))
        except Vanished:
            rows.append((seq, [NOTHING.get(word, "") for word, _ in criteria]))
    # each sort keeps the order of the one before: the first criterion comes last, ties
    # stay in the order of their sequence numbers, reversed or not
    for at in range(len(criteria) - 1, -1, -1):
        rows.sort(key=lambda row: row[1][at], reverse=criteria[at][1])  # noqa: B023
    found = numbers(session, [seq for seq, _ in rows], args.command == b"UID SORT")
    session.write(b"* SORT%s\r\n" % b"".join(b" %d" % number for number in found))
    return "SORT done."


command(b"SORT", when=SELECTED, flags=USES_SEQ)(sort)
command(b"UID SORT", when=SELECTED)(sort)

EXTENSION = Extension(b"SORT", commands=(b"SORT", b"UID SORT"))
