"""Messages on their way into a mailbox: APPEND, COPY, MOVE.

One order for all (reference: what an OK promises): the bytes are on disk; under
the lock the messages get their numbers, and then the files come to cur/; the
directories are on disk; only then may anybody be told.  What fails on the way is
taken back, and nothing of the command is left.  A few messages need not have the lock
themselves (lobby.py).
"""
from __future__ import annotations

import errno
import os
from itertools import repeat
from operator import length_hint

from courierpy.maildir.bring import copy_file, link_or_copy, rename_or_copy
from courierpy.maildir.errors import (
    MessageDenied,
    QuotaExceeded,
    StoreError,
    Vanished,
    refuse,
    trouble,
    unchangeable,
)
from courierpy.maildir.files import Directory, exists, until_failure
from courierpy.maildir.messagefile import TRIES
from courierpy.maildir.names import base, tmp_name, unique_name
from courierpy.maildir.source import Source, of_messages
from courierpy.model.flags import NO_KEYWORDS
from courierpy.model.rights import ALL_FLAGS
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from courierpy.maildir.changes import Changes
    from courierpy.maildir.draft import Draft
    from courierpy.maildir.finder import Finder
    from courierpy.maildir.formats.maildirsize import Amount
    from courierpy.maildir.graveyard import Grave
    from courierpy.maildir.intake import Intake
    from courierpy.maildir.keywords import KnownKeywords
    from courierpy.maildir.mailboxdirectory import MailboxDirectory
    from courierpy.maildir.mirror import Mirror
    from courierpy.maildir.removal import Removal
    from courierpy.model.flags import FlagChange

    Bring = Callable[[bytes, bytes], None]
    WayIn = Callable[[Intake, Sequence["Source"], Bring, list[StoreError] | None, list[tuple[bytes, bytes]]],
                     tuple[int, list[int | None]]]

    class Saved(Protocol):
        """A message's file.  ``word``: that is in the name that it gets; ``bits``, ``words``: flags and
        keywords."""

        path: bytes
        word: str
        bits: int
        words: frozenset[bytes]

FEW = 8                            # messages that wait for who has the lock


class Origin:
    """An open mailbox that messages are copied or moved from."""

    def __init__(self, place: MailboxDirectory, finder: Finder, keywords: KnownKeywords, changes: Changes,
                 removal: Removal) -> None:
        self.place = place
        self.finder = finder
        self.keywords = keywords
        self.changes = changes
        self.removal = removal


def append(target: Intake, drafts: Sequence[Draft], instead: Amount | None = None) -> tuple[int, list[int]]:
    """Store the drafts, all or none; (UIDVALIDITY, their UIDs).  ``instead``: of what counts for the same
    quota so much goes when they are there."""
    sync = target.place.options.sync
    pending = list(drafts)
    try:
        sources = []
        for draft in drafts:
            draft.finish(sync, at_once=len(drafts) > FEW)
            name = unique_name(os.path.basename(draft.path), *draft.inode)
            source = Source(os.fsencode(draft.path), draft.size, os.fsencode(f"{name},S={draft.size}"),
                            draft.flags, draft.keywords)
            source.draft = draft
            sources.append(source)
        uidvalidity, uids = _enter(target, sources, os.rename, instead=instead)
        pending = []
        return uidvalidity, [uid for uid in uids if uid is not None]
    finally:
        for draft in pending:
            draft.abort()


def restore(target: Intake, graves: Sequence[Grave], flags: FlagChange) -> tuple[int, list[int]]:
    """Messages that were expunged are there again, all or none, with new numbers, and with the flags and
    keywords that they had, changed by ``flags``: (UIDVALIDITY, their UIDs)."""
    sources = []
    for grave in graves:
        try:
            found = os.stat(grave.path, follow_symlinks=False)
        except OSError as error:
            raise trouble(grave.path, error) from None
        name = unique_name(tmp_name(target.place.options.host), found.st_dev, found.st_ino)
        sources.append(Source(grave.path, found.st_size, os.fsencode(f"{name},S={found.st_size}"),
                              flags.bits(grave.bits), flags.words(grave.words)))
    uidvalidity, uids = _enter(target, sources, os.rename)
    return uidvalidity, [uid for uid in uids if uid is not None]


