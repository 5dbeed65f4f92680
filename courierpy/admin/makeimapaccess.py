"""courierpy makeimapaccess: are the access rules right?  They are read as they are: nothing is made.

Of IMAPACCESSFILE in the settings: a file of rules, or a directory of them.  What changed counts when the
listener is told to read its settings again.
"""
from __future__ import annotations

import argparse

from courierpy.admin import complain, default_files, read_settings
from courierpy.listener.access import AccessError, load


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy makeimapaccess",
                                     description="Look whether the access rules are right.")
    parser.add_argument("-C", dest="files", metavar="FILE", action="append", default=[],
                        help="settings; more than one may be named")
    options = parser.parse_args(words)
    path = read_settings(options.files or default_files()).get("IMAPACCESSFILE", "")
    if not path:
        complain("IMAPACCESSFILE: no file is named: everybody may connect", parser.prog)
        return 1
    try:
        rules = load(path)
    except AccessError as error:
        complain(str(error), parser.prog)
        return 1
    print(f"{path}: {len(rules)} rules")
    return 0
