"""One message: bytes to headers, ENVELOPE, BODYSTRUCTURE, sections, text.  Pure, lazy."""
from __future__ import annotations

from courierpy.message.message import Message

__all__ = ["Message"]
