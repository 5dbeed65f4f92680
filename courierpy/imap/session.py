"""One client inside its Maildir: view, account, output, and what a command is to the session.

A command is looked up in the table and done; then the client hears what changed meanwhile, and
the dialogue answers.
"""
from __future__ import annotations

from functools import partial

from courierpy.imap import again, capability, commands, ext, metered, permitted, shortage, updates
from courierpy.imap.commands import LEAVES_FOLDER, READS, SELECTED, USES_SEQ, Done
from courierpy.imap.dialogue import READ_TIMEOUT, Dialogue
from courierpy.imap.grammar import out
from courierpy.imap.grammar.args import Args
from courierpy.imap.grammar.framer import Frame, Framer, LiteralAhead
from courierpy.imap.manners import Enabled
from courierpy.imap.progress import Progress
from courierpy.imap.refusals import elsewhere, refused
from courierpy.imap.waiting import Waiting
from courierpy.maildir import errors as store
from courierpy.model.replies import Bad, Bye, No
from courierpy.model.uidset import UidSet
from courierpy.system import concluded, log, metrics, pulse, title, wayback
from courierpy.system.conn import Gone
from courierpy.system.memory import is_short

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from courierpy.imap.grammar.framer import Sink
    from courierpy.imap.manners import Manners
    from courierpy.imap.selected import Selected
    from courierpy.imap.waiting import Between, Sleep
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.maildir.store import Store
    from courierpy.message.message import Content
    from courierpy.message.mime import Limits
    from courierpy.system.conn import Conn
    from courierpy.system.settings import Settings

MAX_LITERAL = 64 * 1024        # of commands that do not store messages
LITERAL_MINUS = 4096           # RFC 7888 5


class Rules:
    """What the settings say of all sessions.  ``keywords_on``: are there keywords?  ``only_reads``: nothing
    may be changed.  ``refuses_8bit``: APPEND takes no 8 bits.  ``literal_minus``: is LITERAL- told?
    ``message_limit``, ``save_limit``: messages that one command works on, or saves, 0 for any.
    ``literal_octets``: of all literals of a command that are no messages."""

    __slots__ = ("keywords_on", "literal_minus", "literal_octets", "message_limit", "only_reads",
                 "refuses_8bit", "save_limit")

    def __init__(self, settings: Settings) -> None:
        self.keywords_on = settings.number("IMAP_KEYWORDS") != 0
        self.only_reads = settings.flag("IMAP_READONLY")
        self.refuses_8bit = settings.text("IMAP_APPEND_8BIT") == "0"
        told = capability.line(settings, "session", settings.flag("IMAP_TLS"))
        self.literal_minus = b"LITERAL-" in told.split()
        self.message_limit = settings.number("IMAP_MESSAGELIMIT")
        self.save_limit = max(self.message_limit, settings.number("IMAP_SAVELIMIT"))
        self.literal_octets = settings.number("IMAP_LITERAL_BYTES")