def take_over(target: Intake, messages: Sequence[Saved],
              refused: list[StoreError] | None = None) -> tuple[int, list[int | None]]:
    """Messages of another Maildir, which keeps them, come with their flags, keywords and times: (UIDVALIDITY,
    their UIDs, None of one that is refused).  What is the user's is the same file in both, where that can
    be."""
    sources = []
    own = True
    for message in messages:
        try:
            found = os.stat(message.path)
        except OSError as error:
            raise trouble(message.path, error) from None
        own = own and found.st_uid == os.geteuid()
        name = unique_name(tmp_name(target.place.options.host, message.word), found.st_dev, found.st_ino)
        name += f",S={found.st_size}"
        sources.append(Source(message.path, found.st_size, os.fsencode(name), message.bits, message.words))
    return _enter(target, sources, link_or_copy if own else copy_file, refused)


def copy(origin: Origin, uids: Sequence[int], target: Intake,
         refused: list[StoreError] | None = None) -> tuple[int, list[tuple[int, int]]]:
    """Hard links under new names; flags, keywords and dates come along.  (UIDVALIDITY of the target, pairs
    of UIDs: here and there).  Messages that alone cannot be brought are left out; why they cannot is added
    to ``refused``."""
    return _transfer(origin, uids, target, link_or_copy, refused)


def move(origin: Origin, uids: Sequence[int], target: Intake,
         refused: list[StoreError] | None = None) -> tuple[int, list[tuple[int, int]]]:
    """As copy(); by rename, so that a message is never in both mailboxes, and never in none.  What is
    somebody else's cannot be renamed, and is in both for a moment."""
    if origin.place.mirror is not None or target.place.mirror is not None:
        return _copy_and_remove(origin, uids, target, refused)
    readers = origin.place.readers

    def bring(source: bytes, there: bytes) -> None:
        readers.bury(source, base(os.path.basename(source)))
        rename_or_copy(source, there)
    return _transfer(origin, uids, target, bring if readers.keeps() else rename_or_copy, refused)


def _copy_and_remove(origin: Origin, uids: Sequence[int], target: Intake,
                     refused: list[StoreError] | None) -> tuple[int, list[tuple[int, int]]]:
    mirror = origin.place.mirror
    may = []
    for uid in uids:
        try:
            path = origin.finder.locate(uid)[0]
        except Vanished:
            continue
        if mirror is not None and not mirror.may_remove(path):
            refuse(unchangeable(path, OSError(errno.EPERM, os.strerror(errno.EPERM))), refused)
            continue
        may.append(uid)
    uidvalidity, pairs = copy(origin, may, target, refused)
    origin.removal.expunge([here for here, _ in pairs], refused, only_deleted=False)
    return uidvalidity, pairs


def _transfer(origin: Origin, uids: Sequence[int], target: Intake, bring: Bring,
              refused: list[StoreError] | None) -> tuple[int, list[tuple[int, int]]]:
    moving = bring is not link_or_copy
    if not moving and origin.place.mirror is not None:
        bring = copy_file              # a second name of a link would be one
    sources = of_messages(origin.finder, origin.keywords, uids, origin.place.options.host, not moving)
    if not sources:
        return 0, []
    if origin.keywords.unread is not None:     # they would come without their keywords
        raise origin.keywords.unread
    if moving:
        origin.place.wait_while_still()
    alone = moving and len(sources) > 1 and origin.changes.at_rest(origin.finder.twins)
    uidvalidity, numbers = _enter(target, sources, bring, refused, origin.place)
    came = [source for source, number in zip(sources, numbers, strict=True) if number is not None]
    pairs = [(source.uid, number) for source, number in zip(sources, numbers, strict=True)
             if number is not None]
    if moving:
        origin.changes.did_all([source.file for source in came], (), alone)
        origin.removal.went([source.uid for source in came])
    return uidvalidity, pairs


