"""Before the login, where both protocols are spoken: a command of SMAP has ``\\SMAP1`` where IMAP's has its
tag.

The commands are those of IMAP (imap/prelogin.py); words stand in quotes as SMAP has them, a challenge follows
``>``, and a command is answered ``+OK`` or ``-ERR``.  After such a login the session speaks SMAP. """
from __future__ import annotations

from base64 import b64encode

from courierpy.imap import prelogin
from courierpy.imap.grammar import lines
from courierpy.imap.grammar.framer import Frame, Literal
from courierpy.imap.prelogin import (
    CROWDED,
    CROWDED_WORDS,
    LAST_WORDS,
    PORT,
    PROTOCOL,
    STOPPED,
    STOPPED_WORDS,
    TEMPORARY,
    greeting,
    told,
)
from courierpy.model.replies import Bye, anew
from courierpy.smap import grammar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.commands import Done
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.prelogin import Stage
    from courierpy.model.replies import Bad

TAG = "\\SMAP1"
_PREFIX = TAG.encode() + b" "
ELSEWHERE = Bye("Your mail is at another server, to which only IMAP is passed on.", b"UNAVAILABLE")
_STANDS_FOR = b"SMAP1"                 # in the place of the tag, which can be none of IMAP's


class Login(prelogin.Login):
    """``_smap``: is the command that is done one of SMAP?"""

    _smap = False

    def parse(self, frame: Frame) -> Args:
        line = frame.lines[0].lstrip(b" \t")
        self._smap = line[:len(_PREFIX)].upper() == _PREFIX
        if not self._smap:
            return super().parse(frame)
        line = line[len(_PREFIX):].lstrip(b" \t")
        name, _, rest = line.partition(b" ")
        if name.upper() == b"LOGIN":
            return super().parse(_login(name, rest))
        return super().parse(Frame([_STANDS_FOR + b" " + line, *frame.lines[1:]], frame.literals))

    def reply(self, tag: bytes, word: bytes, text: str, code: bytes | None = None) -> None:
        if not self._smap:
            super().reply(tag, word, text, code)
        else:
            self.client.write(grammar.ok(text) if word == lines.OK else grammar.err(text))

    def _done(self, tag: bytes, done: str | Done) -> None:
        if not self._smap:
            super()._done(tag, done)
            return
        self.errors = 0
        self.reply(tag, lines.OK, done if isinstance(done, str) else done.text)

    def bad(self, tag: bytes, error: Bad) -> None:
        super().bad(tag, error)
        self._smap = False

    def may_go(self) -> bool:
        return not self._smap and super().may_go()

    def _admitted_by(self, args: Args) -> None:
        if self._smap and self.stage.accepted is not None:
            self.account = None        # the session there would be one of IMAP
            raise anew(ELSEWHERE)
        super()._admitted_by(args)
        if self._smap:
            self.environ["IMAPLOGINTAG"] = TAG
            self.environ["PROTOCOL"] = _STANDS_FOR.decode()

    def _challenge(self, challenge: bytes) -> bytes:
        return b"> %s\n" % b64encode(challenge) if self._smap else super()._challenge(challenge)


def _login(name: bytes, rest: bytes) -> Frame:
    """LOGIN with its words as IMAP's literals, in which all octets may stand.  Raises Bad."""
    words = grammar.words(rest)
    return Frame([_STANDS_FOR + b" " + name + b" ", *[b" "] * (len(words) - 1), b""][:len(words) + 1],
                 [Literal(len(word), False, bytearray(word)) for word in words])  # type: ignore[arg-type]


def dialogue(stage: Stage) -> Login:
    """What is said to a client before its login (see login/stage.py)."""
    return Login(stage)


__all__ = ["CROWDED", "CROWDED_WORDS", "LAST_WORDS", "PORT", "PROTOCOL", "STOPPED", "STOPPED_WORDS",
           "TEMPORARY", "dialogue", "greeting", "told"]
