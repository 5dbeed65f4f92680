"""STORE and UID STORE.  RFC 9051 6.4.6."""
from __future__ import annotations

from itertools import repeat

from courierpy.imap import ext, permitted, updates
from courierpy.imap.commands import NUMBERS, SELECTED, USES_SEQ, WRITES, Done, command
from courierpy.imap.commands.numbers import chosen, highest
from courierpy.imap.grammar import lines
from courierpy.imap.updates import FlagsChanged, KeywordsLeft, NewKeywords
from courierpy.model.flags import NO_KEYWORDS, FlagChange, states
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session
    from courierpy.imap.view import View
    from courierpy.maildir.errors import StoreError
    from courierpy.model.messages import State


class Condition:
    """A modifier of STORE.  RFC 4466 2.5.

    ``stay``: function (session, FlagChange, sequence numbers) giving those of them which are changed; called
    under the lock, so that it holds until the change.  ``code``: function (by_uid) giving the response
    code of the tagged OK, or None.  ``prepare``: function (session), called before anything else.
    """

    __slots__ = ("code", "prepare", "stay")

    def __init__(self, stay: Callable[[Session, FlagChange, list[int]], list[int]],
                 code: Callable[[bool], bytes | None] = lambda by_uid: None,
                 prepare: Callable[[Session], None] = lambda session: None) -> None:
        self.stay = stay
        self.code = code
        self.prepare = prepare


MODES = {b"FLAGS": "=", b"+FLAGS": "+", b"-FLAGS": "-"}


def store(session: Session, args: Args) -> Done:
    args.sp()
    numbers = args.messages()
    args.sp()
    conditions: list[Condition] = ext.parameters("store_modifiers", session, args) if args.at(b"(") else []
    if conditions:
        args.sp()
    word = args.word()
    silent = word.endswith(b".SILENT")
    mode = MODES.get(word.removesuffix(b".SILENT"))
    if mode is None:
        raise Bad("Error in IMAP command received by server.")
    args.maybe_sp()
    bits, keywords = args.flags()
    args.end()
    by_uid = args.command.startswith(b"UID ")
    seqs, limited = highest(session, chosen(session, numbers, by_uid))

    selected = session.need_selected()
    if not session.rules.keywords_on:
        keywords = frozenset()
    view = selected.view
    uids = view.uids_of(seqs)
    asked = FlagChange(mode, bits, keywords)
    change = permitted.changeable(selected, args.command, asked)
    keywords = change.keywords
    if keywords and mode != "-":
        have = dict.fromkeys(map(view.keywords.get, uids, repeat(NO_KEYWORDS)))
        wanted = map(change.after().__getitem__, have)
        spelled = session.folders.options.bounds.tags(
            selected.folder.path, wanted, selected.folder.keywords.files.used, selected.keywords)
        keywords = frozenset(spelled.get(word, word) for word in keywords)
        change = change.spelled(keywords)
        asked = asked.spelled(frozenset(spelled.get(word, word) for word in asked.keywords))
    refused: list[StoreError] = []
    for condition in conditions:
        condition.prepare(session)
    if conditions:
        with selected.folder.locked():
            for condition in conditions:
                seqs = condition.stay(session, change, seqs)
            uids = view.uids_of(seqs)
            done, after = selected.folder.store(uids, change, refused), None
    else:
        done, after = selected.folder.store_known(view.messages, uids, change, refused)
    # .SILENT still tells what somebody else changed meanwhile
    quiet = _as_expected(view, seqs, uids, asked, done) if silent else ()
    changed = FlagsChanged(done, quiet, by_uid, after)
    said: list[updates.Update] = [changed]
    # what others set meanwhile shows too
    sets = {words for _, words in done.values()}
    if keywords or selected.keywords or any(sets):
        known = NO_KEYWORDS.union(*sets)
        if mode != "-":                # one that is there in another case is that one
            there = {word.lower() for word in known}
            known |= {word for word in keywords if word.lower() not in there}
        said = [NewKeywords(known), changed, KeywordsLeft()]
    updates.write(session, said)
    if after is not None:
        selected.snapshot = after
        selected.folder.told()
    if refused:
        raise refused[0]
    # RFC 2180 4.2: who wants no answer hears of none that is missing, nor who gets one for some of
    # them.  RFC 3501 6.4.8: UIDs that are not there are no error
    codes = [code for condition in conditions if (code := condition.code(by_uid)) is not None]
    if uids and not done and not silent and not by_uid:
        raise No("The messages no longer exist.", codes[0] if codes else b"EXPUNGEISSUED")
    if limited is not None:
        for code in codes:                     # one line has one code
            session.write(lines.told(lines.OK, "Not all were changed.", code))
        codes = [limited]
    return Done("STORE completed.", codes[0] if codes else None,
                told=after is not None and not selected.listed)


def _as_expected(view: View, seqs: Sequence[int], uids: Sequence[int], change: FlagChange,
                 done: Mapping[int, State]) -> Collection[int]:
    """The UIDs of those that have now what the client has to believe that they have."""
    flags = view.flags
    bits = map(change.bits_after().__getitem__, [flags[seq - 1] for seq in seqs])
    words = change.after()
    expected = list(states(bits, uids, {uid: words[view.words(uid)] for uid in uids}
                           if view.keywords or change.of_keywords else {}))
    if [*done.values()] == expected:           # of each of them, as there are as many
        return done.keys()
    return {uid for uid, state in zip(uids, expected, strict=True) if done.get(uid) == state}


command(b"STORE", when=SELECTED, flags=USES_SEQ | NUMBERS | WRITES)(store)
command(b"UID STORE", when=SELECTED, flags=WRITES)(store)
