"""Commands of a session where they are counted (METRICS): by name and result, and the seconds of each."""
from __future__ import annotations

from time import monotonic

from courierpy.imap.grammar import lines
from courierpy.model.replies import Slept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.imap.grammar.framer import Frame
    from courierpy.imap.session import Session
    from courierpy.system.metrics import Meter

RESULTS = {lines.OK: "ok", lines.NO: "no", lines.BAD: "bad"}
UNKNOWN = "unknown"            # what no command of ours begins with: a client's word is no label
WAITS = ("IDLE",)              # for the client, which is no time of ours


def doing(session: Session, meter: Meter) -> Callable[[Frame], object]:
    """As Session.do, of a session whose commands are counted."""
    def do(frame: Frame) -> None:
        began = monotonic()
        session.row, session.answered = None, b""
        try:
            session.do(frame)
        except Slept:                  # the command goes on elsewhere, and is counted there
            raise
        except BaseException:          # without an answer the session ended in it
            count(began)
            raise
        count(began)

    def count(began: float) -> None:
        name = session.row.name.decode() if session.row is not None else ""
        meter.command(name or UNKNOWN, RESULTS.get(session.answered, "ended"),
                      None if name in WAITS else monotonic() - began)
        meter.turn()
    return do


class Pushes:
    """How long a change takes to its client: from the moment at which the kernel, or the keeper, tells the
    session of one until the lines of it are written.  ``octets``: how many the client was sent by now."""

    def __init__(self) -> None:
        self._since = 0.0
        self._octets = 0

    def heard(self, octets: int) -> None:
        """There may be something to tell."""
        self._since, self._octets = monotonic(), octets

    def forget(self) -> None:
        """What is written next is an answer."""
        self._since = 0.0

    def told(self, octets: int, meter: Meter) -> None:
        """Whatever there was to tell is written."""
        if self._since:
            if octets > self._octets:
                meter.push(monotonic() - self._since)
            self._since = 0.0
            meter.turn()
