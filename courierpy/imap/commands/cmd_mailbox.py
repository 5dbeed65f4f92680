"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE.  RFC 9051 6.3.4 to 6.3.8."""
from __future__ import annotations

import re

from courierpy.imap import ext, permitted
from courierpy.imap.commands import ANY, CHANGES, Done, command
from courierpy.imap.grammar import out
from courierpy.imap.names import named
from courierpy.maildir.errors import StoreError
from courierpy.model.namespaces import INBOX
from courierpy.model.replies import No
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session


# what a name may not hold for clients with UTF8=ACCEPT (RFC 6855 3)
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _fit(session: Session, name: str) -> None:
    """Raises No for a new name that must not be."""
    if session.utf8 and _CONTROLS.search(name):
        raise No("A mailbox name must not hold control characters.", b"CANNOT")


@command(b"CREATE", when=ANY, flags=CHANGES, named=("^k",))
def create(session: Session, args: Args) -> Done:
    args.sp()
    name = args.mailbox()
    asked = ext.parameters("create_params", session, args) if args.more() else []
    args.end()
    if name == INBOX:
        raise No("INBOX already exists!", b"ALREADYEXISTS")
    _fit(session, name)
    prepares = [prepare for prepare in asked if prepare is not None]
    if prepares:
        name = name.removesuffix(session.separator)
    # a trailing separator only announces children (RFC 9051 6.3.4): nothing to make
    code = None
    if not name.endswith(session.separator) or name == INBOX + session.separator:
        permitted.named(session, args.command, name)
        session.folders.create(name)
        try:
            for prepare in prepares:
                prepare(name)
        except BaseException:
            session.folders.delete(name)       # RFC 6154 3: as it was asked for, or not at all
            raise
        try:
            code = ext.tagged_code(b"CREATE", session, name)
        except StoreError as why:
            log.err(str(why))                      # it is made, whatever can be told of it
        named(session, args, name)
    return Done(f"{out.mailbox(name).decode('ascii')} created.", code)


@command(b"DELETE", when=ANY, flags=CHANGES, named=("x",))
def delete(session: Session, args: Args) -> str:
    args.sp()
    name = args.mailbox()
    args.end()
    if name in (INBOX, session.folders.trash_mailbox):
        raise No("Cannot delete this folder.", b"CANNOT")
    if name.endswith(session.separator):
        return "Folder directory delete punted."
    if session.selected is not None and session.selected.folder.name == name:
        raise No("Cannot delete currently-open folder.", b"INUSE")
    permitted.named(session, args.command, name)
    session.folders.delete(name)
    named(session, args, name)
    return "Folder deleted."


@command(b"RENAME", when=ANY, flags=CHANGES, named=("x", "^k"))
def rename(session: Session, args: Args) -> str:
    args.sp()
    old = args.mailbox()
    args.sp()
    new = args.mailbox()
    args.end()
    if old.endswith(session.separator) and new.endswith(session.separator) and old[:-1] != INBOX:
        # the levels of these names, as Courier takes it: what is there moves whole
        old, new = old[:-1], new[:-1]
    if session.folders.trash_mailbox in (old, new):
        raise No("Reserved folder name - cannot rename.", b"CANNOT")
    if new == INBOX:
        raise No("INBOX already exists!", b"ALREADYEXISTS")
    _fit(session, new)
    if new.startswith(old + session.separator) and old != INBOX:
        raise No("RENAME failed: a mailbox cannot move below itself", b"CANNOT")
    if session.selected is not None and old != INBOX:
        open_name = session.selected.folder.name
        if open_name == old or open_name.startswith(old + session.separator):
            raise No("Can't RENAME the currently-open folder", b"INUSE")
    permitted.named(session, args.command, old, new)
    session.folders.rename(old, new)
    named(session, args, new)
    return "Folder renamed."


@command(b"SUBSCRIBE", b"UNSUBSCRIBE", when=ANY, flags=CHANGES)
def subscribe(session: Session, args: Args) -> str:
    args.sp()
    name = args.mailbox()
    args.end()
    word = args.command.decode().lower()
    if name.endswith(session.separator):
        return f"Folder directory {word} punted."      # Outlook Express sends these
    folders, selected = session.folders, session.selected
    if word == "unsubscribe" and selected is not None and selected.folder.name == name \
            and folders.located(name)[0].keeps_subscriptions:
        raise No("Cannot unsubscribe from currently-open folder.", b"INUSE")       # it would go
    # RFC 9051 6.3.7: what does not exist may be subscribed to and stays so
    folders.subscribe(name, word == "subscribe")
    return f"Folder {word}d."
