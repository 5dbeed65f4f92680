"""A file below CONFIGDIRECTORY by which the administrator speaks, whole or not at all.  See notices.py."""
from __future__ import annotations

import argparse
import os

from courierpy.admin import complain, default_files, read_settings
from courierpy.system.notices import OCTETS
from courierpy.system.settings import Settings

USAGE = 64                         # exit status, of sysexits
MODE = 0o644                       # every user's session reads it


def change(name: str, usage: str, file: str, option: str, undoes: str, words: list[str]) -> int:
    """The subcommand ``name``, as its command line says.  Gives the exit status; OSError."""
    parser = argparse.ArgumentParser(prog=f"courierpy {name}", description=usage.partition("\n")[0])
    parser.add_argument("-C", dest="files", action="append", metavar="FILE", help="settings file")
    parser.add_argument(option, dest="undo", action="store_true", help=undoes)
    parser.add_argument("text", metavar="TEXT", nargs="?", help="what is said; without it, show what is now")
    options = parser.parse_args(words)
    if options.undo and options.text is not None:
        parser.error(f"a TEXT or {option} was expected, not both")
    if options.text is not None and (not options.text.isprintable() or not options.text.strip()
                                     or len(options.text) > OCTETS):
        parser.error(f"TEXT: a line of at most {OCTETS} characters was expected")
    base = Settings(read_settings(options.files or default_files())).text("CONFIGDIRECTORY")
    if not base:
        complain(f"CONFIGDIRECTORY is not set: name the directory of {file} in the settings")
        return USAGE
    path = os.path.join(base, file)
    if options.text is not None:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        write(path, options.text + "\n")
    elif options.undo:
        if os.path.lexists(path):
            os.unlink(path)
    elif os.path.exists(path):
        with open(path, encoding="utf-8", errors="replace") as there:
            print(there.readline().rstrip("\n"))
    return 0


def write(path: str, text: str) -> None:
    """A file that every session may read holds this now.  OSError."""
    new = f"{path}.{os.getpid()}"
    try:
        with open(new, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            os.fchmod(file.fileno(), MODE)
        os.rename(new, path)
    except OSError:
        if os.path.lexists(new):
            os.unlink(new)
        raise