def _enter(target: Intake, sources: Sequence[Source], bring: Bring,
           refused: list[StoreError] | None = None, origin: MailboxDirectory | None = None,
           instead: Amount | None = None) -> tuple[int, list[int | None]]:
    """As _enter_somehow(), when the quota has room for them; and it counts them then."""
    bits, keywords = target.settable
    if bits != ALL_FLAGS or not keywords:
        for source in sources:
            source.settable = bits
            source.words = source.words if keywords else NO_KEYWORDS
    here = target.place.quota
    there = origin.quota if origin is not None and bring not in COPYING else None
    if here is not None:
        comes = [here.amount(source.name + source.suffix, source.octets) for source in sources
                 # who moves what counts already may, however full it is
                 if there is not here or not here.amount(source.file, source.octets)]
        here.admit(*comes, *[-instead] if instead is not None else ())
    uidvalidity, numbers = _enter_somehow(target, sources, bring, refused, origin)
    if here is not None or there is not None:
        # by the names that they have now, and had at last: others may have changed flags meanwhile
        moved = [source for source, number in zip(sources, numbers, strict=True) if number is not None]
        came = [here.amount(source.name + source.suffix, source.octets) for source in moved] \
            if here is not None else []
        went = [-there.amount(source.file, source.octets) for source in moved] \
            if there is not None else []
        if here is there:
            came += went
        elif there is not None:
            there.changed(*went, together=True)
        if here is not None:
            here.changed(*came, together=True)
    return uidvalidity, numbers


def _enter_somehow(target: Intake, sources: Sequence[Source], bring: Bring, refused: list[StoreError] | None,
                   origin: MailboxDirectory | None) -> tuple[int, list[int | None]]:
    """Bring files in and number them in the order given; None for a message that is gone
    meanwhile or is refused.  0 for one that is moved to a full disk, and gets its number later."""
    already = len(refused) if refused is not None else 0
    while True:
        try:
            return _enter_once(target, sources, bring, refused)
        except QuotaExceeded as why:
            del (refused or [])[already:]
            if target.place.make_room() or origin is not None and origin.make_room():
                continue
            if refused is None or bring in (os.rename, *COPYING):
                raise
            return 0, _without_numbers(target, sources, bring, refused, why)


def _without_numbers(target: Intake, sources: Sequence[Source], bring: Bring, refused: list[StoreError],
                     why: StoreError) -> list[int | None]:
    """Who moves messages away to remove them may, however full the disk: they come as another program
    would bring them.  Not those with keywords, which would be lost."""
    found: list[int | None] = []
    with Directory(target.place.cur, target.place.options.sync) as entries:
        for source in sources:
            if source.words and target.keeps_keywords:
                refused.append(why)
                found.append(None)
            else:
                there = _bring(source, target.place, target.place.inside, bring, refused)
                found.append(None if there is None else 0)
        entries.sync()
    target.not_entered(())
    return found


def _enter_once(target: Intake, sources: Sequence[Source], bring: Bring,
                refused: list[StoreError] | None) -> tuple[int, list[int | None]]:
    place = target.place
    sync = place.options.sync
    moved: list[tuple[bytes, bytes]] = []
    with Directory(place.cur, sync) as cur_entries:
        spelled = target.admit([source.words for source in sources])
        if spelled:
            for source in sources:
                source.words = frozenset(spelled.get(word, word) for word in source.words)
        try:
            # 1. keywords before the message can be seen, numbers, then the messages
            uidvalidity, uids = _way_in(place, sources, bring)(target, sources, bring, refused, moved)
            # 2. the directory entries, before anybody is told.  Not under the lock: those who bring
            # messages at the same time share what the disk has to do for it.  Numbers of messages that
            # a crash takes with it were told to nobody, and are not used again
            if moved:
                cur_entries.sync()
                if sync:
                    place.sync_numbers()
        except (StoreError, MemoryError):
            _take_back(target, sources, moved, bring)
            raise
    return uidvalidity, uids


