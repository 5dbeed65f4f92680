"""UIDPLUS.  RFC 4315: the UIDs of what was appended or copied are told, EXPUNGE can name messages."""
from __future__ import annotations

from courierpy.imap.commands import SELECTED, WRITES, Done, command
from courierpy.imap.commands.cmd_expunge import remove
from courierpy.imap.commands.numbers import chosen, highest
from courierpy.imap.ext import Extension
from courierpy.imap.grammar.numset import compact
from courierpy.model.flags import DELETED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session


def _appenduid(uidvalidity: int, uids: Sequence[int]) -> bytes:
    return b"APPENDUID %d %s" % (uidvalidity, compact(uids))


def _copyuid(uidvalidity: int, pairs: Sequence[tuple[int, int]]) -> bytes:
    """``pairs``: UID here and UID in the target, of each message."""
    return b"COPYUID %d %s %s" % (uidvalidity, compact(old for old, _ in pairs),
                                  compact(new for _, new in pairs))


@command(b"UID EXPUNGE", when=SELECTED, flags=WRITES, rights="e")
def uid_expunge(session: Session, args: Args) -> Done:
    """RFC 4315 2.1."""
    args.sp()
    seqs = chosen(session, args.messages(), True)
    args.end()
    view = session.need_selected().view
    seqs, limited = highest(session, [seq for seq in seqs if view.bits(seq) & DELETED])
    done = remove(session, view.uids_of(seqs))
    return done if limited is None else Done("EXPUNGE completed in part", limited)


EXTENSION = Extension(b"UIDPLUS", tagged_code={b"APPEND": _appenduid, b"COPY": _copyuid, b"MOVE": _copyuid})
