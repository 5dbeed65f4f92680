"""Who may have a session at another host: what a session here finds out itself (entering.py), before it."""
from __future__ import annotations

from courierpy.model.replies import Bye, No, too_many
from courierpy.system import denials, log, notices
from courierpy.system.presence import Presence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from courierpy.system.settings import Settings


def look(settings: Settings, protocol: str, user: str, address: str, who: str) -> None:
    """Raises Bye where nobody is let in, No where this user is not.  ``address``: of the client; ``who``: for
    the log."""
    if why := notices.refusal(settings, anybody=True):
        log.info(f"REFUSED, {who}: {log.quoted(why)}")
        raise Bye(why, b"ALERT")
    if why := denials.word_for(settings, protocol.lower(), user, address):
        log.info(f"DENIED, {who}: {log.quoted(why)}")
        raise No(why, b"CONTACTADMIN")


def enter(settings: Settings, environ: Mapping[str, str], protocol: str, user: str, inode: int, pid: int,
          who: str) -> Presence | None:
    """The session is on from now on; None where nobody is told of it.  Raises No where the user has as many
    as may be.

    ``environ``: of the client.  ``inode``, ``pid``: as of Presence.elsewhere()."""
    found = Presence.elsewhere(environ, inode, protocol, user,
                               (environ["TCPREMOTEIP"], environ["TCPREMOTEPORT"]), pid)
    most = settings.number("MAXPERUSER")
    if found is not None and most > 0:
        if not found.enter_as_one_of(most):
            log.info(f"LIMIT, {who}: {log.quoted(too_many(most))}")
            raise No(too_many(most), b"LIMIT")
    elif found is not None:
        found.enter()
    return found
