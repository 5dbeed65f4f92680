"""The command table: what a command may be used for, and where its handler is.

``index.py`` is plain data: name -> (module, states, flags, rights).  A handler takes
(session, args), parses everything, acts, and gives the text of its tagged OK
(or a ``Done`` with a response code).  ``Bad``, ``No`` and ``Bye`` are the only
other ways out.  Modules are loaded when their first command comes.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.framer import LiteralAhead, Sink
    from courierpy.imap.session import Session
    from courierpy.system.stream import Stream

    Handler = Callable[[Session, Args], "str | Done"]
    # the file that takes the octets as they come, or None: they are kept in memory
    Spool = Callable[[Session, LiteralAhead], "Sink | None"]

# States in which a command is allowed.
AUTHENTICATED, SELECTED = 1, 2
ANY = AUTHENTICATED | SELECTED

# Flags.  USES_SEQ: no EXPUNGE may be told until it is done (RFC 9051 7.5.1).
# LEAVES_FOLDER: no update of the mailbox afterwards.  WRITES: the session refuses it while
# the mailbox is read-only.  READS: it changes no mailbox, so what others changed can be told after the next
# command, if that has come already.  NUMBERS: it names or tells sequence numbers, and the session
# refuses it where the client enabled that there are none.  CHANGES: it changes what is stored, in whatever
# mailbox, and the session refuses it where it may only read; so does what WRITES.
USES_SEQ, LEAVES_FOLDER, WRITES, READS, NUMBERS, CHANGES = 1, 2, 4, 16, 32, 64


class Done:
    """The tagged OK of a command, with a response code, or a function that gives it (or None) when the
    client was told what changed.

    ``layer``: from the first octet behind this OK the connection goes through it, both ways.  It is
    called with the stream below and the octets that the client has sent ahead, as RFC 4978 3 wants it.
    ``uses_seq``: as the flag USES_SEQ, where that depends on what was asked.
    ``told``: the client was told what changed in the selected mailbox when the command began, a moment ago.
    """

    __slots__ = ("code", "layer", "text", "told", "uses_seq")

    def __init__(self, text: str, code: bytes | Callable[[], bytes | None] | None = None,
                 layer: Callable[[Stream, bytes], Stream] | None = None, uses_seq: bool = False,
                 told: bool = False) -> None:
        self.text = text
        self.code = code
        self.layer = layer
        self.uses_seq = uses_seq
        self.told = told


class Row:
    """A row of the table, its handler loaded.

    ``rights``: letters of RFC 4314 2.1 that the session must have on the selected mailbox, all
    of them.  ``named``: the same of each mailbox that its arguments name, in their order; behind ``^`` of the
    one above that; behind ``|`` stand those of which one is enough.  ``spool``: where a literal goes as it
    comes; None: it is kept in memory.
    """

    __slots__ = ("flags", "handler", "name", "named", "rights", "spool", "states")

    def __init__(self, name: bytes, states: int, flags: int, handler: Handler, rights: str = "",
                 spool: Spool | None = None, named: tuple[str, ...] = ()) -> None:
        self.name = name
        self.states = states
        self.flags = flags
        self.handler = handler
        self.rights = rights
        self.named = named
        self.spool = spool


# What the decorations of the loaded modules add up to; a test holds index.py against it.
DECORATED: dict[bytes, Row] = {}


def command(*names: bytes, when: int = ANY, flags: int = 0, rights: str = "",
            spool: Spool | None = None, named: tuple[str, ...] = ()) -> Callable[[Handler], Handler]:
    """Hang rows of the table on a handler.  With several names the same
    function serves each; it finds its own in ``args.command``."""
    def hang(handler: Handler) -> Handler:
        for name in names:
            DECORATED[name] = Row(name, when, flags, handler, rights, spool, named)
        return handler
    return hang


def find(name: bytes) -> Row | None:
    """The row of ``name``, its module loaded; None for an unknown command, and where the file of an
    extension was taken out."""
    row = DECORATED.get(name)
    if row is None:
        from courierpy.imap.commands.index import COMMANDS
        entry = COMMANDS.get(name)
        if entry is None:
            return None
        module = f"courierpy.imap.{entry[0]}"
        try:
            __import__(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            return None
        row = DECORATED[name]
    return row
