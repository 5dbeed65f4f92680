"""courierpy maildirmake DIR: a Maildir, or with -f a folder in one; what it shares, and what others share.

As root: what is made belongs to the owner of the directory above it.
"""
from __future__ import annotations

import argparse
import importlib
import os

from courierpy.admin import complain
from courierpy.admin.owner import inside, working_in
from courierpy.admin.words import Parser
from courierpy.maildir import linked, names
from courierpy.maildir.errors import FolderExists, NameInvalid
from courierpy.maildir.files import content, replace
from courierpy.maildir.formats import maildirsize, sharedmaildirs
from courierpy.maildir.layout import MaildirPlusPlus
from courierpy.maildir.store import Store

PARTS = ("cur", "new", "tmp")
SKELETON = "/etc/skel"             # of it each user to come gets a copy, which is his
PRIVATE, SHARED = 0o700, 0o755
WRITTEN = 0o1755, 0o1777           # who posts into it removes only what is his


def main(words: list[str]) -> int:
    parser = Parser(prog="courierpy maildirmake", description=__doc__.partition("\n")[0])
    parser.add_argument("-f", "-F", dest="folder", metavar="FOLDER",
                        help="make this folder in the Maildir; dots stand between the levels of its name")
    parser.add_argument("-q", dest="quota", metavar="QUOTA",
                        help="the limits of the Maildir, as 1000000S,1000C; it may be there already")
    parser.add_argument("-S", dest="sharable", action="store_true",
                        help="others may look into it, as far as its folders let them")
    parser.add_argument("-s", dest="shared", metavar="WAYS", type=_ways,
                        help="with -f: who may use the folder: read, write, group, with commas between")
    parser.add_argument("--add", metavar="NAME=PATH", action="append", default=[],
                        help="the user of the Maildir has that other one, as shared.NAME")
    parser.add_argument("--del", dest="remove", metavar="NAME", action="append", default=[],
                        help="has it no more")
    parser.add_argument("--checkutf8", action="store_true",
                        help="say what --convutf8 would do, and whether it can")
    parser.add_argument("--convutf8", action="store_true",
                        help="names of folders from modified UTF-7, as Courier had them, to UTF-8")
    parser.add_argument("maildir", metavar="DIR")
    parser.add_argument("filter", metavar="FILTER", nargs="?",
                        help="with --convutf8: what SqWebMail has made of the user's rules")
    options = parser.parse_args(words)
    if options.checkutf8 or options.convutf8:
        from courierpy.admin import convutf8  # few Maildirs are so old
        return convutf8.convert(options.maildir, options.filter, options.checkutf8)
    if options.filter is not None:
        parser.error(f"{options.filter}: one directory was expected")
    if options.add or options.remove:
        return max([0, *(add(options.maildir, word) for word in options.add),
                    *(remove(options.maildir, name) for name in options.remove)])
    if options.shared and options.folder is None:
        complain("-s: a folder was expected, with -f, which is shared so", parser.prog)
        return 1
    if options.folder is not None:
        modes = options.shared or ((SHARED, SHARED) if options.sharable else None)
        return make_folder(options.maildir, options.folder, modes)
    if options.quota is None:
        return make(options.maildir, SHARED if options.sharable else PRIVATE)
    if not os.path.isdir(os.path.join(options.maildir, PARTS[0])) and make(
            options.maildir, SHARED if options.sharable else PRIVATE) != 0:
        return 1
    return limit(options.maildir, options.quota)


def _ways(text: str) -> tuple[int, int]:
    """The modes of a folder's directory and of those in it; for argparse."""
    modes = SHARED, SHARED
    for word in text.split(","):
        if word == "group":            # of those before it
            modes = modes[0] & ~0o007, modes[1] & ~0o007
        elif word in ("read", "write"):
            modes = WRITTEN if word == "write" else (SHARED, SHARED)
        else:
            raise argparse.ArgumentTypeError(f"{word!r}: read, write or group was expected")
    return modes


def make(path: str, mode: int = PRIVATE) -> int:
    """A Maildir at ``path``; one of which parts are there is completed.  ``mode``: of its own directory.
    Gives the exit status; OSError."""
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
            if fresh and mode != PRIVATE:
                os.chmod(name, mode)
        except OSError as error:
            for there_now in reversed(made):
                os.rmdir(there_now)
            error.filename = os.path.join(path, part) if part else path
            raise
        root = os.stat(name).st_uid == 0 and os.path.realpath(above) != SKELETON
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


def make_folder(maildir: str, folder: str, modes: tuple[int, int] | None = None) -> int:
    """A folder in a Maildir, by the name that clients see less the namespace.  ``modes``: of its directory
    and of those in it, where it is shared.  Gives the exit status."""
    if not folder or folder.startswith("."):
        complain(f"{folder or '-f'}: a folder's name was expected, as Work or Work.2024, without a dot "
                 "before it")
        return 1
    with inside(maildir):
        try:
            tree = Store(".")
            tree.create(tree.layout.prefix + folder)
            if modes is not None:
                directory = tree.path_of(tree.layout.prefix + folder)
                for part in PARTS:
                    os.chmod(os.path.join(directory, part), modes[1])
                os.chmod(directory, modes[0])
        except FolderExists:
            complain(f"{maildir}: there is a folder {folder} already")
            return 1
        except NameInvalid as error:
            complain(f"{folder}: no name of a folder: {error}; one as Work or Work.2024 was expected, each "
                     "level without a slash and no longer than a file's name may be")
            return 1
    print(f"{maildir}: folder {folder} made")
    return 0


def add(maildir: str, word: str) -> int:
    """Another Maildir is shared with the user of this one.  ``word``: NAME=PATH.  Gives the exit status, 2
    where something else has that name, as Courier's does."""
    name, _, path = word.partition("=")
    if not name or not path.startswith("/"):
        complain(f"--add {word}: NAME=PATH was expected, with the whole path of a Maildir")
        return 1
    octets = os.fsencode(name)
    if not sharedmaildirs.is_name(octets) or "\n" in path:
        complain(f"--add {word}: {name}: invalid name: one without dots and slashes was expected")
        return 1
    with inside(maildir, MaildirPlusPlus.name):
        if not os.path.isdir(path):
            complain(f"--add {word}: {path}: no directory that the owner of {maildir} may look into")
            return 1
        data = content(sharedmaildirs.NAME) or b""
        if octets in sharedmaildirs.parse(data):
            complain(f"{name}: already defined as a sharable maildir.")
            return 2
        _write(sharedmaildirs.changed(data, octets, os.fsencode(path)))
    return 0


def remove(maildir: str, name: str) -> int:
    """A Maildir is not shared with the user of this one any more; what the user had of it goes.  Gives the
    exit status."""
    octets = os.fsencode(name)
    with inside(maildir, MaildirPlusPlus.name):
        data = content(sharedmaildirs.NAME) or b""
        if octets not in sharedmaildirs.parse(data):
            complain(f"{name}: not found.")
            return 1
        _write(sharedmaildirs.changed(data, octets, None))
        linked.remove_copies(".", names.shown(octets))
    return 0


def _write(data: bytes) -> None:
    """Raises a store error."""
    replace(sharedmaildirs.NAME, data, "tmp", names.host_name(None), "shared", sync=True)
