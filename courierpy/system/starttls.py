"""Can a connection that is not encrypted become so?  TLS itself is loaded where it is done."""
from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.system.settings import Settings


def starttls_offered(settings: Settings, tls: bool) -> bool:
    """IMAP_STARTTLS (set by the listener) and a certificate to do it with."""
    if tls or not settings.yes("IMAP_STARTTLS"):
        return False
    from courierpy.system.tls import is_loaded
    return is_loaded() or os.path.exists(settings.text("TLS_CERTFILE"))


def starttls_required(settings: Settings, tls: bool) -> bool:
    """Must it, before its client may log in?  IMAP_TLS_REQUIRED, where it can."""
    return settings.flag("IMAP_TLS_REQUIRED") and starttls_offered(settings, tls)
