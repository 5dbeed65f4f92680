"""Messages on their way into a folder: APPEND, COPY, MOVE.

One order for all (reference: what an OK promises): the bytes are on disk; under
the lock the messages get their numbers, and then the files come to cur/; the
directories are on disk; only then may anybody be told.  What fails on the way is
taken back, and nothing of the command is left.  One message alone need not have the
lock itself (lobby.py).
"""
from __future__ import annotations

import errno
import os
import stat

from courierpy.maildir.errors import (
    DiskTrouble,
    MessageDenied,
    StoreError,
    Vanished,
    trouble,
    unchangeable,
    unreadable,
)
from courierpy.maildir.files import Directory, exists, remove
from courierpy.maildir.messagefile import PIECE_OCTETS, TRIES, look
from courierpy.maildir.names import SUFFIXES, base, tmp_name, unique_name
from courierpy.model.flags import NO_KEYWORDS
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from courierpy.maildir.draft import Draft
    from courierpy.maildir.mailbox import Mailbox

    Bring = Callable[[bytes, bytes], None]


class Source:
    """A file on its way into a folder.  ``folder`` and ``uid``: where it comes from,
    when it is a message already."""

    __slots__ = ("bits", "folder", "name", "path", "uid", "words")

    def __init__(self, path: bytes, name: str, bits: int, words: frozenset[bytes],
                 folder: Mailbox | None = None, uid: int = 0) -> None:
        self.path = path
        self.name = os.fsencode(name)
        self.bits = bits
        self.words = words
        self.folder = folder
        self.uid = uid

    def again(self) -> bool:
        """Look for it under another name; False when it is gone."""
        if self.folder is None:
            raise DiskTrouble(self.path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
        try:
            self.path, self.bits = self.folder.locate(self.uid)
        except Vanished:
            return False
        return True


def append(folder: Mailbox, drafts: Sequence[Draft]) -> tuple[int, list[int]]:
    """Store the drafts, all or none; (UIDVALIDITY, their UIDs)."""
    sync = folder.options.sync
    pending = list(drafts)
    try:
        sources = []
        for draft in drafts:
            draft.finish(sync)
            try:
                found = os.stat(draft.path)
            except OSError as error:
                raise trouble(draft.path, error) from None
            name = unique_name(os.path.basename(draft.path), found.st_dev, found.st_ino)
            sources.append(Source(os.fsencode(draft.path), f"{name},S={draft.size}", draft.flags,
                                  draft.keywords))
        uidvalidity, uids = _enter(folder, sources, os.rename)
        pending = []
        return uidvalidity, [uid for uid in uids if uid is not None]
    finally:
        for draft in pending:
            draft.abort()


def copy(folder: Mailbox, uids: Sequence[int], target: Mailbox,
         refused: list[StoreError] | None = None) -> tuple[int, list[tuple[int, int]]]:
    """(UIDVALIDITY of the target, pairs of UIDs: here and there).  Messages that alone cannot be
    brought are left out; why they cannot is added to ``refused``."""
    return _transfer(folder, uids, target, _link_or_copy, refused)


def move(folder: Mailbox, uids: Sequence[int], target: Mailbox,
         refused: list[StoreError] | None = None) -> tuple[int, list[tuple[int, int]]]:
    """As copy(); by rename, so that a message is never in both folders, and never in none."""
    readers = folder.readers
    kept = readers.keeps()

    def bring(source: bytes, there: bytes) -> None:
        if kept:
            readers.bury(source, base(os.path.basename(source)))
        _rename_or_copy(source, there)
    return _transfer(folder, uids, target, bring, refused)


def _transfer(folder: Mailbox, uids: Sequence[int], target: Mailbox, bring: Bring,
              refused: list[StoreError] | None) -> tuple[int, list[tuple[int, int]]]:
    folder.watch_if_large()
    moving = bring is not _link_or_copy
    sources, known = [], []
    for uid in uids:
        try:
            path, bits, found = look(folder, uid, not moving)
        except Vanished:
            continue
        name = unique_name(tmp_name(folder.options.host), found.st_dev, found.st_ino)
        if stat.S_ISREG(found.st_mode):        # or it is a link that leads nowhere, with a size of its own
            name += f",S={found.st_size}"
        sources.append(Source(path, name, bits, folder.keywords.by_uid.get(uid, NO_KEYWORDS), folder, uid))
        known.append(uid)
    if not sources:
        return 0, []
    if folder.keywords.unread is not None:      # they would come without their keywords
        raise folder.keywords.unread
    uidvalidity, numbers = _enter(target, sources, bring, refused)
    pairs = [(old, new) for old, new in zip(known, numbers, strict=True) if new is not None]
    if moving:
        for source, number in zip(sources, numbers, strict=True):
            if number is not None:
                folder.did(os.path.basename(source.path), False)
        folder.leave([old for old, _ in pairs])
    return uidvalidity, pairs


def _enter(target: Mailbox, sources: Sequence[Source], bring: Bring,
           refused: list[StoreError] | None = None) -> tuple[int, list[int | None]]:
    """Bring files in and number them in the order given; None for a message that is gone
    meanwhile or is refused."""
    sync = target.options.sync
    moved: list[tuple[bytes, bytes]] = []
    with Directory(target.cur, sync) as cur_entries, Directory(target.path, sync) as entries:
        target.admit([source.words for source in sources])
        try:
            # 1. keywords before the message can be seen
            for source in sources:
                if source.words and target.options.keywords:
                    target.write_keywords(source.name, source.words)
            # 2. numbers, then the messages
            enter = _with_others if len(sources) == 1 and bring in (os.rename, _link_or_copy) else _together
            uidvalidity, uids = enter(target, sources, bring, refused, moved)
            # 3. the directory entries, before anybody is told.  Not under the lock: those who bring
            # messages at the same time share what the disk has to do for it.  Numbers of messages that
            # a crash takes with it were told to nobody, and are not used again
            if moved:
                cur_entries.sync()
                entries.sync()
        except (StoreError, MemoryError):
            _take_back(target, sources, moved, bring)
            raise
    return uidvalidity, uids


def _together(target: Mailbox, sources: Sequence[Source], bring: Bring, refused: list[StoreError] | None,
              moved: list[tuple[bytes, bytes]]) -> tuple[int, list[int | None]]:
    """All of them or none.  ``moved``: where each was, and where it is now."""
    uids: list[int | None] = []
    with target.locked():
        others = target.lobby.waiting()
        first = target.number([*(source.name for source in sources), *map(base, others)])
        # in the order of their numbers: who looks meanwhile has no higher one before a lower
        for uid, source in enumerate(sources, first):
            there = _bring(source, target.inside, bring, refused)
            uids.append(uid if there is not None else None)
            if there is not None:
                moved.append((source.path, there))
        target.entered([uid for uid in uids if uid is not None])
        target.let_in(others, first + len(sources))
    return target.uidvalidity, uids


def _with_others(target: Mailbox, sources: Sequence[Source], bring: Bring, refused: list[StoreError] | None,
                 moved: list[tuple[bytes, bytes]]) -> tuple[int, list[int | None]]:
    """One message waits where whoever has the lock lets it in."""
    source, = sources
    waits = _bring(source, target.lobby.inside, bring, refused)
    if waits is None:
        return 0, [None]
    file = os.path.basename(waits)
    try:
        if target.locked().take(lambda: not exists(waits), at_once=True):
            try:
                files = target.lobby.waiting(file)
                target.let_in(files, target.number([*map(base, files)]), file)
            finally:
                target.locked().release()
    except BaseException as why:
        if _withdraw(source.path, waits, bring) or not isinstance(why, StoreError):
            raise                      # or somebody has let it in
    moved.append((source.path, target.inside + file))
    uidvalidity, uid = target.number_of(source.name)
    return uidvalidity, [uid]


def _withdraw(source: bytes, waits: bytes, bring: Bring) -> bool:
    """Take a message back that waits; False when it does no longer."""
    try:
        if bring is _link_or_copy:
            os.unlink(waits)
        else:
            os.rename(waits, source)
    except FileNotFoundError:
        return False
    except OSError as error:
        log.err(f"{os.fsdecode(waits)}: {error.strerror}: it may come in without having been acknowledged")
    return True


def _take_back(target: Mailbox, sources: Sequence[Source], moved: Sequence[tuple[bytes, bytes]],
               bring: Bring) -> None:
    """The command is refused: nothing of it is done."""
    for path, there in reversed(moved):
        _undo(path, there, bring)
    target.not_entered([source.name for source in sources])


def _bring(source: Source, directory: bytes, bring: Bring,
           refused: list[StoreError] | None) -> bytes | None:
    """Where the file is now; None when it is gone, or is refused.  Its name may change under
    our hands: another session sets a flag."""
    for _ in range(TRIES):
        there = directory + source.name + SUFFIXES[source.bits]
        try:
            bring(source.path, there)
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


def _undo(source: bytes, there: bytes, bring: Bring) -> None:
    try:
        if bring is _link_or_copy:
            os.unlink(there)
        else:
            _rename_or_copy(there, source)
    except (OSError, StoreError):
        pass                     # what cannot be taken back is a whole message, numbered later


def _link_or_copy(source: bytes, target: bytes) -> None:
    try:
        os.link(source, target, follow_symlinks=True)
    except OSError as error:
        # EPERM: another's file that may not be written either gets no second name of ours.  The last
        # two may be the source's as well: who reads it knows
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES,
                               errno.ELOOP):
            raise
        _copy(source, target)


def _rename_or_copy(source: bytes, target: bytes) -> None:
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:          # a folder may be a link to another file system
            raise
        _copy(source, target)
        os.unlink(source)


def _copy(source: bytes, target: bytes) -> None:
    """Through tmp/, so that nobody sees a part of it."""
    folder = os.path.dirname(os.path.dirname(target))
    scratch = os.path.join(folder, b"tmp", base(os.path.basename(target)))    # what waits has its flags
    try:
        original = open(source, "rb")  # noqa: SIM115
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unreadable(source, error) from None
    try:
        with original as file, open(scratch, "xb") as copied:
            while chunk := file.read(PIECE_OCTETS):
                copied.write(chunk)
            copied.flush()
            os.fsync(copied.fileno())
        found = os.stat(source)
        os.utime(scratch, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.rename(scratch, target)
    except OSError:
        remove(os.fsdecode(scratch))
        raise


__all__ = ["Source", "append", "copy", "move"]
