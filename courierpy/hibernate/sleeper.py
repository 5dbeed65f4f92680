"""An IDLE that lasts gives its client to the keeper, and its process ends; another one goes on.

What a session knows becomes a record (``pack``, ``unpack``) and a session again
(``restore``).  It is read by a process that is the user already, and is taken for
what any user might have written: lengths and limits, no code.  Awake stays who has
TLS, a pipe, a record of the dialogue, half a line of input or no watch.
"""
from __future__ import annotations

import array
import os
import socket
import struct
from itertools import chain

from courierpy.hibernate import protocol
from courierpy.imap import ext, updates
from courierpy.imap.session import Selected
from courierpy.maildir.errors import StoreError
from courierpy.model.messages import NO_MESSAGES, Messages, Snapshot
from courierpy.model.uidset import NO_UIDS, UidSet
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from courierpy.hibernate.woken import Woken
    from courierpy.imap.session import Session

MAGIC = b"courierpy 5\n"       # another version of what is known gets another one
LIMIT = 64 * 1024 * 1024       # octets of a record
ANSWER = 1.0                   # seconds that the keeper has to answer
HAND_OVER = 5.0                # seconds to hand over what the session knows
PATIENCE = 60.0                # seconds until the listener has said whose the client is
_NUMBERS = struct.Struct("!dQQQQBB")
_FOLDER = struct.Struct("!IQ")
_LENGTH = struct.Struct("!I")
_RUN = struct.Struct("!II")
_SELECTED, _READONLY = 1, 2


class Damaged(Exception):
    """A record that no session wrote."""


class Known:
    """What a session knows, apart from its folder's content.  ``started``: on the monotonic
    clock.  ``messages``, ``told_recent`` are the view's, ``recent``, ``saved`` and ``words`` those of
    Selected (its ``keywords``); ``kept``: what extensions keep; ``name`` is None when no mailbox is
    selected."""

    __slots__ = ("body", "cwd", "enabled", "environ", "errors", "headers", "kept", "messages", "name", "path",
                 "rcvd", "readonly", "recent", "saved", "sent", "started", "tag", "told_recent", "uidnext",
                 "uidvalidity", "words")

    def __init__(self) -> None:
        self.started = 0.0
        self.rcvd = self.sent = self.headers = self.body = self.errors = 0
        self.tag = b""
        self.cwd = b"/"
        self.environ: dict[str, str] = {}
        self.enabled: set[bytes] = set()
        self.kept: dict[bytes, bytes] = {}
        self.name: str | None = None
        self.path = ""
        self.readonly = False
        self.uidvalidity = self.uidnext = 0
        self.messages = NO_MESSAGES
        self.words: list[bytes] = []
        self.told_recent = NO_UIDS
        self.recent = NO_UIDS
        self.saved = NO_UIDS

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Known) and all(getattr(self, name) == getattr(other, name)
                                                for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]


# -- a record

def pack(known: Known) -> bytes:
    import zlib
    bits = (known.name is not None) * _SELECTED | known.readonly * _READONLY
    parts = [known.tag, known.cwd, _strings(f"{name}={value}" for name, value in known.environ.items()),
             _list(sorted(known.enabled)), _list(chain.from_iterable(sorted(known.kept.items())))]
    numbers = _NUMBERS.pack(known.started, known.rcvd, known.sent, known.headers, known.body, known.errors,
                            bits)
    if known.name is not None:
        parts += [_FOLDER.pack(known.uidvalidity, known.uidnext),
                  known.name.encode("utf-8", "surrogateescape"), os.fsencode(known.path),
                  known.messages.pack(), _list(known.words),
                  _runs(known.told_recent.runs), _runs(known.recent.runs), _runs(known.saved.runs)]
    return MAGIC + zlib.compress(numbers + _list(parts), 1)


def unpack(record: bytes) -> Known:
    """Raises Damaged."""
    import zlib
    if not record.startswith(MAGIC):
        raise Damaged("of another version")
    unzip = zlib.decompressobj()
    try:
        data = unzip.decompress(record[len(MAGIC):], LIMIT)
        if unzip.unconsumed_tail or not unzip.eof or unzip.unused_data:
            raise Damaged("too long, or not whole")
        return _unpack(data)
    except (zlib.error, struct.error, UnicodeError, ValueError, IndexError) as error:
        raise Damaged(str(error)) from None


