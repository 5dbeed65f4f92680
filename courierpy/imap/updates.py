"""After each command: what changed in the selected mailbox, and what may be said now.

Three steps: a look at the mailbox, ``updates`` (pure: the client's view against what
is there, as a list of values), ``write`` (the one writer: it alone changes the view and
says so to the client).  Extensions rewrite the list in between (seam ``on_updates``).

Order as Courier's (and legal by RFC 9051 7.5.1): new keywords first, then all
EXPUNGEs, EXISTS and RECENT if the membership changed, then FETCH (FLAGS) in
sequence order, then the keyword list again when some went out of use.
EXPUNGE is withheld while a command that uses sequence numbers runs.
"""
from __future__ import annotations

from itertools import islice

from courierpy.imap.grammar import lines, out
from courierpy.imap.grammar.numset import compact
from courierpy.model.messages import keywords_used
from courierpy.model.replies import Bye
from courierpy.model.rights import FLAG_RIGHTS, flags_of
from courierpy.model.uidset import NO_UIDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from courierpy.imap.selected import Selected
    from courierpy.imap.session import Session
    from courierpy.imap.view import View
    from courierpy.model.messages import Messages, Snapshot, State

SYSTEM_FLAGS = b"\\Draft \\Answered \\Flagged \\Deleted \\Seen"
AT_ONCE = 500                          # messages whose flags are one text: they may have many keywords


class Update:
    """Something that the client of a selected mailbox is to hear.  Compared and printed by its values."""

    __slots__: tuple[str, ...] = ()

    def tell(self, selected: Selected, keywords_on: bool) -> bytes | Iterator[bytes]:
        """Whole lines, or none: what the client hears of it, whose view has it from now on; in texts that are
        made while they are written where it may hear them twice.  ``keywords_on``: of IMAP_KEYWORDS."""
        raise NotImplementedError

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._values() == other._values()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._values()))})"


class NewKeywords(Update):
    """``words``: keywords that the updates behind this one use; those that are not in the client's
    list of flags yet are told."""

    __slots__ = ("words",)

    def __init__(self, words: Iterable[bytes]) -> None:
        self.words = sorted(words)

    def tell(self, selected: Selected, keywords_on: bool) -> bytes:
        return _keywords(selected, sorted({*selected.keywords, *self.words}), keywords_on) if self.words \
            else b""


class KeywordsLeft(Update):
    """Keywords that no message of the view has any more leave the client's list of flags."""

    __slots__ = ()

    def tell(self, selected: Selected, keywords_on: bool) -> bytes:
        return _keywords(selected, keywords_used(selected.view.messages.keywords), keywords_on)


class Expunged(Update):
    """``uids``: messages of the view that are gone, ascending.  RFC 9051 7.5.1."""

    __slots__ = ("uids",)

    def __init__(self, uids: Sequence[int]) -> None:
        self.uids = uids

    def tell(self, selected: Selected, keywords_on: bool) -> bytes:
        return self.lines(selected.view.expunge(self.uids))

    def lines(self, seqs: Sequence[int]) -> bytes:
        """``seqs``: the number that each had when those before it were forgotten."""
        return lines.expunged(seqs)


class Vanished(Expunged):
    """Expunged, told by UIDs.  RFC 7162 3.2.10."""

    __slots__ = ()

    def lines(self, seqs: Sequence[int]) -> bytes:
        return lines.data(b"VANISHED", compact(self.uids))


class Arrived(Update):
    """``states``: flags and keywords of new messages by UID, ascending."""

    __slots__ = ("states",)

    def __init__(self, states: Mapping[int, State]) -> None:
        self.states = states

    def tell(self, selected: Selected, keywords_on: bool) -> bytes:
        view = selected.view
        view.messages = view.messages.extended(self.states)
        view.recent |= selected.recent.within(list(self.states))
        return b""


class Sizes(Update):
    """How many messages there are, and how many are recent: EXISTS and RECENT of the view."""

    __slots__ = ()

    def tell(self, selected: Selected, keywords_on: bool) -> bytes:
        return selected.sizes()


