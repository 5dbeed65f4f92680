"""An IDLE that lasts gives its client to the keeper, and its session ends; another process goes on.

Between two commands a session sleeps whose client hears of changes by itself (NOTIFY), and one whose client
says nothing for long: that one is told nothing, needs no watch, and looks when its client says something.
What a session knows becomes a record (record.py), and a session again (``restore``).  Awake stays who has
TLS, a pipe, a record of the dialogue, half a line of input or, where it hears of changes, no watch.
"""
from __future__ import annotations

import array
import os
import socket

from courierpy.hibernate import protocol
from courierpy.hibernate.record import Known, pack
from courierpy.imap import ext, updates
from courierpy.imap.selected import Selected
from courierpy.maildir.errors import StoreError
from courierpy.model.messages import Snapshot
from courierpy.model.numbers import decimal
from courierpy.model.replies import Slept
from courierpy.system import inotify, log, passing, wayback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from courierpy.hibernate.woken import Woken
    from courierpy.imap.session import Session

DESCRIPTORS = ("COURIERPY_KEEPER", wayback.VARIABLE)       # variables that another process has of its own
ANSWER = 1.0                   # seconds that the keeper has to answer
HAND_OVER = 5.0                # seconds to hand over what the session knows
RIGHTS = b"MYRIGHTS"           # of what is kept: letters, where somebody else may change them
TOLD = b"HIGHESTMODSEQ"        # of what is kept: the number up to which the client knows all
PATIENCE = 60.0                # seconds until the listener has said whose the client is


class Awake(Exception):
    """No other process can go on with the client at this moment."""


def know(session: Session, tag: bytes, started: float) -> Known:
    """What this session knows now.  Raises Awake."""
    known = Known()
    layers = session.conn.kept()
    if layers is None:
        raise Awake
    known.layers = layers
    known.started, known.tag, known.cwd = started, tag, os.getcwdb()
    known.environ = {name: value for name, value in session.settings.values.items()
                     if name not in DESCRIPTORS}
    known.rcvd, known.sent = session.conn.rcvd, session.conn.sent
    known.headers, known.body, known.errors = session.headers, session.body, session.errors
    known.enabled, known.kept, known.untold = {*session.enabled}, session.kept, session.untold
    if session.between is not None:
        known.objects.append(session.between.packed())
    selected = session.selected
    if selected is not None:
        known.objects += [follower.packed() for follower in selected.followers]
        known.name, known.path = selected.folder.name, selected.folder.path
        known.readonly, known.words, known.recent = selected.readonly, selected.keywords, selected.recent
        known.saved = selected.saved
        known.uidvalidity, known.uidnext = selected.snapshot.uidvalidity, selected.snapshot.uidnext
        if selected.listed:            # as the client was told them
            known.kept = {**known.kept, RIGHTS: "".join(sorted(selected.rights)).encode()}
        modseqs = selected.folder.modseqs
        if modseqs is not None and modseqs.told:
            known.kept = {**known.kept, TOLD: b"%d" % modseqs.told}
        view = selected.view
        known.messages, known.told_recent = view.messages, view.recent
    return known


def restore(session: Session, known: Known) -> None:
    """A new session, whose client is spoken to as before, becomes the one that slept.  What happened
    meanwhile is told by its next look.  Raises ValueError for what no session knew."""
    session.headers, session.body, session.errors = known.headers, known.body, known.errors
    told, highest = known.kept.pop(RIGHTS, None), known.kept.pop(TOLD, b"")
    session.kept, session.untold = known.kept, known.untold
    session.enabled.add(*known.enabled)
    if known.name is not None:
        _select(session, known, told, decimal(highest) or 0)
    for key, value in [*known.kept.items()]:
        take = ext.find("kept", key)
        if take is not None:
            take(session, value)
    for key, octets in known.objects:
        make = ext.find("woken", key)
        if make is not None:
            make(session, octets)


def _select(session: Session, known: Known, told: bytes | None, highest: int) -> None:
    """``told``: the rights that the client was told of, None where nobody else gives them.  ``highest``: as
    Modseqs.told."""
    assert known.name is not None
    # not opened as for SELECT: what is missing of it is not made again
    folders = session.folders
    folder = folders.mailbox(known.name, known.path)
    folder.join()
    if known.messages.modseqs is not None:
        folder.number_changes().told = highest
    snapshot = Snapshot(known.uidvalidity, known.uidnext, known.messages, known.told_recent)
    # what they are now is told by its next look, or ends it
    rights = folders.rights(known.name) if told is None else frozenset(told.decode("ascii"))
    selected = session.selected = Selected(folder, snapshot, known.readonly, rights, session.manners,
                                           told is not None or folders.listed(known.name))
    selected.keywords, selected.recent, selected.saved = known.words, known.recent, known.saved
    selected.stale = not known.tag     # an IDLE looks first of all


