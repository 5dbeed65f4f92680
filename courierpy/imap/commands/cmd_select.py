"""SELECT, EXAMINE, CLOSE.  RFC 9051 6.3.2, 6.3.3, 6.4.1."""
from __future__ import annotations

from courierpy.imap import ext, permitted, updates
from courierpy.imap.commands import ANY, LEAVES_FOLDER, SELECTED, Done, command
from courierpy.imap.grammar import lines
from courierpy.imap.names import named
from courierpy.imap.selected import Selected
from courierpy.maildir import lately
from courierpy.model.flags import SEEN
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session
    from courierpy.imap.view import View
    from courierpy.maildir.errors import StoreError


def leave(session: Session) -> None:
    """The selected mailbox is selected no more; nothing is expunged."""
    if session.selected is not None:
        session.selected.folder.close()
        session.selected = None


@command(b"SELECT", b"EXAMINE", when=ANY, flags=LEAVES_FOLDER, named=("r",))
def select(session: Session, args: Args) -> Done:
    args.sp()
    name = args.mailbox()
    asked = ext.parameters("select_params", session, args) if args.more() else []
    args.end()

    # RFC 9051 6.3.2: the old mailbox is closed even when the new one fails
    if session.selected is not None:
        leave(session)
        session.write(lines.told(lines.OK, "The mailbox before is closed.", b"CLOSED"))
    standing = permitted.standing(session, args.command, name)
    readonly = args.command == b"EXAMINE" or session.rules.only_reads
    selected = session.selected = opened(session, name, readonly, standing)

    snapshot, view = selected.snapshot, selected.view
    session.write(updates.keyword_lines(selected, session.rules.keywords_on),
                  selected.sizes(),
                  _first_unseen(view) if session.manners.recent and view.numbered else b"",
                  lines.told(lines.OK, "Ok", b"UIDVALIDITY %d" % snapshot.uidvalidity),
                  lines.told(lines.OK, "Predicted next UID", b"UIDNEXT %d" % snapshot.uidnext))
    for more in filter(None, [ext.find("on_selected", b""), *session.enabled.find("on_selected"), *asked]):
        session.write(more(session, selected))
    for token in ext.keys("on_plain"):
        if token not in session.enabled:
            session.write(ext.find("on_plain", token)(session, selected))
    tell = ext.find("on_rights", b"") if selected.listed else None
    if tell is not None:
        session.write(tell(selected))
    named(session, args, name)
    return Done("Ok", b"READ-WRITE" if selected.changeable else b"READ-ONLY")


def opened(session: Session, name: str, readonly: bool,
           standing: tuple[frozenset[str], bool] | None = None) -> Selected:
    """The mailbox of that name, open and looked at; whoever gets it closes its folder.  ``standing``: as
    permitted.standing() found it, None where that was not asked.  Raises a store error."""
    folder = session.folders.open(name)
    if not readonly:
        lately.clean_tmp(folder.place)
    folder.join()
    try:
        for prepare in session.enabled.find("on_open"):
            prepare(session, folder)
        readonly = readonly or folder.read_only
        snapshot = folder.scan(readonly=readonly)
    except BaseException:
        folder.close()
        raise
    rights, listed = standing or session.folders.governed(name)
    return Selected(folder, snapshot, readonly or folder.read_only, rights, session.manners, listed)


_UNSEEN = bytes(not bits & SEEN for bits in range(256))        # by flag bits
LOOKED_AT = 4096               # messages at a time: mostly one of the first is unseen


def _first_unseen(view: View) -> bytes:
    """The line with the code UNSEEN, or none.  RFC 3501 6.3.1."""
    for start in range(0, len(view.flags), LOOKED_AT):
        at = view.flags[start:start + LOOKED_AT].translate(_UNSEEN).find(1)
        if at >= 0:
            return lines.told(lines.OK, "First unseen", b"UNSEEN %d" % (start + at + 1))
    return b""


@command(b"CLOSE", when=SELECTED, flags=LEAVES_FOLDER)
def close(session: Session, args: Args) -> str:
    args.end()
    selected = session.need_selected()
    if not selected.readonly and "e" in selected.rights:      # RFC 4314 4: else it is left as it is
        refused: list[StoreError] = []
        uids = selected.view.messages.deleted()
        if uids:
            from courierpy.imap.disposing import disposal  # where something goes
            updates.look(selected)
            selected.folder.expunge(uids, refused, disposal(session, len(uids)))
        if refused:                        # they stay, and the client need not care: it leaves
            log.err(f"{len(refused)} messages cannot be expunged: {refused[0]}")
    leave(session)
    return "mailbox closed."
