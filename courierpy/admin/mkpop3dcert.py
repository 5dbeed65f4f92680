"""courierpy mkpop3dcert: as mkimapdcert, for the settings of POP3."""
from __future__ import annotations

from courierpy.admin import mkimapdcert


def main(words: list[str]) -> int:
    return mkimapdcert.main(words, "mkpop3dcert", "pop3d")
