"""courierpy motd TEXT: the message of the day, which clients show once a day; --clear: none."""
from __future__ import annotations

from courierpy.admin.message import change
from courierpy.system.notices import MOTD


def main(words: list[str]) -> int:
    return change("motd", __doc__, MOTD, "--clear", "say nothing any more", words)
