"""One client inside its Maildir: view, account, output, and what a command is to the session.

A command is looked up in the table and done; then the client hears what changed meanwhile, and
the dialogue answers.
"""
from __future__ import annotations

from time import monotonic

from courierpy.imap import capability, commands, ext, shortage, updates
from courierpy.imap.commands import CHANGES, LEAVES_FOLDER, NUMBERS, READS, SELECTED, USES_SEQ, WRITES, Done
from courierpy.imap.dialogue import Dialogue
from courierpy.imap.grammar import lines, out
from courierpy.imap.grammar.args import Args
from courierpy.imap.grammar.framer import Frame, Framer, LiteralAhead
from courierpy.imap.manners import Manners
from courierpy.imap.refusals import refused
from courierpy.maildir import errors as store
from courierpy.model.replies import Bad, Bye, No, UidRequired
from courierpy.model.uidset import UidSet
from courierpy.system import log, pulse
from courierpy.system.conn import Gone, TimedOut
from courierpy.system.memory import is_short

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from courierpy.imap.grammar.framer import Sink
    from courierpy.imap.selected import Selected
    from courierpy.imap.updates import Update
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.maildir.store import Store
    from courierpy.message.message import Content
    from courierpy.message.mime import Limits
    from courierpy.system.conn import Conn
    from courierpy.system.settings import Settings

    class Woke(Protocol):
        """How a session came out of its sleep: see hibernate/woken.py."""

        due: float
        words: int

    class Sleep(Protocol):
        """The way of a session to its sleep: see hibernate/sleeper.py."""

        after: int

        @property
        def woken(self) -> Woke | None: ...

        def sleep(self, tag: bytes, due: float, every: int) -> None: ...

        def stays(self) -> None: ...

    class Between(Protocol):
        """What the client asked to hear of by itself: see imap/notifier.py."""

        def listens(self) -> tuple[set[int], float]:
            """(descriptors that can be read when there may be something to tell, seconds until it looks in
            any case)"""

        def tell(self) -> None:
            """Tell what happened, between two commands."""

        def tell_others(self) -> None:
            """Tell what happened outside the selected mailbox."""

        def chosen(self, said: list[Update]) -> list[Update]:
            """What of these updates of the selected mailbox is told."""

        def told(self, said: Iterable[Update]) -> None:
            """These were told."""

        def did(self, row: commands.Row) -> None:
            """A command of the client is done."""

        def close(self) -> None:
            """Hear no more."""

REST = 1.0                     # seconds without a command after which memory is given back
MAX_LITERAL = 64 * 1024        # of commands that do not store messages
LITERAL_MINUS = 4096           # RFC 7888 5

