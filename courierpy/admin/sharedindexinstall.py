"""courierpy sharedindexinstall [DIR]: what sharedindexsplit wrote to DIR/shared.tmp becomes the index in
DIR/shared.

A file comes by one rename, those with accounts before those that lead to them; what is not new goes last.  So
who reads meanwhile finds each account by the old files or by the new ones.
"""
from __future__ import annotations

import argparse
import os

from courierpy.admin import complain
from courierpy.maildir.files import sync_directory
from courierpy.system.startup import DEFAULT_FILES

USED = "shared"
NEW = USED + ".tmp"


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy sharedindexinstall",
                                     description="Put the index in use that sharedindexsplit made.")
    parser.add_argument("directory", metavar="DIR", nargs="?", default=os.path.dirname(DEFAULT_FILES[0]),
                        help=f"has {NEW} and {USED}; else the directory of the settings")
    options = parser.parse_args(words)
    new, used = (os.path.join(options.directory, name) for name in (NEW, USED))
    if not os.path.isdir(used):
        complain(f"{used}: a directory was expected: make it first", parser.prog)
        return 1
    names = os.listdir(new)
    if not names:
        complain(f"{new}: there is nothing in it: sharedindexsplit writes it", parser.prog)
        return 1
    for name in sorted(names, key=lambda name: (-len(name), name)):
        os.rename(os.path.join(new, name), os.path.join(used, name))
    for name in set(os.listdir(used)).difference(names):
        os.unlink(os.path.join(used, name))
    sync_directory(used)
    return 0