def _unpack(data: bytes) -> Known:
    known = Known()
    (known.started, known.rcvd, known.sent, known.headers, known.body, known.errors,
     bits) = _NUMBERS.unpack_from(data)
    parts = _parts(data[_NUMBERS.size:])
    if len(parts) != (13 if bits & _SELECTED else 5) or bits > 3:
        raise ValueError("parts")
    known.tag, known.cwd = parts[:2]
    if not known.tag or not known.tag.isascii() or len(known.tag.split()) != 1 or b"\0" in known.cwd:
        raise ValueError("tag")
    for pair in _parts(parts[2]):
        name, equals, value = pair.decode("utf-8", "surrogateescape").partition("=")
        if not name or not equals or b"\0" in pair:
            raise ValueError("environment")
        known.environ[name] = value
    known.enabled = set(_parts(parts[3]))
    pairs = _parts(parts[4])
    known.kept = dict(zip(pairs[::2], pairs[1::2], strict=True))
    known.readonly = bool(bits & _READONLY)
    if bits & _SELECTED:
        known.uidvalidity, known.uidnext = _FOLDER.unpack(parts[5])
        known.name = parts[6].decode("utf-8", "surrogateescape")
        known.path = os.fsdecode(parts[7])
        known.messages = Messages.unpack(parts[8])
        if not known.path or "\0" in known.path:
            raise ValueError("path")
        known.words = _parts(parts[9])
        known.told_recent, known.recent, known.saved = [UidSet(_pairs(part)) for part in parts[10:]]
        if known.told_recent.within(known.messages.uids) != known.told_recent \
                or not set(known.messages.keywords).issubset(known.messages.uids):
            raise ValueError("UIDs")
    return known


def _list(parts: Iterable[bytes]) -> bytes:
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def _strings(parts: Iterable[str]) -> bytes:
    return _list(part.encode("utf-8", "surrogateescape") for part in parts)


def _parts(data: bytes) -> list[bytes]:
    found = []
    at = 0
    while at < len(data):
        length, = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if at + length > len(data):
            raise ValueError("a part is cut")
        found.append(data[at:at + length])
        at += length
    return found


def _runs(pairs: Iterable[tuple[int, int]]) -> bytes:
    return b"".join([_RUN.pack(first, last) for first, last in pairs])


def _pairs(data: bytes) -> list[tuple[int, int]]:
    """(first, last) of the runs, which ascend and have gaps between them."""
    found = []
    least = 1
    for first, last in _RUN.iter_unpack(data):
        if first < least or last < first:
            raise ValueError("UIDs")
        found.append((first, last))
        least = last + 2
    return found


# -- a session

def know(session: Session, tag: bytes, started: float) -> Known:
    """What this session knows now."""
    known = Known()
    known.started, known.tag, known.cwd = started, tag, os.getcwdb()
    known.environ = {name: value for name, value in session.settings.values.items()
                     if name != "COURIERPY_KEEPER"}
    known.rcvd, known.sent = session.conn.rcvd, session.conn.sent
    known.headers, known.body, known.errors = session.headers, session.body, session.errors
    known.enabled, known.kept = session.enabled, session.kept
    selected = session.selected
    if selected is not None:
        known.name, known.path = selected.folder.name, selected.folder.path
        known.readonly, known.words, known.recent = selected.readonly, selected.keywords, selected.recent
        known.saved = selected.saved
        known.uidvalidity, known.uidnext = selected.snapshot.uidvalidity, selected.snapshot.uidnext
        view = selected.view
        known.messages, known.told_recent = view.messages, view.recent
    return known


def restore(session: Session, known: Known) -> None:
    """A new session becomes the one that slept.  What happened meanwhile is told by its next look."""
    session.headers, session.body, session.errors = known.headers, known.body, known.errors
    session.enabled, session.kept = known.enabled, known.kept
    if known.name is not None:
        _select(session, known)
    for key, value in [*known.kept.items()]:
        take = ext.find("kept", key)
        if take is not None:
            take(session, value)