class FlagsChanged(Update):
    """``states``: flags and keywords by UID, ascending, of messages of the view.  ``silent``: UIDs of
    those that the client knows already; the view has them, no line is told.  ``with_uid``: the
    lines name the UID.  ``after``: a snapshot of just the view with these states, where there is one."""

    __slots__ = ("after", "silent", "states", "with_uid")

    def __init__(self, states: Mapping[int, State], silent: Collection[int] = (),
                 with_uid: bool = False, after: Snapshot | None = None) -> None:
        self.states = states
        self.silent = silent
        self.with_uid = with_uid
        self.after = after

    def tell(self, selected: Selected, keywords_on: bool) -> bytes | Iterator[bytes]:
        view = selected.view
        self.apply(view)
        states = self.told()
        return self.lines(view, states) if len(states) <= AT_ONCE else self._portions(view, states)

    def told(self) -> Mapping[int, State]:
        """Those of the states that have a line."""
        silent = self.silent
        if not silent:
            return self.states
        return {} if len(silent) == len(self.states) else {
            uid: state for uid, state in self.states.items() if uid not in silent}

    def _portions(self, view: View, states: Mapping[int, State]) -> Iterator[bytes]:
        left = iter(states.items())
        while some := dict(islice(left, AT_ONCE)):
            yield self.lines(view, some)

    def apply(self, view: View) -> None:
        """The view has the states from now on."""
        view.messages = self.after.messages if self.after is not None else view.messages.changed(self.states)

    def lines(self, view: View, states: Mapping[int, State]) -> bytes:
        """What is told of these of them."""
        uids, flags = [*states], flag_texts(view, states)
        if self.with_uid and view.numbered:
            return view.lines(uids, b"UID %d FLAGS %s", uids, flags)
        return view.lines(uids, b"FLAGS %s", flags)


class Said(Update):
    """``line``: a whole line, with its CRLF, that changes nothing in the view."""

    __slots__ = ("line",)

    def __init__(self, line: bytes) -> None:
        self.line = line

    def tell(self, selected: Selected, keywords_on: bool) -> bytes:
        return self.line


def flag_texts(view: View, states: Mapping[int, State]) -> list[bytes]:
    """The flags of messages of the view, by UID and ascending, as FETCH tells them.  RFC 9051 7.5.2."""
    if not states:
        return []
    if len(states) == 1:
        (uid, (one, keywords)), = states.items()
        return [out.flag_list(one, keywords, uid in view.recent)]
    bits, words = zip(*states.values(), strict=True)
    return out.flag_lists(bits, words if any(words) else None, view.recent.marks([*states]))


# -- what is to be said

def updates(known: Messages, now: Messages, *, expunges: bool, flags_of_new: bool = False) -> list[Update]:
    """What a client that knows the messages ``known`` is to hear of those that are there ``now``.  Pure.

    ``expunges``: EXPUNGE may be sent.  ``flags_of_new``: FETCH (FLAGS) of new messages too, as in
    real-time IDLE.  Raises Bye when new messages have UIDs among those that were told.
    """
    changes = now.changed_since(known)
    if not changes:
        return []
    if changes.new and known.uids and changes.new[0] < known.uids[-1]:
        raise Bye("The mailbox was renumbered, please open it again.", b"UNAVAILABLE")
    said: list[Update] = [NewKeywords(keywords_used(now.keywords))]
    if changes.gone and expunges:
        said.append(Expunged(changes.gone))
    # sequence numbers grow at the end only, so this is legal even while messages that
    # are gone stay in the view
    arrived = {uid: now.state(uid) for uid in changes.new}
    if arrived:
        said.append(Arrived(arrived))
    if arrived or changes.gone and expunges:
        said.append(Sizes())
    changed = {uid: now.state(uid) for uid in changes.changed}
    if flags_of_new:
        changed.update(arrived)
    if changed:
        said.append(FlagsChanged(changed))
    said.append(KeywordsLeft())
    return said


def tell(session: Session, *, expunges: bool, flags_of_new: bool = False, waits: bool = True) -> bool:
    """Look at the selected mailbox and tell the client what changed, as far as allowed.

    Costs a few stat calls when nothing did.  ``expunges``, ``flags_of_new``: as for ``updates``.  ``waits``:
    False: as far as nobody waits for the lock.  False when it could not be looked at so.
    """
    selected = session.selected
    if selected is None:
        return True
    if selected.fetched:
        selected.fetched.clear()
    folder = selected.folder
    snapshot = folder.scan(selected.readonly) if waits else folder.overhear(selected.readonly) \
        or selected.ahead
    if snapshot is None:
        return False
    if snapshot is selected.snapshot and not selected.behind:
        folder.told()
        return True
    _found(selected, snapshot)
    selected.snapshot = snapshot
    view, now = selected.view, snapshot.messages
    if selected.followers and not expunges:
        _tell_followers(session, now.changed_since(view.messages).gone)
    between = session.between
    said = updates(view.messages, now, expunges=expunges, flags_of_new=flags_of_new and between is None)
    chosen = said if between is None else between.chosen(said)
    if chosen:
        write(session, chosen)
    # what is gone and was not told stays in the view, which then is longer; what came is not in it
    selected.behind = len(view.messages.uids) > len(now.uids) \
        or chosen is not said and _sizes_in(said) > _sizes_in(chosen)
    if not selected.behind:
        view.messages = now            # the same columns, once in memory
        folder.told()
    elif now.modseqs is not None:
        view.messages = view.messages.restamped(now)
    if between is not None:
        between.told(chosen)
    return True


