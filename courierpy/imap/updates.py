"""After each command: what changed in the selected mailbox, and what may be said now.

Order as Courier's (and legal by RFC 9051 7.5.1): new keywords first, then all
EXPUNGEs, EXISTS and RECENT if the membership changed, then FETCH (FLAGS) in
sequence order, then the keyword list again when some went out of use.
EXPUNGE is withheld while a command that uses sequence numbers runs.
"""
from __future__ import annotations

from bisect import bisect_left

from courierpy.imap.grammar import out
from courierpy.imap.view import compare, keywords_used
from courierpy.model.flags import NO_KEYWORDS
from courierpy.model.replies import Bye

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from courierpy.imap.session import Selected, Session
    from courierpy.model.messages import Snapshot

SYSTEM_FLAGS = b"\\Draft \\Answered \\Flagged \\Deleted \\Seen"


def keyword_lines(selected: Selected, keywords_on: bool) -> list[bytes]:
    """The untagged FLAGS and PERMANENTFLAGS lines."""
    words = b"".join(word + b" " for word in selected.keywords)
    if selected.readonly:
        permanent = b"* OK [PERMANENTFLAGS ()] No permanent flags permitted\r\n"
    else:
        any_word = b"\\* " if keywords_on else b""
        permanent = b"* OK [PERMANENTFLAGS (%s%s%s)] Limited\r\n" % (words, any_word, SYSTEM_FLAGS)
    return [b"* FLAGS (%s%s \\Recent)\r\n" % (words, SYSTEM_FLAGS), permanent]


def announce_keywords(session: Session, wanted: Iterable[bytes]) -> None:
    """Tell of keywords that are not in the last FLAGS line yet."""
    selected = session.need_selected()
    fresh = [word for word in wanted if word not in selected.keywords]
    if fresh:
        selected.keywords = sorted(set(selected.keywords).union(fresh))
        session.write(*keyword_lines(selected, session.keywords_on))


def retire_keywords(session: Session) -> None:
    """Tell again when some keyword is on no message any more."""
    selected = session.need_selected()
    used = keywords_used(selected.view.keywords)
    if used != selected.keywords:
        selected.keywords = used
        session.write(*keyword_lines(selected, session.keywords_on))


def fetch_flags(session: Session, seqs: Iterable[int], with_uid: bool = False) -> list[bytes]:
    """The untagged FETCH lines that tell the flags of ``seqs``."""
    view = session.need_selected().view
    lines = []
    for seq in seqs:
        uid = view.uids[seq - 1]
        flags = out.flag_list(view.flags[seq - 1], view.words(uid), uid in view.recent)
        lines.append(b"* %d FETCH (UID %d FLAGS %s)\r\n" % (seq, uid, flags) if with_uid
                     else b"* %d FETCH (FLAGS %s)\r\n" % (seq, flags))
    return lines


def tell(session: Session, *, expunges: bool, look: bool = True,
         silent: Collection[int] = (), with_uid: bool = False,
         flags_of_new: bool = False) -> None:
    """Bring the client's view up to date with the folder, as far as allowed.

    ``expunges``: EXPUNGE may be sent.  ``look``: read the folder first (a few
    stat calls when nothing changed).  ``silent``: UIDs whose flags the client
    knows already.  ``flags_of_new``: FETCH (FLAGS) of new messages too, as in
    real-time IDLE.
    """
    selected = session.selected
    if selected is None:
        return
    snapshot = selected.folder.scan(readonly=selected.readonly) if look else selected.snapshot
    if snapshot.uidvalidity != selected.snapshot.uidvalidity:
        raise Bye("The mailbox was replaced by another one, please open it again.", b"UNAVAILABLE")
    if snapshot is selected.snapshot and not selected.behind:
        selected.folder.told()
        return
    selected.snapshot = snapshot
    selected.recent_from(snapshot)
    _update(session, snapshot, expunges, silent, with_uid, flags_of_new)


def _update(session: Session, snapshot: Snapshot, expunges: bool, silent: Collection[int],
            with_uid: bool, flags_of_new: bool) -> None:
    selected = session.need_selected()
    view = selected.view
    changes = compare(view, snapshot)
    if not changes:
        view.share(snapshot)
        selected.behind = False
        selected.folder.told()
        return
    # 1. keywords that the following lines use
    announce_keywords(session, keywords_used(snapshot.keywords))

    # 2. what is gone
    told_gone = changes.gone if expunges else []
    if told_gone:
        session.write(b"".join([b"* %d EXPUNGE\r\n" % seq for seq in view.expunge(told_gone)]))
    selected.behind = bool(changes.gone) and not expunges
    if not selected.behind:
        selected.folder.told()

    # 3. what is new: sequence numbers grow at the end only, so this is legal even
    # while messages that are gone stay in the view
    for uid in changes.new:
        if view.uids and uid < view.uids[-1]:
            raise Bye("The mailbox was renumbered, please open it again.", b"UNAVAILABLE")
        view.add(uid, *_state(snapshot, uid))
    view.recent |= selected.recent.within(changes.new)
    if told_gone or changes.new:
        session.write(b"* %d EXISTS\r\n* %d RECENT\r\n" % (len(view), len(view.recent)))

    if not selected.behind:
        view.share(snapshot)

    # 4. flags
    told: list[int] = []
    for uid in changes.changed:
        seq = view.seq(uid)
        view.set(seq, *_state(snapshot, uid))
        if uid not in silent:
            told.append(seq)
    if flags_of_new:
        told += range(len(view) - len(changes.new) + 1, len(view) + 1)
    session.write(*fetch_flags(session, told, with_uid))
    retire_keywords(session)


def _state(snapshot: Snapshot, uid: int) -> tuple[int, frozenset[bytes]]:
    """Flags and keywords of a message that is there."""
    return snapshot.flags[bisect_left(snapshot.uids, uid)], snapshot.keywords.get(uid, NO_KEYWORDS)
