"""courierpy makeuserdb: look whether a userdb can be used.

Courier's tool of this name makes a database of it.  Here the text is read as it is, and nothing has to be
made: what is wrong in it is told, with exit status 1.
"""
from __future__ import annotations

import argparse
import os

from courierpy.admin import complain, default_files, read_settings
from courierpy.auth import Rejected, TemporaryFailure, authuserdb, number_of
from courierpy.system.settings import Settings


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy makeuserdb", description=__doc__)
    parser.add_argument("-f", dest="userdb", metavar="FILE", help="the userdb, instead of USERDB")
    try:
        chosen = parser.parse_args(words)
    except SystemExit as end:
        return 1 if end.code else 0
    path = chosen.userdb or Settings(read_settings(default_files())).text("USERDB")
    try:
        os.stat(path)
        records = authuserdb.read(path)
    except (TemporaryFailure, Rejected) as why:
        complain(str(why) or f"{path}: it is not there")
        return 1
    status = 0
    for name, fields in records.items():
        if name.endswith("="):
            continue                   # pw2userdb's, from a uid to a name
        wrong = [field for field in ("uid", "gid") if not _is_number(fields.get(field, ""))]
        wrong += [] if fields.get("home") else ["home"]
        if wrong:
            complain(f"{path}: {name}: {', '.join(wrong)}: missing, or not what is expected")
            status = 1
    return status


def _is_number(text: str) -> bool:
    try:
        number_of(text)
    except ValueError:
        return False
    return True