class Session(Dialogue):
    """What a command may ask of its session, and the little that it may do to it: hence the many methods,
    a third of which only give a value.

    ``enabled``: by ENABLE, or by what else does it.  ``manners``: how the client is spoken to, by that.
    ``rules``: what is the same for all sessions.
    ``headers``/``body``: octets of message headers and bodies sent, for the log.  ``untold``: tokens of
    CAPABILITY that are not told any more.
    ``kept``: what extensions keep by a key of their own, also while the session has no process.
    ``between``: tells the client what happens between its commands, None where it did not ask for that.
    ``sleeper``: how the process may end while the client says nothing, None where it may not.
    ``again``: the commands that need not be read again.
    ``has_way_back``: the client may be before its login again; ``goes_back``: it wants to."""

    def __init__(self, conn: Conn, settings: Settings, folders: Store, who: str) -> None:
        super().__init__(conn, Framer(), who)
        self.conn = conn
        self.settings = settings
        self.folders = folders
        self.selected: Selected | None = None
        self.enabled = Enabled(self._mind)
        self._mind(self.enabled.manners)
        self.headers = 0
        self.body = 0
        self.rules = concluded.of(settings, Rules)
        self.untold: set[bytes] = set()
        self.kept: dict[bytes, bytes] = {}
        self.between: Between | None = None
        self.sleeper: Sleep | None = None
        self.has_way_back = settings.text(wayback.VARIABLE) != ""
        self.goes_back = False
        self.waiting = Waiting(self)
        self.row: commands.Row | None = None       # of the command that is being done
        self._progress = Progress(self)
        self._spelled: list[str] = []              # mailbox names of the command that is being done
        self._limits: Limits | None = None

    # -- output

    def write(self, *lines: bytes) -> None:
        """Untagged output, whole lines with their CRLF."""
        self.conn.write_all(lines)

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
        """The selected mailbox.  Raises Bad where there is none."""
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

    def _mind(self, manners: Manners) -> None:
        """The client is spoken to in this way from now on."""
        self.manners = manners
        normal, namespaces = manners.normal, self.folders.namespaces
        self._terms = (manners.utf8, self.separator, manners.charsets,
                       normal and partial(normal, self),
                       namespaces.canonical if namespaces.alias is not None else None)
        # commands that were read by these: where none of them is of this session alone, by others too
        self.again = again.Kept() if self._terms[3] or self._terms[4] \
            else again.of_process(self._terms)
        if self.selected is not None:
            self.selected.mind(manners)

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

    # -- commands

    def next_frame(self) -> Frame:
        """The next whole command.  Raises Gone at the end of input, TimedOut, or Bye when told to stop."""
        if title.show is not None:
            self.show("")
        framer, event = self.framer, None
        if framer.fed and framer.midway:
            self.conn.flush_held()
            event = framer.next()
        elif data := self.waiting.read(READ_TIMEOUT):  # mostly one whole command
            event = framer.whole(data)
        else:
            raise Gone
        if isinstance(event, Frame):
            return event
        steps = self.framing(event)
        try:
            wanted = next(steps)
            while True:
                wanted = steps.send(self.waiting.read(wanted.seconds))
        except StopIteration as found:
            frame: Frame = found.value
            return frame

    def serve(self, frame: Frame | None = None) -> None:
        """Until LOGOUT (returns), end of input (Gone) or Bye.  ``frame``: a command that is
        gone on with."""
        do: Callable[[Frame], object] = self.do
        if metrics.current is not None:
            do = metered.doing(self, metrics.current)
        try:
            while not self.ended:
                do(frame or self.next_frame())
                frame = None
            if self.goes_back:
                self.conn.flush()
            else:
                self.waiting.end()
        finally:
            self.leave()

    def leave(self) -> None:
        """The session ends.  The process may serve another client: what this one chose is over."""
        self.folders.save()
        self.folders.options.end()
        pulse.hear(None)
        if self.between is not None:
            self.between.close()
            self.between = None
        for key in [*self.kept]:
            take = ext.find("kept", key)
            if take is not None:
                take(self, b"")

    def parse(self, frame: Frame) -> Args:
        args = self.again.find(frame) if self.again.commands else None
        if args is None:
            args = Args(frame, *self._terms)
        self._spelled = args.spelled
        return args

    @property
    def by_alias(self) -> bool:
        """Does the command that is done name mailboxes by the second of their names?"""
        namespaces = self.folders.namespaces
        return namespaces.alias is not None and any(map(namespaces.of_alias, self._spelled))

    def mailbox(self, name: str) -> bytes:
        """The name of a mailbox, of which the command is, as the client calls it."""
        namespaces = self.folders.namespaces
        if namespaces.alias is not None and self.by_alias:
            name = namespaces.aliased(name)
        return out.mailbox(name, self.manners.utf8)

    def place(self, ahead: LiteralAhead) -> Sink | None:
        words = ahead.text.split(None, 3)
        name = words[1].upper() if len(words) > 1 else b""
        row = commands.find(name if name != b"UID" else b" ".join([name, *words[2:3]]).upper())
        sink = None
        if not ahead.sync and ahead.size > LITERAL_MINUS and self.rules.literal_minus:
            raise Bad("Non-synchronizing literals may have 4096 octets here.", b"TOOBIG")
        if row is not None and row.spool is not None:
            self._spelled = []         # those of the command before
            try:
                self._prepare(row)
                sink = row.spool(self, ahead)
            except No as error:
                raise elsewhere(self, error, self._spelled) from None
            except store.StoreError as error:
                raise refused(error) from None
        elif ahead.size > MAX_LITERAL:
            raise Bad("Literal too long.", b"TOOBIG")
        if sink is None and ahead.size + sum([literal.size for literal in ahead.frame.literals
                                              if literal.sink is None]) > self.rules.literal_octets:
            raise No(f"The literals of a command may have {self.rules.literal_octets} octets here.", b"LIMIT")
        return sink

    def perform(self, args: Args) -> str | Done:
        row = self.row = commands.find(args.command)
        self._progress.begin(args.tag)
        if row is None:
            raise Bad("Error in IMAP command received by server.")
        if title.show is not None:
            self.show(row.name.decode())
        try:
            self._prepare(row)
            done = row.handler(self, args) if args.again is None else args.again(self)
        except No as error:
            self.sync(row)
            raise elsewhere(self, error, args.spelled) from None
        except store.StoreError as error:
            if is_short(error):
                raise
            self.sync(row)
            raise elsewhere(self, refused(error), args.spelled) from None
        if row.name == b"LOGOUT":
            self.ended = True
        elif not self.goes_back:
            if self.selected is not None and (
                    not isinstance(done, Done) or not done.told or self._is_behind(row)):
                self.sync(row, isinstance(done, Done) and done.uses_seq)
            if self.enabled.news:
                self.tell_news()
            if self.between is not None:
                self.between.did(row, args.mailboxes)
        return done

    def _prepare(self, row: commands.Row) -> None:
        """Raises what forbids this command now, as permitted.check does."""
        permitted.check(self, row)
        selected = self.selected
        if selected is not None:
            selected.ahead = None      # found for a command that is over
            if selected.stale and not row.flags & LEAVES_FOLDER:
                try:
                    updates.look(selected)
                except store.StoreError as error:
                    if (bye := _end_by(error)) is not None:
                        raise bye from None
                    if row.states == SELECTED:
                        raise
                    # what need not know the messages is done, as by who was awake

    def go_back(self) -> None:
        """The session ends behind this command, and its client is before its login."""
        self.conn.flush()
        self.ended = self.goes_back = True

    def show(self, command: str) -> None:
        """To who looks at processes: the mailbox, and the command that is being done."""
        name = self.selected.folder.name if self.selected is not None else "-"
        title.say(f"{name} {command}".rstrip())

    def short(self) -> No:
        shortage.recover(self)
        return super().short()

    def sync(self, row: commands.Row, uses_seq: bool = False) -> None:
        """Tells what changed in the selected mailbox, as far as may be told behind this command.
        ``uses_seq``: as of Done."""
        # who was not told all yet may be told by each command how far it was (RFC 7162 3.2)
        selected, flags = self.selected, row.flags
        if selected is None or flags & LEAVES_FOLDER \
                or flags & READS and self.framer.has_more and not selected.behind:
            return
        self.tell(expunges=not (uses_seq or flags & USES_SEQ))

    def _is_behind(self, row: commands.Row) -> bool:
        """May the client hear more of the selected mailbox than it was told when this command began?"""
        return self.between is not None or self.selected is None \
            or self.selected.behind and not row.flags & USES_SEQ

    def tell_news(self) -> None:
        """What extensions tell of other things than the selected mailbox, to who enabled that."""
        for news in self.enabled.news:
            try:
                news(self)
            except store.StoreError as error:
                log.err(str(error))

    def tell(self, *, expunges: bool, flags_of_new: bool = False, waits: bool = True) -> bool:
        """As updates.tell; Bye when the selected mailbox is there no more."""
        selected = self.selected
        if selected is not None and selected.listed and waits:
            permitted.renew(self, selected)
        try:
            return updates.tell(self, expunges=expunges, flags_of_new=flags_of_new, waits=waits)
        except store.StoreError as error:
            if (bye := _end_by(error)) is not None:
                raise bye from None
            # the command itself is done: say that the look failed, keep the session
            log.err(str(error))
            return False


def _end_by(error: store.StoreError) -> Bye | None:
    """What a session is told whose look at the selected mailbox met this; None where it goes on."""
    if isinstance(error, store.FolderMissing):
        return Bye("The selected mailbox was deleted.", b"NONEXISTENT")
    if isinstance(error, store.Renumbered):
        return Bye("The mailbox was renumbered, please open it again.", b"UNAVAILABLE")
    return None


def _write_pieces(conn: Conn, line: Iterable[Content]) -> None:
    """Raises Gone where a piece is not what it said."""
    if isinstance(line, list):
        for piece in line:
            if type(piece) is not bytes:
                break
        else:
            conn.write_all(line)       # most often
            return
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
