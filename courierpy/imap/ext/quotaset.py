"""QUOTASET.  RFC 9208 4.1.3: a client sets its own limits.

As in Courier nobody may by default; where IMAP_CAPABILITY names QUOTASET everybody may whose account has no
quota (MAILDIRQUOTA), which would come back.
"""
from __future__ import annotations

from courierpy.imap.commands import ANY, CHANGES, command
from courierpy.imap.ext import Extension
from courierpy.imap.quotaroot import ROOT, STORAGE_OCTETS, line, root_of, usage
from courierpy.model.numbers import MOST
from courierpy.model.replies import No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session

TOKEN = b"QUOTASET"


@command(b"SETQUOTA", when=ANY, flags=CHANGES)
def setquota(session: Session, args: Args) -> str:
    args.sp()
    root = args.mailbox()
    args.sp()
    wanted: dict[bytes, int] = {}
    args.open()
    while not args.at(b")"):
        resource = args.word()
        args.sp()
        wanted[resource] = args.number()
        args.maybe_sp()
    args.close()
    args.end()

    if TOKEN not in session.capabilities():
        raise No("SETQUOTA No permission.", b"NOPERM")
    if root != ROOT:
        raise No("There is no such quota root.", b"NONEXISTENT")
    if not wanted.keys() <= {b"STORAGE", b"MESSAGE"}:
        raise No("A quota is of STORAGE and MESSAGE here.", b"CANNOT")
    quota = session.folders.need_quota()
    if quota.by_account:
        raise No("The quota is the account's.", b"NOPERM")
    from courierpy.maildir.formats.maildirsize import Limits  # few set any
    quota.limit(Limits(min(wanted.get(b"STORAGE", 0) * STORAGE_OCTETS, MOST),
                       min(wanted.get(b"MESSAGE", 0), MOST)))
    found = usage(session.folders)
    if found is not None:
        session.write(line(root_of(session, session.folders), found))
    return "SETQUOTA Ok."


EXTENSION = Extension(TOKEN, withheld="where it is told users set the limits of their own Maildirs")