def _way_in(place: MailboxDirectory, sources: Sequence[Source], bring: Bring) -> WayIn:
    """What cannot be taken back, or is to be one, has the lock itself."""
    if place.mirror is not None:       # what waits would be a link to what has come
        return _together
    if len(sources) == 1:
        return _at_once if bring in (os.rename, *COPYING) else _together
    return _at_once if len(sources) <= FEW and bring in COPYING else _together


def _at_once(target: Intake, sources: Sequence[Source], bring: Bring, refused: list[StoreError] | None,
             moved: list[tuple[bytes, bytes]]) -> tuple[int, list[int | None]]:
    """With the lock itself where it is free; else with the others, so that the numbers are written once for
    all."""
    lock = target.place.lock
    if not lock.attempt():
        # what is left of somebody who is no more is nobody's
        enter = _with_others if lock.is_held() else _together
        return enter(target, sources, bring, refused, moved)
    try:
        return _together(target, sources, bring, refused, moved)
    finally:
        lock.release()


def _together(target: Intake, sources: Sequence[Source], bring: Bring, refused: list[StoreError] | None,
              moved: list[tuple[bytes, bytes]]) -> tuple[int, list[int | None]]:
    """All of them or none.  ``moved``: where each was, and where it is now."""
    if not target.place.lock.enabled:
        _write_keywords(target, sources)
    with target.place.lock:
        others = target.place.lobby.waiting()
        first = target.number([source.name for source in sources], [*map(base, others)])
        if target.place.lock.enabled:
            target.write_all_keywords({source.name: source.words for source in sources})
        _settle(sources)
        # in the order of their numbers: who looks meanwhile has no higher one before a lower
        came = _bring_all(sources, target.place, bring, refused, moved)
        uids = [uid if here else None for uid, here in enumerate(came, first)]
        target.let_in(others, first + len(sources))
        target.entered([uid for uid in uids if uid is not None])
    return target.uidvalidity, uids


def _with_others(target: Intake, sources: Sequence[Source], bring: Bring, refused: list[StoreError] | None,
                 moved: list[tuple[bytes, bytes]]) -> tuple[int, list[int | None]]:
    """Messages wait where whoever has the lock lets them in."""
    place = target.place
    _settle(sources)
    _write_keywords(target, sources)
    waits: list[tuple[Source, bytes]] = []
    whole = False
    try:
        for source in sources:
            path = _bring(source, place, place.lobby.inside, bring, refused)
            if path is not None:
                waits.append((source, path))
        whole = True
        if waits and place.lock.take(lambda: not any(exists(path) for _, path in waits), at_once=True):
            try:
                # who had the lock may have let them in since we looked: they have their numbers then
                own = [os.path.basename(path) for _, path in waits if exists(path)]
                if own:
                    files = place.lobby.waiting(own)
                    target.let_in(files, target.number((), [*map(base, files)]), own)
            finally:
                place.lock.release()
    except BaseException as why:
        entered = [(source, path) for source, path in waits if not _withdraw(source.path, path, bring)]
        if not whole or len(entered) < len(waits) or not isinstance(why, StoreError):
            moved += _inside(place, entered)
            raise                      # or somebody has let them in
    moved += _inside(place, waits)
    uidvalidity, numbers = target.numbers_of([source.name for source, _ in waits])
    return uidvalidity, [numbers.get(source.name) for source in sources]


def _settle(sources: Sequence[Source]) -> None:
    """Their octets are on the disk before anybody sees them."""
    for source in sources:
        source.settle()


def _write_keywords(target: Intake, sources: Sequence[Source]) -> None:
    for source in sources:
        target.write_keywords(source.name, source.words)


def _inside(place: MailboxDirectory, waits: Sequence[tuple[Source, bytes]]) -> list[tuple[bytes, bytes]]:
    """Where each was, and where it is since it was let in."""
    return [(source.path, place.inside + os.path.basename(path)) for source, path in waits]


