"""courierpy maildirmake DIR: a Maildir, or with -f a folder in one.

As root: what is made belongs to the owner of the directory above it.
"""
from __future__ import annotations

import argparse
import importlib
import os
import sys

from courierpy.admin import complain
from courierpy.admin.owner import inside, working_in
from courierpy.maildir.errors import FolderExists, NameInvalid
from courierpy.maildir.formats import maildirsize
from courierpy.maildir.layout import MaildirPlusPlus
from courierpy.maildir.store import Store

PARTS = ("cur", "new", "tmp")
# of Courier's maildirmake, and not ours
SHARED = ("-S", "-s", "--add", "--del")
NAMES = ("--checkutf8", "--convutf8")


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy maildirmake", description=__doc__.partition("\n")[0])
    parser.add_argument("-f", "-F", dest="folder", metavar="FOLDER",
                        help="make this folder in the Maildir; dots stand between the levels of its name")
    parser.add_argument("-q", dest="quota", metavar="QUOTA",
                        help="the limits of the Maildir, as 1000000S,1000C; it may be there already")
    for option in (*SHARED, *NAMES):
        parser.add_argument(option, dest="foreign", nargs="?" if option == "-S" else None,
                            const="", action=_Foreign, help=argparse.SUPPRESS)
    parser.add_argument("maildir", metavar="DIR")
    options = parser.parse_args(words)
    if options.folder is not None:
        return make_folder(options.maildir, options.folder)
    if options.quota is None:
        return make(options.maildir)
    if not os.path.isdir(os.path.join(options.maildir, PARTS[0])) and make(options.maildir) != 0:
        return 1
    return limit(options.maildir, options.quota)


class _Foreign(argparse.Action):
    """An option of Courier's program that is understood, and refused in a line."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object,
                 option: str | None = None) -> None:
        what = ("shared folders are not supported" if option in SHARED else
                'names are converted by "courierpy convert --from dovecot DIR"')
        complain(f"{option}: {what}", parser.prog)
        sys.exit(1)


def make(path: str) -> int:
    """A Maildir at ``path``; one of which parts are there is completed.  Gives the exit status; OSError."""
    if not path:
        complain("the name of a directory was expected, as Maildir: name one")
        return 1
    path = path.rstrip("/") or "/"
    above, name = os.path.split(os.path.abspath(path))
    with working_in(above):
        fresh = not os.path.lexists(name)
        if not fresh:
            if not os.path.isdir(name):
                complain(f"{path}: it is there already, and no directory: name another, or remove it first")
                return 1
            there = os.listdir(name)
            if all(part in there for part in PARTS):
                complain(f"{path}: a Maildir is there already")
                return 1
            if there and not any(part in there for part in PARTS):
                complain(f"{path}: it is there already, with other things in it: name another directory")
                return 1
        made = []
        try:
            for part in ("", *PARTS):
                there_now = os.path.join(name, part)
                if not os.path.isdir(there_now):
                    os.mkdir(there_now, 0o700)
                    made.append(there_now)
        except OSError as error:
            for there_now in reversed(made):
                os.rmdir(there_now)
            error.filename = os.path.join(path, part) if part else path
            raise
        root = os.stat(name).st_uid == 0
    print(f"{path}: {'made' if fresh else 'completed'}")
    if root:
        complain(f"{path} belongs to root, and a login never serves what is root's: "
                 f"chown -R USER: {path} gives it to its user")
    return 0


def limit(maildir: str, quota: str) -> int:
    """The Maildir has these limits from now on.  Gives the exit status; OSError, or a store error."""
    text = os.fsencode(quota)
    if not maildirsize.is_limits(text):
        # as Courier's does, and goes on
        complain(f"quota string {quota!r} not parseable: as 1000000S,1000C was expected", "WARN")
        return 0
    importlib.import_module("courierpy.maildir.quota")     # owners may not be able to read the library
    with inside(maildir, MaildirPlusPlus.name):
        Store(".", choice=MaildirPlusPlus.name).need_quota().limit(maildirsize.limits(text))
    return 0


def make_folder(maildir: str, folder: str) -> int:
    """A folder in a Maildir, by the name that clients see less the namespace.  Gives the exit status."""
    if not folder or folder.startswith("."):
        complain(f"{folder or '-f'}: a folder's name was expected, as Work or Work.2024, without a dot "
                 "before it")
        return 1
    with inside(maildir):
        try:
            tree = Store(".")
            tree.create(tree.layout.prefix + folder)
        except FolderExists:
            complain(f"{maildir}: there is a folder {folder} already")
            return 1
        except NameInvalid as error:
            complain(f"{folder}: no name of a folder: {error}; one as Work or Work.2024 was expected, each "
                     "level without a slash and no longer than a file's name may be")
            return 1
    print(f"{maildir}: folder {folder} made")
    return 0
