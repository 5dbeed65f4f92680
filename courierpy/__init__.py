"""courierpy: an IMAP server for a plain Maildir, in the Courier design."""
from __future__ import annotations

__version__ = "0.1.0"
