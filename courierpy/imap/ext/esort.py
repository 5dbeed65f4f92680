"""ESORT.  RFC 5267 3.1: SORT RETURN (MIN MAX ALL COUNT), all in the order that was asked for."""
from __future__ import annotations

from courierpy.imap.commands.cmd_search import take_returns
from courierpy.imap.ext import Extension

EXTENSION = Extension(b"ESORT", off="IMAP_DISABLETHREADSORT", sort_returns={b"RETURN": take_returns})