class Session(Dialogue):
    """``enabled``: tokens of ENABLE.  ``only_reads``: it may change nothing.  ``message_limit``,
    ``save_limit``: messages that one command works on, or saves, 0 for any.
    ``literal_octets``: of all literals of a command that are no messages.  ``headers``/``body``:
    octets of message headers and bodies sent, for the log.  ``untold``: tokens of CAPABILITY that are
    not told any more.
    ``kept``: what extensions keep by a key of their own, also while the session has no process.
    ``between``: tells the client what happens between its commands, None where it did not ask for that.
    ``sleeper``: how the process may end while the client idles, None where it may not."""

    def __init__(self, conn: Conn, settings: Settings, folders: Store, user: str,
                 peer: str, port: str) -> None:
        super().__init__(conn, Framer(), log.who(peer, port, user))
        self.conn = conn
        self.settings = settings
        self.folders = folders
        self.selected: Selected | None = None
        self.enabled: set[bytes] = set()
        self._minded: frozenset[bytes] = frozenset()
        self._manners = Manners()
        self.headers = 0
        self.body = 0
        self.keywords_on = settings.number("IMAP_KEYWORDS") != 0
        self.only_reads = settings.flag("IMAP_READONLY")
        self.message_limit = settings.number("IMAP_MESSAGELIMIT")
        self.save_limit = max(self.message_limit, settings.number("IMAP_SAVELIMIT"))
        self.literal_octets = settings.number("IMAP_LITERAL_BYTES")
        self.refuses_8bit = settings.text("IMAP_APPEND_8BIT") == "0"
        told = capability.line(settings, "session", settings.flag("IMAP_TLS"))
        self._literal_minus = b"LITERAL-" in told.split()
        self.untold: set[bytes] = set()
        self.kept: dict[bytes, bytes] = {}
        self.between: Between | None = None
        self.sleeper: Sleep | None = None
        self.stopping = False
        self._tag = b"*"
        self._done = 0
        self.row: commands.Row | None = None       # of the command that is being done
        self._waiting = False
        self._spelled: list[str] = []              # mailbox names of the command that is being done
        self._limits: Limits | None = None

    # -- output

    def write(self, *lines: bytes) -> None:
        """Untagged output, whole lines with their CRLF."""
        for line in lines:
            self.conn.write(line)

    def write_long(self, line: Iterable[Content]) -> None:
        """An untagged line in pieces.  One that is no ``bytes`` is read while it is written:
        as many octets as its len() said, for the literal is announced already.  Where there
        are not as many any more, or others, nothing can be said that the client would not
        take for the rest of the literal: the connection ends, and the log says why.  Where memory
        ends before anything of the line is on its way, there is no such line."""
        conn = self.conn
        mark = conn.mark()
        conn.midway = True
        try:
            _write_pieces(conn, line)
        except MemoryError:
            conn.midway = not conn.take_back(mark)
            raise
        conn.midway = False

    def entered(self, folder: Mailbox, uids: Iterable[int]) -> None:
        """The client's own command has put these into a mailbox."""
        if self.selected is not None and folder is self.selected.folder:
            self.selected.entered |= UidSet.of(sorted(uids))

    def need_selected(self) -> Selected:
        if self.selected is None:
            raise Bad("No mailbox is selected.")
        return self.selected

    def capabilities(self) -> list[bytes]:
        """What CAPABILITY tells now."""
        settings = self.settings
        words = capability.line(settings, capability.stage_of(settings), settings.flag("IMAP_TLS")).split()
        return [word for word in words if word not in self.untold]

    @property
    def separator(self) -> str:
        """What stands between the levels of a mailbox name."""
        return self.folders.layout.separator

    @property
    def manners(self) -> Manners:
        """How the client is spoken to, by what it enabled."""
        if self._minded != self.enabled:
            self._minded = frozenset(self.enabled)
            self._manners = Manners.of(self._minded)
            if self.selected is not None:
                self.selected.mind(self._manners)
        return self._manners

    @property
    def utf8(self) -> bool:
        """Are mailbox names and strings UTF-8?"""
        return self.manners.utf8

    @property
    def limits(self) -> Limits:
        """How far into a message is looked."""
        if self._limits is None:
            from courierpy.message.mime import Limits
            self._limits = Limits.of(self.settings)
        return self._limits

    # -- ending

    def stop(self) -> None:
        """From a signal handler: end at the next moment between two commands."""
        self.stopping = True
        if self._waiting:
            raise Bye(lines.SHUT_DOWN)

    def read(self, timeout: float) -> bytes:
        """Input of the client; b"" at its end.  Raises Bye when told to stop."""
        self.conn.flush()
        self._waiting = True
        try:
            if self.stopping:
                raise Bye(lines.SHUT_DOWN)
            if self.between is not None and timeout > 0 and not self.framer.midway:
                return self._listen(self.between, timeout)
            if self.selected is not None and self.selected.folder.busy and timeout > REST:
                try:
                    return self.conn.read(REST)
                except TimedOut:
                    self.selected.folder.rest()
                    timeout -= REST
            return self.conn.read(timeout)
        finally:
            self._waiting = False

    def _listen(self, between: Between, timeout: float) -> bytes:
        """Input of the client; until that comes it is told what happens."""
        end = monotonic() + timeout
        self.row = None
        while True:
            self._waiting = False      # a line is told whole
            between.tell()
            fds, pause = between.listens()
            left = end - monotonic()
            if left <= 0:
                raise TimedOut
            if self.selected is not None and self.selected.folder.busy:
                pause = min(pause, REST)
            ready = self.wait(tuple(fds), min(left, pause))
            if self.conn.infd in ready:
                try:
                    return self.conn.read(0)
                except TimedOut:       # a TLS record that is not whole yet
                    continue
            if not ready and self.selected is not None:
                self.selected.folder.rest()

    def wait(self, others: tuple[int, ...], timeout: float) -> set[int]:
        """As Conn.wait; Bye when told to stop."""
        self.conn.flush()
        self._waiting = True
        try:
            if self.stopping:
                raise Bye(lines.SHUT_DOWN)
            return self.conn.wait(others, timeout)
        finally:
            self._waiting = False

    # -- commands

    def next_frame(self) -> Frame:
        """The next whole command.  Raises Gone at the end of input, TimedOut, or Bye when told to stop."""
        steps = self.framing()
        try:
            wanted = next(steps)
            while True:
                wanted = steps.send(self.read(wanted.seconds))
        except StopIteration as found:
            frame: Frame = found.value
            return frame

    def do(self, frame: Frame) -> None:
        """Do one command and answer it."""
        for _ in self.doing(frame):
            raise RuntimeError("a command of a session waits by itself")

    def serve(self, frame: Frame | None = None) -> None:
        """Until LOGOUT (returns), end of input (Gone) or Bye.  ``frame``: a command that is
        gone on with."""
        try:
            while not self.ended:
                self.do(frame or self.next_frame())
                frame = None
            self.conn.flush()
        finally:
            self.folders.save()
            self._leave_nothing()

    def _leave_nothing(self) -> None:
        """The process may serve another client: what this one chose is over."""
        pulse.hear(None)
        if self.between is not None:
            self.between.close()
            self.between = None
        for key in [*self.kept]:
            take = ext.find("kept", key)
            if take is not None:
                take(self, b"")

    def parse(self, frame: Frame) -> Args:
        manners = self.manners
        normal = manners.normal
        namespaces = self.folders.namespaces
        args = Args(frame, manners.utf8, self.separator, manners.charsets,
                    normal and (lambda name: normal(self, name)),
                    namespaces.canonical if namespaces.alias is not None else None)
        self._spelled = args.spelled
        return args

    def append_limit(self, name: str) -> int:
        """Octets that a message for this mailbox may have, 0 for any number.  RFC 7889."""
        found = self.folders.namespaces.find(name)
        path = found[1] if found is not None else name
        return self.settings.of_word("IMAP_APPENDLIMIT", path or name)

    @property
    def by_alias(self) -> bool:
        """Does the command that is done name mailboxes by the second of their names?"""
        return any(map(self.folders.namespaces.of_alias, self._spelled))

    def mailbox(self, name: str) -> bytes:
        """The name of a mailbox, of which the command is, as the client calls it."""
        return out.mailbox(self.folders.namespaces.aliased(name) if self.by_alias else name, self.utf8)

    def place(self, ahead: LiteralAhead) -> Sink | None:
        words = ahead.text.split(None, 3)
        name = words[1].upper() if len(words) > 1 else b""
        row = commands.find(name if name != b"UID" else b" ".join([name, *words[2:3]]).upper())
        sink = None
        if not ahead.sync and ahead.size > LITERAL_MINUS and self._literal_minus:
            raise Bad("Non-synchronizing literals may have 4096 octets here.", b"TOOBIG")
        if row is not None and row.spool is not None:
            self._may(row)
            try:
                sink = row.spool(self, ahead)
            except store.StoreError as error:
                raise refused(error) from None
        elif ahead.size > MAX_LITERAL:
            raise Bad("Literal too long.", b"TOOBIG")
        if sink is None and ahead.size + sum([literal.size for literal in ahead.frame.literals
                                              if literal.sink is None]) > self.literal_octets:
            raise No(f"The literals of a command may have {self.literal_octets} octets here.", b"LIMIT")
        return sink

    def perform(self, args: Args) -> Done:
        row = self.row = commands.find(args.command)
        self._tag, self._done = args.tag, 0
        pulse.hear(self._still_working)
        if row is None:
            raise Bad("Error in IMAP command received by server.")
        try:
            self._may(row)
            done = row.handler(self, args)
        except No:
            self._sync(row)
            raise
        except store.StoreError as error:
            if is_short(error):
                raise
            self._sync(row)
            raise refused(error) from None
        if isinstance(done, str):
            done = Done(done)
        if row.name == b"LOGOUT":
            self.ended = True
        else:
            self._sync(row, done.uses_seq)
            self.tell_news()
            if self.between is not None:
                self.between.did(row)
        return done

    def _still_working(self, done: int, goal: int) -> None:
        """Tells the client that its command takes long, where a line may be told."""
        if self.conn.midway:
            return
        far = done if done >= self._done else -1           # another part of the command: of what, who knows
        self._done = max(done, self._done)
        for word in ext.keys("on_pulse"):
            tell = ext.find("on_pulse", word)
            if tell is not None:
                self.write(tell(self, self._tag, far, goal))
        self.conn.flush()

    def short(self) -> No:
        shortage.recover(self, self.row, self._look)
        return super().short()

    def _look(self, row: commands.Row | None) -> None:
        if row is not None:
            self._sync(row)

    def _may(self, row: commands.Row) -> None:
        """Raises Bad in the wrong state, No where the mailbox or the rights on it forbid the command."""
        self._may_change(row)
        selected = self.selected
        if selected is None:
            if row.states == SELECTED:
                raise Bad("No mailbox is selected.")
            return
        if row.flags & NUMBERS and not self.manners.numbered:
            raise UidRequired
        if row.flags & WRITES and selected.readonly:
            raise No("Current box is selected READ-ONLY.")
        if not selected.rights.issuperset(row.rights):
            raise No("Access denied.", b"NOPERM")

    def _may_change(self, row: commands.Row) -> None:
        """Raises No for what changes something, in a session that may not."""
        if self.only_reads and row.flags & (CHANGES | WRITES):
            raise No("This session only reads.", b"NOPERM")

    def _sync(self, row: commands.Row, uses_seq: bool = False) -> None:
        # who was not told all yet may be told by each command how far it was (RFC 7162 3.2)
        if self.selected is None or row.flags & LEAVES_FOLDER \
                or row.flags & READS and self.framer.has_more and not self.selected.behind:
            return
        self.tell(expunges=not (uses_seq or row.flags & USES_SEQ))

    def tell_news(self) -> None:
        """What extensions tell of other things than the selected mailbox, to who enabled that."""
        for token in sorted(self.enabled):
            news = ext.find("news", token)
            if news is not None:
                try:
                    news(self)
                except store.StoreError as error:
                    log.err(str(error))

    def tell(self, *, expunges: bool, flags_of_new: bool = False) -> None:
        """As updates.tell; Bye when the selected mailbox is there no more."""
        try:
            updates.tell(self, expunges=expunges, flags_of_new=flags_of_new)
        except store.FolderMissing:
            raise Bye("The selected mailbox was deleted.", b"NONEXISTENT") from None
        except store.Renumbered:
            raise Bye("The mailbox was renumbered, please open it again.", b"UNAVAILABLE") from None
        except store.StoreError as error:
            # the command itself is done: say that the look failed, keep the session
            log.err(str(error))


def _write_pieces(conn: Conn, line: Iterable[Content]) -> None:
    """Raises Gone where a piece is not what it said."""
    for piece in line:
        if isinstance(piece, bytes):
            conn.write(piece)
            continue
        left = len(piece)
        why = "its file was changed"
        try:
            for octets in piece:
                left -= len(octets)
                if left < 0:
                    break
                conn.write(octets if hasattr(piece, "octets8") else out.char8(octets))
        except store.StoreError as error:
            why = str(error)
            left = left or -1
        if left:
            log.err(f"disconnected in the middle of a message: {why}")
            raise Gone
