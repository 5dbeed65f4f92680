"""The message that tells its user that a Maildir is nearly full, as Courier's deliverquota brings it.

At a state, not at a moment: after each delivery that finds the Maildir at the percentage or above it, but
once in 24 hours, whatever else comes.  ``quotawarn`` in the Maildir has the time of the last one.
"""
from __future__ import annotations

import os
import time

from courierpy.maildir import delivery
from courierpy.maildir.errors import trouble
from courierpy.maildir.files import replace
from courierpy.model.namespaces import INBOX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.store import Store

STAMP = "quotawarn"
SILENCE = 24 * 3600                # seconds from one to the next
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def warn(store: Store, percent: int, text: bytes) -> bool:
    """Brings ``text``, header and all, to INBOX where that is due.  It counts as any message, is never
    refused, and warns of nothing itself.  Raises a store error."""
    quota = store.quota()
    found = quota.usage() if quota is not None else None
    if found is None or found.limits.percent(found.there) < percent:
        return False
    stamp = os.path.join(store.root, STAMP)
    now = time.time()
    try:
        if 0 <= now - os.stat(stamp).st_mtime < SILENCE:
            return False
    except FileNotFoundError:
        pass
    except OSError as error:
        raise trouble(stamp, error) from None
    # the time first: who fails behind it warns a day later, and not at each message
    replace(stamp, b"\0", store.layout.scratch, store.options.host, "warn", sync=False)
    delivery.deliver(store, INBOX, [_fields(now, store.options.host), text], ignores_quota=True)
    return True


def _fields(now: float, host: str) -> bytes:
    """RFC 5322 3.6: what a text that is the same each time has not."""
    at = time.localtime(now)
    date = time.strftime(f"{DAYS[at.tm_wday]}, %d {MONTHS[at.tm_mon - 1]} %Y %H:%M:%S %z", at)
    return os.fsencode(f"Date: {date}\nMessage-Id: <{int(now)}.{os.getpid()}.overquota@{host}>\n")