class Sleeper:
    """The way of a session to its sleep.  ``after``: seconds of IDLE; ``quiet``: seconds without a command, 0
    for any time.  ``note``: who it is, for the log.  ``woken``: how it came to be, until it stays()."""

    def __init__(self, session: Session, door: int, after: int, quiet: int, started: float, note: str,
                 woken: Woken | None = None) -> None:
        self.session = session
        self.door = door
        self.after = after
        self.quiet = quiet
        self.started = started
        self.note = note
        self.woken = woken

    def sleep(self, tag: bytes, due: float, every: int, expunges: bool = True,
              hears: bool = True) -> None:
        """Raises Slept, or returns because the session has to stay awake.

        ``tag``: of its IDLE, b"" between two commands.  ``due``: when the client wants a word next, and
        ``every`` how many seconds then, 0: its time is over.  ``expunges``: what went may be told.
        ``hears``: the client is told of changes, now and when they happen.
        """
        if not self._may():
            return
        ours, theirs = socket.socketpair()
        with ours:
            try:
                self._offer(theirs, hears)
                theirs.close()
                ours.settimeout(ANSWER)
                if ours.recv(1) != protocol.KEPT:
                    return
                if not (self._still(expunges) if hears else self._may()):
                    return
                record = self._record(tag)
                note = f"{self.note}, headers={self.session.headers}, body={self.session.body}, " \
                       f"rcvd={self.session.conn.rcvd}".encode("utf-8", "backslashreplace")
                head = protocol.RECORD.pack(due, every, self.session.conn.sent, self.started, len(note),
                                            len(record), not self.session.conn.plain)
                ours.settimeout(HAND_OVER)
                if len(head) + len(note) + len(record) > protocol.MAX_KNOWN or self.session.waiting.stopping:
                    return
                self.session.waiting.is_on(sleeps=True)    # from here on another process may say how it is
                ours.sendall(head + note + record)
                if not self._good(ours):
                    return
            except (OSError, StoreError, Awake) as error:
                log.debug(f"stays awake: {error}")
                return
            finally:
                theirs.close()
            self._end()

    def _record(self, tag: bytes) -> bytes:
        """Of what the session knows.  Raises Awake, also where there is no memory for it: the session does
        without, as long as nobody asks for more."""
        try:
            return pack(know(self.session, tag, self.started))
        except MemoryError:
            raise Awake("no memory for a record") from None

    def stays(self) -> None:
        """The process goes on."""
        if self.woken is not None:
            self.woken.let_go()
            self.woken = None

    def _may(self) -> bool:
        """Is there a way, and nothing that a record cannot hold?"""
        if self.door < 0:
            return False
        session, conn, selected = self.session, self.session.conn, self.session.selected
        conn.flush()
        rest = session.framer.rest()
        session.framer.feed(rest)
        if session.between is not None and session.between.ear() is None \
                or selected is not None and not _as_told(selected):
            return False
        return not (rest or conn.kept() is None or conn.record is not None or session.waiting.stopping
                    or conn.ready())

    def _offer(self, channel: socket.socket, hears: bool) -> None:
        """OSError when the keeper has too much to do, or cannot be reached."""
        selected = self.session.selected if hears else None
        kinds, fds = b"", [self.session.conn.infd, channel.fileno()]
        try:
            if selected is not None:
                place, keywords = selected.folder.place, selected.folder.keywords.files
                heard = [(protocol.ROOT, place.path), (protocol.NEW, place.new),
                         (protocol.CUR, place.cur), (protocol.KEYWORDS, keywords.path)]
                if place.mirror is not None:
                    # what comes to new/ is a link of ours; the first watch is for the last to be there
                    heard = [heard[3 if os.path.isdir(keywords.path) else 0], heard[2],
                             *[(protocol.CUR, path) for path in place.mirror.directories]]
                for kind, path in heard:
                    try:
                        fds.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
                    except FileNotFoundError:
                        if kind != protocol.KEYWORDS:
                            raise
                        continue
                    kinds += kind
            ear = self.session.between.ear() if self.session.between is not None else -1
            if ear is not None and ear >= 0:
                fds.append(os.dup(ear))
                kinds += protocol.EAR
            door = socket.socket(fileno=self.door)
            try:
                door.sendmsg([b"o" + kinds], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))],
                             passing.SENDING)
            finally:
                door.detach()
        finally:
            for fd in fds[2:]:
                os.close(fd)

    def _still(self, expunges: bool) -> bool:
        """The last look, now that the keeper has its watch.  Raises StoreError."""
        session = self.session
        updates.tell(session, expunges=expunges, flags_of_new=True)
        if session.between is not None:
            session.between.tell_others()
        session.conn.flush()
        return not session.conn.ready() and (session.selected is None or _as_told(session.selected))

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

    def _end(self) -> NoReturn:
        """Nothing may touch the client any more.  Raises Slept."""
        session = self.session
        try:
            session.conn.let_go()
        except (OSError, MemoryError):
            os._exit(0)                # its place here cannot be taken by anything
        inotify.drop()                 # its watches are not ours to end: others may hear by them
        session.between = None
        try:
            if session.selected is not None:
                session.selected.folder.close()
        except (OSError, StoreError, MemoryError) as error:
            log.debug(f"what was learned is not saved: {error}")
        session.waiting.told()
        raise Slept


def _as_told(selected: Selected) -> bool:
    """Would another process see the messages that the client knows, by the same numbers?"""
    try:
        if not selected.folder.numbered:
            return False
    except StoreError as error:
        log.debug(f"stays awake: {error}")
        return False
    return not selected.behind or not selected.snapshot.messages.changed_since(selected.view.messages).gone


def settings_of(known: Known, today: Mapping[str, str]) -> Mapping[str, str]:
    """The environment that the session had, with today's ways to the keeper and to its login."""
    return {**known.environ, **{name: today[name] for name in DESCRIPTORS if today.get(name)}}
