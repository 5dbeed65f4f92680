"""One folder on disk.  Gives Snapshots, takes changes.

The hard part is ``scan``.  Names in cur/ change under our feet (a flag is a
rename by whoever sets it), new/ fills from outside, and several sessions number
the same messages.  So: the uiddb is read and written under the lock, a name
that is missing is looked for again before the message counts as gone, and a
directory whose mtime is as young as the clock's grain is read again next
time, because a change in the same instant would not show.
"""
from __future__ import annotations

import errno
import os
import re
import stat
import time
from array import array
from bisect import bisect_left

from courierpy.kinds import DELETED, NO_KEYWORDS, SEEN, FlagChange, Snapshot
from courierpy.maildir import uiddb
from courierpy.maildir.errors import DiskTrouble, FolderMissing, StoreError, Vanished, trouble
from courierpy.maildir.files import remove, remove_tree, replace, sync_directory, write_all
from courierpy.maildir.keywords import Keywords
from courierpy.maildir.locks import FolderLock
from courierpy.maildir.names import base, bits_of, info, sort_key, tmp_name, unique_name, with_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from io import FileIO

    from courierpy.maildir.folders import Folders
    from courierpy.maildir.watch import Watch

NEW = b"../new/"                   # before the name of a message that is not in cur/ yet
GRAIN = 0.02                       # seconds: a directory younger than this is read again
TRIES = 10                         # for a file whose name another session changes at the same time
READINGS = 6                       # of cur/ before a message that is not seen is gone
HEADER_PIECE = 8192                # octets read at first when only the header is wanted
TMP_AGE = 36 * 3600                # seconds after which files in tmp/ are garbage


class Status:
    """Counts without opening: RFC 9051 6.3.11."""

    __slots__ = ("messages", "recent", "uidnext", "uidvalidity", "unseen")

    def __init__(self, messages: int, recent: int, uidnext: int, uidvalidity: int, unseen: int) -> None:
        self.messages = messages
        self.recent = recent
        self.uidnext = uidnext
        self.uidvalidity = uidvalidity
        self.unseen = unseen


