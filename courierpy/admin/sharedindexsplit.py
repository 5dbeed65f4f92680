"""courierpy sharedindexsplit DIR [LETTERS]: the index of shared accounts, from a list of accounts.

A line of standard input is as authenumerate prints it: name, uid, gid, home, Maildir and options, with tabs
between.  Without LETTERS an account that has the option sharedgroup=NAME goes to DIR/indexNAME, any other to
DIR/index.  With LETTERS accounts are in files by the first letters of their names, and the files of fewer
letters say where.  What is in a file already stays, and the new lines follow it.
"""
from __future__ import annotations

import argparse
import os
import sys

from courierpy.admin import complain
from courierpy.maildir.files import write_all
from courierpy.model.accountoptions import option
from courierpy.model.numbers import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Files = dict[str, dict[str, None]]         # name of a file -> its lines, each once

INDEX = "index"
PADDING = "_"
MOST_LETTERS = 8                   # deeper than that no index is followed (sharedindex.py)
USAGE = 2                          # Courier's


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy sharedindexsplit",
                                     description=__doc__.partition("\n")[0])
    parser.add_argument("directory", metavar="DIR", help="where the files come; it is there already")
    parser.add_argument("letters", metavar="LETTERS", nargs="?", default=0, type=_letters,
                        help="by so many letters at the beginning of a name, at most 7")
    options = parser.parse_args(words)
    if not os.path.isdir(options.directory):
        complain(f"{options.directory}: a directory was expected: make it first", parser.prog)
        return USAGE
    text = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    for name, lines in split(text.split("\n"), options.letters).items():
        data = "".join([f"{line}\n" for line in lines]).encode("utf-8", "surrogateescape")
        fd = os.open(os.path.join(options.directory, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            write_all(fd, data)
        finally:
            os.close(fd)
    return 0


def _letters(word: str) -> int:
    number = decimal(word, MOST_LETTERS - 1)
    if number is None:
        raise argparse.ArgumentTypeError(f"a number from 0 to {MOST_LETTERS - 1} was expected, not {word!r}")
    return number


def split(accounts: Iterable[str], letters: int) -> Files:
    """The files of an index.  What is no account is passed over."""
    files: Files = {}
    for line in accounts:
        fields = line.split("\t")
        if line.startswith("#") or len(fields) < 4 or not fields[0]:
            continue
        file = INDEX
        if letters:
            name = fields[0].ljust(letters, PADDING)
            for length in range(1, letters + 1):
                level = _plain(name[:length])
                files.setdefault(file, {})[f"{level}\t*\t{INDEX}{level}"] = None
                file = INDEX + level
        elif len(fields) > 5:
            file += _plain(option(fields[5], "sharedgroup"))
        files.setdefault(file, {})["\t".join(fields[:5])] = None
    return files


def _plain(name: str) -> str:
    """As it can be in the name of a file."""
    return name.replace("/", PADDING).replace("\0", PADDING)