def _withdraw(source: bytes, waits: bytes, bring: Bring) -> bool:
    """Take a message back that waits; False when it does no longer."""
    try:
        if bring in COPYING:
            os.unlink(waits)
        else:
            os.rename(waits, source)
    except FileNotFoundError:
        return False
    except OSError as error:
        log.err(f"{os.fsdecode(waits)}: {error.strerror}: it may come in without having been acknowledged")
    return True


def _take_back(target: Intake, sources: Sequence[Source], moved: Sequence[tuple[bytes, bytes]],
               bring: Bring) -> None:
    """The command is refused: nothing of it is done."""
    for path, there in reversed(moved):
        _undo(path, there, bring, target.place.mirror)
    target.not_entered([source.name for source in sources])


def _bring_all(sources: Sequence[Source], place: MailboxDirectory, bring: Bring,
               refused: list[StoreError] | None, moved: list[tuple[bytes, bytes]]) -> list[bool]:
    """As _bring(), of all of them: which of them came.  ``moved``: gets where each was, and where it is
    now."""
    quick = _quick(bring, sources) if place.mirror is None else None
    here = [source.path for source in sources]
    there = [place.inside + source.name + source.suffix for source in sources]
    paths, left = iter(here), iter(there)
    came: list[bool] = []
    while len(came) < len(sources):
        start = stop = len(came)
        if quick is not None:
            try:
                failed = until_failure(quick, paths, left)
            except BaseException:
                stop = len(there) - length_hint(left)      # the last of them, perhaps
                moved += zip(here[start:stop], there[start:stop], strict=True)
                raise
            stop = len(there) - length_hint(left) - failed
            moved += zip(here[start:stop], there[start:stop], strict=True)
            came += repeat(True, stop - start)
        if stop < len(sources):
            path = _bring(sources[stop], place, place.inside, bring, refused)
            came.append(path is not None)
            if path is not None:
                moved.append((sources[stop].path, path))
    return came


def _quick(bring: Bring, sources: Sequence[Source]) -> Bring | None:
    """What ``bring`` is where nothing is odd about a file and its file system; None where it is more."""
    if bring is link_or_copy:          # link(2) would give a link itself a second name
        return os.link if all(source.plain for source in sources) else None
    return os.rename if bring in (os.rename, rename_or_copy) else None


def _bring(source: Source, place: MailboxDirectory, directory: bytes, bring: Bring,
           refused: list[StoreError] | None) -> bytes | None:
    """Where the file is now; None when it is gone, or is refused.  Its name may change under
    our hands: another session sets a flag."""
    for _ in range(TRIES):
        there = directory + source.name + source.suffix
        try:
            if place.mirror is None:
                bring(source.path, there)
            else:
                _bring_to(place.mirror, source.path, there, bring)
            return there
        except FileNotFoundError:
            if not source.again():
                return None
        except MessageDenied as why:
            if refused is None:
                raise
            refused.append(why)
            return None
        except OSError as error:
            raise unchangeable(there, error) from None
    return None


def _bring_to(mirror: Mirror, source: bytes, there: bytes, bring: Bring) -> None:
    """To who shares the mailbox; ``there`` is a link to it then.  What all may read is a file of its own: a
    second name would have the mode of the first.  Raises OSError, or a store error."""
    if bring is os.rename:
        os.chmod(source, mirror.mode)
        os.rename(source, mirror.target(there))
    else:
        copy_file(source, mirror.target(there), mirror.mode)
    mirror.came(there)


def _undo(source: bytes, there: bytes, bring: Bring, mirror: Mirror | None) -> None:
    try:
        if mirror is not None:
            mirror.unlink(there)
        elif bring in COPYING:
            os.unlink(there)
        else:
            rename_or_copy(there, source)
    except (OSError, StoreError):
        pass                     # what cannot be taken back is a whole message, numbered later


COPYING = (link_or_copy, copy_file)    # of the ways to bring a message those that leave it where it is