class Draft:
    """A message on its way in: a file in tmp/, written as it comes.

    Line ends become LF as Courier stores them; a message that would not come
    back as it was (a bare LF, or CR CR LF) is kept as it is.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.flags = 0
        self.keywords: frozenset[bytes] = NO_KEYWORDS
        self.date: float | None = None
        self.path = os.path.join(folder.path, "tmp", tmp_name(folder.tree.host))
        self.size = 0
        self._exact = False
        self._tail = b""               # carriage returns at the end of what came
        try:
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except OSError as error:
            raise trouble(self.path, error) from None

    def write(self, data: bytes) -> None:
        if not data:
            return
        seen = self._tail + data
        if seen.count(b"\n") != seen.count(b"\r\n") or b"\r\r\n" in seen:
            self._exact = True
        self._tail = seen[-2:] if seen.endswith(b"\r\r") else seen[-1:] if seen.endswith(b"\r") else b""
        try:
            write_all(self.fd, data)
        except OSError as error:
            self.abort()
            raise trouble(self.path, error) from None

    def finish(self, sync: bool) -> None:
        """Everything on disk, the file closed; what is finished stays so."""
        if self.fd < 0:
            return
        try:
            if not self._exact:
                self._to_lf()
            self.size = os.fstat(self.fd).st_size
            if self.date is not None:
                os.utime(self.fd, (time.time(), self.date))
            if sync:
                os.fsync(self.fd)
            os.close(self.fd)
            self.fd = -1
        except OSError as error:
            self.abort()
            raise trouble(self.path, error) from None

    def _to_lf(self) -> None:
        """CR LF to LF, in place: the text only gets shorter."""
        read_at = write_at = 0
        carry = b""
        while True:
            chunk = os.pread(self.fd, 1 << 20, read_at)
            read_at += len(chunk)
            data = carry + chunk
            carry = b"\r" if chunk and data.endswith(b"\r") else b""
            if carry:
                data = data[:-1]
            data = data.replace(b"\r\n", b"\n")
            view = memoryview(data)
            while view:
                done = os.pwrite(self.fd, view, write_at)
                write_at += done
                view = view[done:]
            if not chunk:
                break
        os.ftruncate(self.fd, write_at)

    def header_is_ascii(self) -> bool:
        """Are there no 8-bit octets in the header?"""
        with open(self.path, "rb", buffering=0) as file:
            data = _read_header(file)
        end = re.search(rb"\n\r?\n", data)
        return data[:end.end() if end else len(data)].isascii()

    def abort(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        remove(self.path)


class Folder:
    """``name`` as IMAP says it, ``path`` relative to the Maildir's parent tree."""

    def __init__(self, tree: Folders, name: str, path: str) -> None:
        self.tree = tree
        self.name = name
        self.path = path
        self.cur = os.path.join(path, "cur")
        self.new = os.path.join(path, "new")
        self._lock = FolderLock(path, tree.host, tree.locks)
        self._keywords = Keywords(path, tree.host)
        self._names: list[bytes] = []           # file names in cur/, in UID order
        self._snapshot: Snapshot | None = None
        self._stamps: tuple[int, ...] | None = None
        self._readonly = False
        self._old_recent: frozenset[int] = frozenset()
        self._watch: Watch | None = None
        self._database: tuple[tuple[int, int, int], uiddb.UidDb] | None = None
        self._unwritten = False                 # the uiddb holds messages that we removed

    def close(self) -> None:
        self._snapshot = None
        self._names = []
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def watch(self) -> Watch:
        """What hears of changes from now on, until close().  Raises watch.Refused."""
        if self._watch is None:
            from courierpy.maildir.watch import Watch
            self._watch = Watch(self.path)
        return self._watch

    def locked(self) -> FolderLock:
        return self._lock

    def clean_tmp(self) -> None:
        """Garbage that crashed programs left in tmp/, when it is older than 36 hours."""
        limit = time.time() - TMP_AGE
        try:
            with os.scandir(os.path.join(self.path, "tmp")) as entries:
                old = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries
                       if entry.stat(follow_symlinks=False).st_ctime < limit]
        except OSError:
            return                       # it cannot be read, or somebody else cleans
        for path, is_directory in old:
            if is_directory:
                remove_tree(path)
            else:
                try:
                    os.unlink(path)
                except OSError:
                    continue

    # -- scanning

    def scan(self, readonly: bool = False) -> Snapshot:
        """What the folder holds now; the same object when nothing changed."""
        stamps = self._stamp()
        if self._snapshot is not None and stamps is not None and stamps == self._stamps \
                and readonly == self._readonly:
            if self._snapshot.recent:
                # recent is told once, to the scan that found it
                self._snapshot = _with_recent(self._snapshot, frozenset())
            return self._snapshot
        self._readonly = readonly
        # most changes need no number: a look without the lock will do, or will do as
        # soon as the session that holds it has numbered what is new
        if self._look(readonly) or not self._lock.take(lambda: self._look(readonly)):
            assert self._snapshot is not None
            return self._snapshot
        try:
            return self._scan(readonly)
        finally:
            self._lock.release()

    def _look(self, readonly: bool) -> bool:
        """Make the snapshot from what is there, if all of it is numbered and nothing has to be written."""
        if self._unwritten or self._snapshot is None:
            return False
        stamps = self._stamp()
        database = self._numbers()
        arrived = self._list_new()
        if database is None or (arrived and not readonly):
            return False
        present = self._list_cur()
        for name in arrived:
            present.setdefault(base(name), NEW + name)
        if present.keys() != database.names.keys():
            return False
        rows = sorted((uid, name) for name, uid in database.names.items())
        self._columns(database.uidvalidity, database.uidnext, rows, present, frozenset(), readonly)
        after = self._stamp()
        self._stamps = after if stamps == after else None
        return True

    def _stamp(self) -> tuple[int, ...] | None:
        """Identities of the directories and the uiddb; None when one is too young to trust."""
        try:
            stats = (os.stat(self.cur), os.stat(self.new))
        except FileNotFoundError:
            raise FolderMissing(self.path) from None
        except OSError as error:
            raise trouble(self.path, error) from None
        try:
            db = os.stat(os.path.join(self.path, uiddb.NAME))
            database = (db.st_ino, db.st_mtime_ns)
        except OSError:
            database = (0, 0)
        words = self._keywords.stamp() if self.tree.keywords else 0
        newest = max(stats[0].st_mtime_ns, stats[1].st_mtime_ns, words)
        if time.time_ns() - newest < GRAIN * 1e9:
            return None
        return (stats[0].st_mtime_ns, stats[0].st_ino, stats[1].st_mtime_ns, *database, words)

    def _scan(self, readonly: bool, take_new: bool = True) -> Snapshot:
        """``take_new``: False numbers the messages in new/, but leaves them there for
        the session that is the first to see them."""
        # 1. what the numbers were
        path = os.path.join(self.path, uiddb.NAME)
        database = uiddb.read(path)
        changed = database is None
        if database is None:
            database = uiddb.UidDb(self._new_uidvalidity(readonly), 1, {})
        stamps = self._stamp()

        # 2. new mail moves to cur/; for a session that only reads it stays, and recent with it
        arrived = self._take_new() if take_new and not readonly else []
        old_arrivals = [database.names[name] for name in arrived if name in database.names]

        # 3. names in cur/
        present = self._present(database)
        if readonly or not take_new:
            for name in self._list_new():
                present.setdefault(base(name), NEW + name)

        # 4. numbers: known ones stay, others follow in the order of their names
        rows = sorted((uid, name) for name, uid in database.names.items() if name in present)
        if len(rows) != len(database.names):
            changed = True
        fresh = sorted((name for name in present if name not in database.names), key=sort_key)
        uidnext = database.uidnext
        first_fresh = uidnext
        for name in fresh:
            rows.append((uidnext, name))
            uidnext += 1
        if changed or fresh:
            try:
                self._write_uiddb(database.uidvalidity, uidnext, rows)
            except StoreError:
                if not readonly:
                    raise              # who only reads may do so from a disk that takes nothing

        self._unwritten = False

        # 5. columns
        recent = frozenset(range(first_fresh, uidnext)).union(old_arrivals)
        snapshot = self._columns(database.uidvalidity, uidnext, rows, present, recent, readonly, merge=True)
        # a new message or a rename by ourselves changed the stamps: read them again,
        # and trust them only if nothing was younger than the grain
        self._stamps = self._stamp() if not arrived else None
        if stamps is None or (self._stamps != stamps and not changed and not fresh):
            self._stamps = None
        return snapshot

    def _numbers(self) -> uiddb.UidDb | None:
        """The uiddb, read only when it is another file than the last time."""
        path = os.path.join(self.path, uiddb.NAME)
        try:
            found = os.stat(path)
        except OSError:
            return uiddb.read(path)
        key = found.st_ino, found.st_mtime_ns, found.st_size
        if self._database is None or self._database[0] != key:
            database = uiddb.read(path)
            if database is None or time.time_ns() - found.st_mtime_ns < GRAIN * 1e9:
                return database        # too young to be told from the next one
            self._database = key, database
        return self._database[1]

    def _present(self, database: uiddb.UidDb) -> dict[bytes, bytes]:
        """base name -> file name in cur/.

        A file that is renamed while readdir goes by can be missed, again and again if
        somebody toggles its flags.  What is missing counts as gone after a reading
        during which the directory did not change, or after several.
        """
        present = self._list_cur()
        missing = [name for name in database.names if name not in present]
        for _ in range(READINGS):
            if not missing:
                break
            before = self._cur_mtime()
            settled = time.time_ns() - before > GRAIN * 1e9
            again = self._list_cur()
            present.update((name, again[name]) for name in missing if name in again)
            missing = [name for name in missing if name not in again]
            if settled and self._cur_mtime() == before:
                break
        return present

    def _cur_mtime(self) -> int:
        try:
            return os.stat(self.cur).st_mtime_ns
        except FileNotFoundError:
            raise FolderMissing(self.cur) from None
        except OSError as error:
            raise trouble(self.cur, error) from None

    def _columns(self, uidvalidity: int, uidnext: int, rows: list[tuple[int, bytes]],
                 present: dict[bytes, bytes], recent: frozenset[int], readonly: bool,
                 merge: bool = False) -> Snapshot:
        """The snapshot of these rows of (UID, base name); the one before if nothing differs."""
        before, old_names = self._snapshot, self._names
        self._names = [present[name] for _, name in rows]
        uids = array("I", [uid for uid, _ in rows])
        if before is not None and before.uids == uids:
            flags = bytearray(before.flags)
            for at, (old, file) in enumerate(zip(old_names, self._names, strict=True)):
                if old != file:
                    flags[at] = bits_of(info(file))
        else:
            flags = bytearray([bits_of(info(file)) for file in self._names])
        keywords = self._read_keywords(rows, present, merge)
        if readonly:
            recent |= {uid for uid, name in rows if present[name].startswith(NEW)}
            recent -= self._old_recent       # they stay in new/, but are told once
            self._old_recent |= recent
        snapshot = Snapshot(uidvalidity, uidnext, uids, bytes(flags), keywords, recent)
        if before is not None and not recent and _same(before, snapshot):
            snapshot = before if not before.recent else _with_recent(before, frozenset())
        self._snapshot = snapshot
        return snapshot

    def _new_uidvalidity(self, readonly: bool) -> int:
        try:
            return self.tree.next_uidvalidity()
        except StoreError:
            if not readonly:
                raise
            return self.tree.next_uidvalidity(record=False)

    def _write_uiddb(self, uidvalidity: int, uidnext: int, rows: list[tuple[int, bytes]]) -> None:
        replace(os.path.join(self.path, uiddb.NAME), uiddb.render(uidvalidity, uidnext, rows),
                os.path.join(self.path, "tmp"), self.tree.host, "imapuid_0",
                sync=self.tree.fsync != "never")

    def _take_new(self) -> list[bytes]:
        """Move what is in new/ to cur/; the base names of what came."""
        moved = []
        for entry in self._list_new():
            old = os.path.join(os.fsencode(self.new), entry)
            target = entry if b":" in entry else entry + b":2,"
            try:
                if not stat.S_ISREG(os.stat(old).st_mode):
                    continue
                os.rename(old, os.path.join(os.fsencode(self.cur), target))
                moved.append(base(target))
            except FileNotFoundError:
                continue             # another session was first
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                    raise trouble(self.new, error) from None
        return moved

    def _list_new(self) -> list[bytes]:
        try:
            return [name for name in os.listdir(os.fsencode(self.new)) if not name.startswith(b".")]
        except FileNotFoundError:
            raise FolderMissing(self.new) from None
        except OSError as error:
            raise trouble(self.new, error) from None

    def _list_cur(self) -> dict[bytes, bytes]:
        """base name -> file name.  Of duplicates the last name in byte order is shown."""
        found: dict[bytes, bytes] = {}
        known = set(self._names)                 # a name that was a message is one
        try:
            with os.scandir(os.fsencode(self.cur)) as entries:
                for entry in entries:
                    name = entry.name
                    if name not in known and (name.startswith(b".") or b"\n" in name or not entry.is_file()):
                        continue
                    root = name.rpartition(b":")[0] or name
                    if root not in found or found[root] < name:
                        found[root] = name
        except FileNotFoundError:
            raise FolderMissing(self.cur) from None
        except OSError as error:
            raise trouble(self.cur, error) from None
        return found

    def _read_keywords(self, rows: list[tuple[int, bytes]], present: dict[bytes, bytes],
                       merge: bool) -> dict[int, frozenset[bytes]]:
        if not self.tree.keywords:
            return {}
        words = self._keywords.read(present, merge)
        if not words:
            return {}
        return {uid: words[name] for uid, name in rows if name in words}

    def status(self) -> Status:
        """Counts without moving mail from new/ and without writing anything."""
        database = uiddb.read(os.path.join(self.path, uiddb.NAME))
        present = self._list_cur()
        arrived = self._list_new()
        if database is None:
            # the folder is numbered now, so that what we announce stays true
            with self._lock:
                database = uiddb.read(os.path.join(self.path, uiddb.NAME))
                if database is None:
                    database = uiddb.UidDb(self.tree.next_uidvalidity(), 1, {})
                    self._write_uiddb(database.uidvalidity, 1, [])
        unknown = sum(1 for name in present if name not in database.names)
        unseen = sum(1 for file in present.values() if not bits_of(info(file)) & SEEN)
        fresh = unknown + sum(1 for name in arrived if base(name) not in database.names)
        return Status(len(present) + len(arrived), unknown + len(arrived), database.uidnext + fresh,
                      database.uidvalidity, unseen + len(arrived))

    def keywords_in_use(self) -> list[bytes]:
        snapshot = self._snapshot
        if snapshot is None or not snapshot.keywords:
            return []
        return sorted(frozenset().union(*snapshot.keywords.values()))

    # -- one message

    def _index(self, uid: int) -> int:
        snapshot = self._snapshot
        if snapshot is None:
            raise Vanished(f"{self.path}: uid {uid}")
        at = bisect_left(snapshot.uids, uid)
        if at == len(snapshot.uids) or snapshot.uids[at] != uid:
            raise Vanished(f"{self.path}: uid {uid}")
        return at

    def _path(self, at: int) -> bytes:
        return os.path.join(os.fsencode(self.cur), self._names[at])

    def _find_again(self, at: int) -> bool:
        """The name changed (flags of another program, or it is new no more): look for the base name."""
        root = base(self._names[at].removeprefix(NEW))
        found = self._list_cur().get(root)
        if found is None:
            return False
        self._names[at] = found
        self._stamps = None
        return True

    def locate(self, uid: int) -> tuple[bytes, int]:
        """(path, flag bits) as they are now.  Raises Vanished."""
        at = self._index(uid)
        if not os.path.lexists(self._path(at)) and not self._find_again(at):
            raise Vanished(f"{self.path}: uid {uid}")
        return self._path(at), bits_of(info(self._names[at]))

    def read(self, uid: int, header: bool = False) -> bytes:
        """The file's bytes; with ``header`` at least those up to the empty line.  Raises Vanished."""
        at = self._index(uid)
        for _ in range(3):
            path = self._path(at)
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                if self._find_again(at):
                    continue
                break
            except OSError as error:
                raise trouble(path, error) from None
            try:
                with os.fdopen(fd, "rb", buffering=0) as file:
                    return _read_header(file) if header else file.read()
            except OSError as error:
                raise trouble(path, error) from None
        raise Vanished(f"{self.path}: uid {uid}")

    def stat(self, uid: int) -> tuple[int, float]:
        """(octets on disk, mtime).  Raises Vanished."""
        at = self._index(uid)
        for _ in range(3):
            try:
                found = os.stat(self._path(at))
                return found.st_size, found.st_mtime
            except FileNotFoundError:
                if not self._find_again(at):
                    break
            except OSError as error:
                raise trouble(self._path(at), error) from None
        raise Vanished(f"{self.path}: uid {uid}")

    # -- flags

    def store(self, uids: Sequence[int], change: FlagChange) -> dict[int, tuple[int, frozenset[bytes]]]:
        """Change flags; uid -> what it has now.  Messages that are gone are left out.

        A change is applied to what is there at that moment, so that what another
        session set is never lost: for flags the name, which the rename takes over
        whole; for keywords a file, which is read and written under the lock.
        """
        if self.tree.keywords and (change.keywords or change.mode == "="):
            with self._lock:
                return self._store(uids, change, self._keywords.current())
        return self._store(uids, change, None)

    def _store(self, uids: Sequence[int], change: FlagChange,
               current: Callable[[bytes], frozenset[bytes]] | None,
               ) -> dict[int, tuple[int, frozenset[bytes]]]:
        done: dict[int, tuple[int, frozenset[bytes]]] = {}
        snapshot = self._snapshot
        if snapshot is None:
            return done
        for uid in uids:
            try:
                at = self._index(uid)
                bits = self._rename_flags(at, change)
            except Vanished:
                continue
            words = snapshot.keywords.get(uid, NO_KEYWORDS)
            if current is not None:
                name = base(self._names[at])
                old = current(name)
                words = change.words(old)
                if words != old:
                    self._keywords.write(name, words)
            done[uid] = bits, words
        if done:
            self._replace_columns(done)
        return done

    def _rename_flags(self, at: int, change: FlagChange) -> int:
        for _ in range(TRIES):
            old = self._names[at]
            bits = change.bits(bits_of(info(old)))
            new = with_flags(old, bits)
            if new == old:
                if os.path.exists(self._path(at)):
                    return bits
            else:
                try:
                    os.rename(self._path(at), os.path.join(os.fsencode(self.cur), new))
                    self._names[at] = new
                    return bits
                except FileNotFoundError:
                    pass
                except OSError as error:
                    raise trouble(self._path(at), error) from None
            if not self._find_again(at):
                break
        raise Vanished(self.path)

    def _replace_columns(self, done: dict[int, tuple[int, frozenset[bytes]]]) -> None:
        """A new snapshot that has what we just did."""
        old = self._snapshot
        assert old is not None
        flags = bytearray(old.flags)
        keywords = dict(old.keywords)
        for uid, (bits, words) in done.items():
            flags[self._index(uid)] = bits
            if words:
                keywords[uid] = words
            else:
                keywords.pop(uid, None)
        self._snapshot = Snapshot(old.uidvalidity, old.uidnext, old.uids, bytes(flags), keywords,
                                  old.recent)
        self._stamps = None

    # -- messages in

    def draft(self) -> Draft:
        return Draft(self)

    def append(self, drafts: Sequence[Draft]) -> tuple[int, list[int]]:
        """Store the drafts, all or none; (UIDVALIDITY, their UIDs)."""
        sync = self.tree.fsync != "never"
        pending = list(drafts)
        try:
            for draft in drafts:
                draft.finish(sync)
            sources = []
            for draft in drafts:
                found = os.stat(draft.path)
                name = unique_name(os.path.basename(draft.path), found.st_dev, found.st_ino)
                name += f",S={draft.size}"
                sources.append(_Source(os.fsencode(draft.path), name, draft.flags, draft.keywords))
            uidvalidity, uids = self._enter(sources, os.rename)
            pending = []
            return uidvalidity, [uid for uid in uids if uid is not None]
        except OSError as error:
            raise trouble(self.path, error) from None
        finally:
            for draft in pending:
                draft.abort()

    def _enter(self, sources: Sequence[_Source], bring: object) -> tuple[int, list[int | None]]:
        """Bring files in under the lock and number them in the order given; None for
        a message that is gone meanwhile.

        A message without flags goes to new/, so that the first session that sees
        it is told that it is recent; the others go to cur/.
        """
        selected = self._snapshot is not None
        moved: list[tuple[bytes, bytes]] = []
        with self._lock:
            try:
                # 1. number everything that is there already
                self._scan(readonly=False, take_new=selected)
                if not selected:
                    self._snapshot = None
                database = uiddb.read(os.path.join(self.path, uiddb.NAME))
                assert database is not None
                rows = sorted((uid, name) for name, uid in database.names.items())
                uidnext = database.uidnext
                # 2. keywords before the message can be seen
                uids: list[int | None] = []
                for source in sources:
                    root = os.fsencode(source.name)
                    if source.words and self.tree.keywords:
                        self._keywords.write(root, source.words, sync=self.tree.fsync == "always")
                    target = self._bring(source, root, bring)
                    if target is None:
                        uids.append(None)
                        continue
                    moved.append((source.path, target))
                    rows.append((uidnext, root))
                    uids.append(uidnext)
                    uidnext += 1
                # 3. numbers, then the directory: only now may anybody be told
                self._write_uiddb(database.uidvalidity, uidnext, rows)
                if self.tree.fsync != "never":
                    for directory in {os.path.dirname(target) for _, target in moved}:
                        sync_directory(os.fsdecode(directory))
            except (OSError, StoreError) as error:
                for path, target in moved:
                    self._undo(path, target, bring)
                if isinstance(error, OSError):
                    raise trouble(self.cur, error) from None
                raise
        self._stamps = None
        return database.uidvalidity, uids

    def _bring(self, source: _Source, root: bytes, bring: object) -> bytes | None:
        """Where the file is now; None when it is gone.  Its name may change under our
        hands: another session sets a flag."""
        for _ in range(TRIES):
            target = (os.path.join(os.fsencode(self.cur), with_flags(root, source.bits)) if source.bits
                      else os.path.join(os.fsencode(self.new), root))
            try:
                bring(source.path, target)  # type: ignore[operator]
                return target
            except FileNotFoundError:
                if not source.again():
                    return None
        return None

    @staticmethod
    def _undo(source: bytes, target: bytes, bring: object) -> None:
        try:
            if bring is os.rename:
                os.rename(target, source)
            else:
                os.unlink(target)
        except OSError:
            pass                     # what cannot be taken back is a whole message, numbered later

    def copy(self, uids: Sequence[int], target: Folder) -> tuple[int, list[tuple[int, int]]]:
        """Hard links under new names; flags, keywords and dates come along."""
        return self._transfer(uids, target, _link_or_copy)

    def move(self, uids: Sequence[int], target: Folder) -> tuple[int, list[tuple[int, int]]]:
        """By rename: a message is never in both folders, and never in none."""
        return self._transfer(uids, target, os.rename)

    def _transfer(self, uids: Sequence[int], target: Folder,
                  bring: object) -> tuple[int, list[tuple[int, int]]]:
        snapshot = self._snapshot
        sources = []
        known = []
        for uid in uids:
            try:
                at = self._index(uid)
                size, _ = self.stat(uid)
                found = os.stat(self._path(at))
            except (Vanished, FileNotFoundError):
                continue
            name = unique_name(tmp_name(self.tree.host), found.st_dev, found.st_ino) + f",S={size}"
            words = snapshot.keywords.get(uid, NO_KEYWORDS) if snapshot else NO_KEYWORDS
            sources.append(_Source(self._path(at), name, bits_of(info(self._names[at])), words, self, uid))
            known.append(uid)
        if not sources:
            return 0, []
        uidvalidity, numbers = target._enter(sources, bring)
        self._stamps = None
        self._unwritten = self._unwritten or bring is os.rename
        return uidvalidity, [(old, new) for old, new in zip(known, numbers, strict=True) if new is not None]

    # -- messages out

    def expunge(self, uids: Iterable[int]) -> list[int]:
        """Remove messages that are \\Deleted still; gives the UIDs that went."""
        gone = []
        for uid in uids:
            try:
                at = self._index(uid)
                if not self._is_deleted(at):
                    continue
                os.unlink(self._path(at))
            except (Vanished, FileNotFoundError):
                continue
            except OSError as error:
                raise trouble(self._path(at), error) from None
            gone.append(uid)
        self._stamps = None
        self._unwritten = self._unwritten or bool(gone)
        return gone

    def _is_deleted(self, at: int) -> bool:
        if not os.path.lexists(self._path(at)) and not self._find_again(at):
            return False
        return bool(bits_of(info(self._names[at])) & DELETED)