def _select(session: Session, known: Known) -> None:
    assert known.name is not None
    # not opened as for SELECT: what is missing of it is not made again
    folder = session.folders.mailbox(known.name, known.path)
    folder.join()
    if known.messages.modseqs is not None:
        folder.number_changes()
    snapshot = Snapshot(known.uidvalidity, known.uidnext, known.messages, known.told_recent)
    selected = session.selected = Selected(folder, snapshot, known.readonly, manners=session.manners)
    selected.keywords, selected.recent, selected.saved = known.words, known.recent, known.saved


class Sleeper:
    """The way of a session to its sleep.  ``after``: seconds of IDLE.  ``note``: who it is, for
    the log.  ``woken``: how it came to be, until it stays()."""

    def __init__(self, session: Session, door: int, after: int, started: float, note: str,
                 woken: Woken | None = None) -> None:
        self.session = session
        self.door = door
        self.after = after
        self.started = started
        self.note = note
        self.woken = woken

    def sleep(self, tag: bytes, due: float, every: int) -> None:
        """Ends the process, or returns because the session has to stay awake.

        ``due``: when the client wants a word next, and ``every`` how many seconds then.
        """
        if not self._may():
            return
        ours, theirs = socket.socketpair()
        with ours:
            try:
                self._offer(theirs)
                theirs.close()
                ours.settimeout(ANSWER)
                if ours.recv(1) != protocol.KEPT or not self._still():
                    return
                record = pack(know(self.session, tag, self.started))
                note = f"{self.note}, headers={self.session.headers}, body={self.session.body}, " \
                       f"rcvd={self.session.conn.rcvd}".encode("utf-8", "backslashreplace")
                head = protocol.RECORD.pack(due, every, self.session.conn.sent, self.started, len(note),
                                          len(record))
                ours.settimeout(HAND_OVER)
                if len(head) + len(note) + len(record) > protocol.MAX_KNOWN or self.session.stopping:
                    return
                ours.sendall(head + note + record)
                if not self._good(ours):
                    return
            except (OSError, StoreError) as error:
                log.debug(f"stays awake: {error}")
                return
            finally:
                theirs.close()
            self._end()

    def stays(self) -> None:
        """The process goes on."""
        if self.woken is not None:
            self.woken.let_go()
            self.woken = None

    def _may(self) -> bool:
        """Is there nothing that a record cannot hold?"""
        session, conn, selected = self.session, self.session.conn, self.session.selected
        conn.flush()
        rest = session.framer.rest()
        session.framer.feed(rest)
        if selected is not None and (selected.behind or selected.folder.read_only):
            return False
        return not (rest or not conn.plain or conn.record >= 0 or session.stopping or conn.ready())

    def _offer(self, channel: socket.socket) -> None:
        """OSError when the keeper has too much to do, or cannot be reached."""
        selected = self.session.selected
        kinds, fds = b"", [self.session.conn.infd, channel.fileno()]
        try:
            if selected is not None:
                place, keywords = selected.folder.place, selected.folder.keywords.files
                for kind, path in ((protocol.ROOT, place.path), (protocol.NEW, place.new),
                                   (protocol.CUR, place.cur), (protocol.KEYWORDS, keywords.path)):
                    try:
                        fds.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
                    except FileNotFoundError:
                        if kind != protocol.KEYWORDS:
                            raise
                        continue
                    kinds += kind
            door = socket.socket(fileno=self.door)
            try:
                door.sendmsg([b"o" + kinds], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))],
                             socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            finally:
                door.detach()
        finally:
            for fd in fds[2:]:
                os.close(fd)

    def _still(self) -> bool:
        """The last look, now that the keeper has its watch.  Raises StoreError."""
        session = self.session
        updates.tell(session, expunges=True, flags_of_new=True)
        session.conn.flush()
        return not session.conn.ready()

    @staticmethod
    def _good(channel: socket.socket) -> bool:
        """Is the client somebody else's now?  As long as nobody says so, or hangs up, it may be."""
        channel.settimeout(PATIENCE)
        try:
            return channel.recv(1) == protocol.GOOD
        except TimeoutError:
            os._exit(0)
        except ConnectionError:
            return False

    def _end(self) -> None:
        """Nothing may touch the client any more."""
        try:
            if self.session.selected is not None:
                self.session.selected.folder.close()
            self.session.folders.save()
        finally:
            os._exit(0)


def settings_of(known: Known, door: str) -> Mapping[str, str]:
    """The environment that the session had, with today's way to the keeper."""
    return {**known.environ, "COURIERPY_KEEPER": door} if door else known.environ
