"""A command that takes long tells its client so, where an extension gives the line (seam ``on_pulse``)."""
from __future__ import annotations

from courierpy.imap import ext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.session import Session


class Progress:
    """How far one command is.  ``tag``: the command's."""

    __slots__ = ("_done", "_session", "_tag")

    def __init__(self, session: Session, tag: bytes) -> None:
        self._session = session
        self._tag = tag
        self._done = 0                 # steps, when the client was told last

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