class _Source:
    """A file on its way into a folder.  ``folder`` and ``uid``: where it comes from,
    when it is a message already."""

    __slots__ = ("bits", "folder", "name", "path", "uid", "words")

    def __init__(self, path: bytes, name: str, bits: int, words: frozenset[bytes],
                 folder: Folder | None = None, uid: int = 0) -> None:
        self.path = path
        self.name = name
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


def _read_header(file: FileIO) -> bytes:
    """The pieces of a file up to the one with the first empty line."""
    data = file.read(HEADER_PIECE)
    size = len(data)
    while size and b"\n\n" not in data and b"\n\r\n" not in data:
        size *= 4                      # few copies, however long it is
        more = file.read(size)
        if not more:
            break
        data += more
    return data


def _link_or_copy(source: bytes, target: bytes) -> None:
    try:
        os.link(source, target, follow_symlinks=True)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
            raise
        with open(source, "rb") as file, open(target, "xb") as copy:
            while chunk := file.read(1 << 20):
                copy.write(chunk)
            copy.flush()
            os.fsync(copy.fileno())
        found = os.stat(source)
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


def _same(one: Snapshot, two: Snapshot) -> bool:
    return (one.uidvalidity == two.uidvalidity and one.uids == two.uids and one.flags == two.flags
            and one.keywords == two.keywords and one.uidnext == two.uidnext)


def _with_recent(old: Snapshot, recent: frozenset[int]) -> Snapshot:
    return Snapshot(old.uidvalidity, old.uidnext, old.uids, old.flags, old.keywords, recent)


__all__ = ["DiskTrouble", "Draft", "Folder", "Status"]
