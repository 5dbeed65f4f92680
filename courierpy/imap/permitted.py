"""What a session may do at the moment: by its state, what is read-only, and the rights on mailboxes.

The one place that asks.  What a command needs stands in its row: ``rights`` on the selected mailbox, which
the session asks for before each command, and ``named`` on those that its arguments name, which the
command asks for when it has read all of them.  RFC 4314 4.
"""
from __future__ import annotations

from functools import partial

from courierpy.imap import commands, ext, updates
from courierpy.imap.commands import CHANGES, NUMBERS, SELECTED, WRITES
from courierpy.maildir.errors import FolderMissing, NameInvalid, StoreError
from courierpy.model import rights, utf7
from courierpy.model.replies import Bad, Bye, No, UidRequired
from courierpy.model.rights import OWNER_RIGHTS
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from courierpy.imap.commands import Row
    from courierpy.imap.selected import Selected
    from courierpy.imap.session import Session
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.model.flags import FlagChange

ABOVE, ANY_OF = "^", "|"
_OLDER = {"k": "c"}                # as Courier and RFC 2086 call it


class NotPermitted(No):
    """The user may see the mailbox, and not do that with it."""


def check(session: Session, row: Row) -> None:
    """Raises Bad where ``row`` is no command of the session's state, No where the session, the selected
    mailbox or the rights on it forbid it, Bye where that may not be read any more."""
    flags = row.flags
    if session.rules.only_reads and flags & (CHANGES | WRITES):
        raise No("This session only reads.", b"NOPERM")
    selected = session.selected
    if selected is None:
        if row.states == SELECTED:
            raise Bad("No mailbox is selected.")
        return
    if flags & NUMBERS and not session.manners.numbered:
        raise UidRequired
    if selected.listed:
        renew(session, selected)
    if flags & WRITES and selected.readonly:
        raise No("Current box is selected READ-ONLY.")
    if row.rights and not selected.rights.issuperset(row.rights):
        raise denied(row.name, "current mailbox", set(row.rights) - selected.rights)


def renew(session: Session, selected: Selected) -> None:
    """Looks at the list of the selected mailbox, and tells the client what it may do where that is not as it
    was told (RFC 4314 5.1.1).  Raises Bye where it may not read any more."""
    try:
        found = session.folders.rights(selected.folder.name)
    except StoreError as error:        # nobody could see to it that nothing is told: the session ends
        log.err(str(error))
        found = frozenset()
    if found == selected.rights:
        return
    if "r" not in found:
        raise Bye("You may not read this mailbox any more.", b"NOPERM")
    selected.limit(found)
    session.write(updates.keyword_lines(selected, session.rules.keywords_on))
    tell = ext.find("on_rights", b"")
    if tell is not None:
        session.write(tell(selected))


def changeable(selected: Selected, command: bytes, change: FlagChange) -> FlagChange:
    """What of a change of flags the user may do.  Raises NotPermitted where that is nothing.  RFC 4314 4."""
    found = rights.limited(change, selected.rights)
    if found is None:
        raise denied(command, "current mailbox", rights.FLAG_RIGHTS - selected.rights)
    return found


def named(session: Session, command: bytes, *names: str) -> None:
    """``names``: of the mailboxes that the arguments of a command name, in their order, there or not.  Raises
    NotPermitted where the user has not the rights that its row asks for, and FolderMissing, as of one
    that is not there, where it must not be known that there is one.  RFC 4314 6."""
    row = commands.find(command)
    for name, wanted in zip(names, row.named if row is not None else (), strict=False):
        if wanted:
            need(session, command, wanted, name)


def of_each(session: Session, command: bytes) -> Callable[[str], None]:
    """As named(), where a command is about one mailbox after the other."""
    row = commands.find(command)
    assert row is not None
    return partial(need, session, command, row.named[0])


def standing(session: Session, command: bytes, name: str) -> tuple[frozenset[str], bool]:
    """As named(), of a mailbox that is about to be opened; the rights that the user has there, and does a
    list say so?  FolderMissing too for a name that cannot be one."""
    try:
        has, listed = session.folders.governed(name)
    except NameInvalid as error:
        raise FolderMissing(str(error)) from None
    row = commands.find(command)
    assert row is not None
    if has is not OWNER_RIGHTS:
        _judge(session, command, row.named[0], name, has)
    return has, listed


def need(session: Session, command: bytes, wanted: str, name: str) -> None:
    """As named(), of one mailbox of which these rights are ``wanted``."""
    folders, where = session.folders, name
    try:
        if wanted[0] == ABOVE:
            where = folders.above(name)
        has = folders.rights(where)
    except NameInvalid:
        return                         # who makes use of the name says it
    if has is not OWNER_RIGHTS:        # all that there are, mostly
        _judge(session, command, wanted, where, has)


def _judge(session: Session, command: bytes, wanted: str, where: str, has: frozenset[str]) -> None:
    """``where``: the name of the mailbox on which the user ``has`` these rights, and these are ``wanted``."""
    folders = session.folders
    letters, _, some = wanted.lstrip(ABOVE).partition(ANY_OF)
    if has.issuperset(letters) and (not some or not has.isdisjoint(some)):
        return
    if wanted[0] != ABOVE and ("l" not in has or not folders.exists(where)):
        raise FolderMissing(f"not to be seen, or not there: {where!r}")
    raise denied(command, where, set(letters) - has or some)


def denied(command: bytes, where: str, missing: Collection[str]) -> NotPermitted:
    """What is raised where the user has not one of the rights that are ``missing`` on a mailbox."""
    letter = min(missing)
    word = "SELECT/EXAMINE" if command in (b"SELECT", b"EXAMINE") else command.decode("ascii", "replace")
    shown = utf7.encode(where).decode("ascii")
    return NotPermitted(f'Access denied for {word} on {shown} (ACL "{_OLDER.get(letter, letter)}" required)',
                        b"NOPERM")


def target(session: Session, command: bytes, name: str, missing: str,
           known: Mailbox | None = None) -> Mailbox:
    """The mailbox to which messages go, which takes the flags that the user may set there.  ``missing``: the
    text of the No [TRYCREATE] that is raised where it is not there.  ``known``: the same, as it was found
    when the command began."""
    selected = session.selected
    try:
        named(session, command, name)
        if selected is not None and selected.folder.name == name:
            return selected.folder
        found = known if known is not None and session.folders.exists(name) else session.folders.open(name)
    except FolderMissing:
        raise No(missing, b"TRYCREATE") from None
    found.settable = rights.flags_of(session.folders.rights(name))
    return found
