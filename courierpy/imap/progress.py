"""A command that takes long tells its client so, where an extension gives the line (seam ``on_pulse``)."""
from __future__ import annotations

from courierpy.imap import ext
from courierpy.system import pulse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.session import Session


class Progress:
    """How far the command is that a session does."""

    __slots__ = ("_done", "_session", "_tag", "_tell")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tag = b""
        self._done = 0                 # steps, when the client was told last
        self._tell = self.tell

    def begin(self, tag: bytes) -> None:
        """A command begins, with that tag."""
        self._tag, self._done = tag, 0
        pulse.hear(self._tell)

    def tell(self, done: int, goal: int) -> None:
        """Tells the client that ``done`` of ``goal`` steps are done, where a line may be told."""
        session = self._session
        if session.conn.midway:
            return
        far = done if done >= self._done else -1           # another part of the command: of what, who knows
        self._done = max(done, self._done)
        for word in ext.keys("on_pulse"):
            line = ext.find("on_pulse", word)
            if line is not None:
                session.write(line(session, self._tag, far, goal))
        session.conn.flush()