def look(selected: Selected) -> None:
    """The first look of a session that was woken by a command, which may need the messages.  Nothing is told:
    the command is of the view that the client has.  Raises Bye or a store error."""
    if selected.stale:
        snapshot = selected.folder.scan(selected.readonly)
        _found(selected, snapshot)
        selected.ahead = snapshot


def _found(selected: Selected, snapshot: Snapshot) -> None:
    """A look found this.  Raises Bye where it is another mailbox."""
    if snapshot.uidvalidity != selected.snapshot.uidvalidity:
        raise Bye("The mailbox was replaced by another one, please open it again.", b"UNAVAILABLE")
    selected.stale, selected.ahead = False, None
    if snapshot.recent is not NO_UIDS:
        selected.recent_from(snapshot)


def _sizes_in(said: Iterable[Update]) -> int:
    """How many of these change which messages there are."""
    return sum([isinstance(update, (Expunged, Arrived)) for update in said])


# -- the writer

def write(session: Session, said: list[Update]) -> None:
    """Tell the client of the selected mailbox these updates, in their order; its view has them then."""
    for rewrite in session.enabled.on_updates:
        said = rewrite(session, said)
    selected = session.need_selected()
    view = selected.view
    for update in said:
        if selected.followers and isinstance(update, Expunged):
            _tell_followers(session, update.uids)
        before = view.messages, view.recent, selected.keywords
        try:
            told = update.tell(selected, session.rules.keywords_on)
            if not isinstance(told, bytes):
                for some in told:
                    session.write(some)
                continue
        except MemoryError:
            # the client did not hear of it, or hears it once more
            view.messages, view.recent, selected.keywords = before
            raise
        if told:
            session.write(told)
    if selected.followers and said:
        touched = sorted({uid for update in said if isinstance(update, (Arrived, FlagsChanged))
                          for uid in update.states})
        if touched or any(isinstance(update, Expunged) for update in said):
            for follower in [*selected.followers]:
                session.write(follower.changed(session, touched))


def _tell_followers(session: Session, gone: Sequence[int]) -> None:
    for follower in [*session.need_selected().followers] if gone else ():
        session.write(follower.gone(session, gone))


def _keywords(selected: Selected, keywords: list[bytes], keywords_on: bool) -> bytes:
    """These are the client's list of flags from now on."""
    if keywords == selected.keywords:
        return b""
    selected.keywords = keywords
    return keyword_lines(selected, keywords_on)


def keyword_lines(selected: Selected, keywords_on: bool) -> bytes:
    """The untagged FLAGS and PERMANENTFLAGS lines.  RFC 9051 7.3.5, 7.1."""
    words = b"".join(word + b" " for word in selected.keywords)
    recent = b" \\Recent" if selected.hears_recent else b""
    flags = lines.data(b"FLAGS", b"(%s%s%s)" % (words, SYSTEM_FLAGS, recent))
    if selected.readonly:
        return flags + lines.told(lines.OK, "No permanent flags permitted", b"PERMANENTFLAGS ()")
    if not FLAG_RIGHTS.issubset(selected.rights):
        return flags + _permitted(selected, words, keywords_on)
    any_word = b"\\* " if keywords_on else b""
    permanent = b"PERMANENTFLAGS (%s%s%s)" % (words, any_word, SYSTEM_FLAGS)
    return flags + lines.told(lines.OK, "Limited", permanent)


def _permitted(selected: Selected, words: bytes, keywords_on: bool) -> bytes:
    """The PERMANENTFLAGS of who may not change all flags.  RFC 4314 5.1.1."""
    bits, keywords = flags_of(selected.rights)
    told = words.split() if keywords else []
    if keywords and keywords_on:
        told.append(b"\\*")
    of = {name: bit for bit, name in out.FLAG_NAMES}
    told += [name for name in SYSTEM_FLAGS.split() if bits & of[name]]
    return lines.told(lines.OK, "Limited" if told else "No permanent flags permitted",
                      b"PERMANENTFLAGS (%s)" % b" ".join(told))
