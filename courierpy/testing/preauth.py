"""imapd on standard input and output, as from a shell, for tests: FOLDER MAILDIR CAPABILITY...

As root it becomes the Maildir's owner.  The capabilities are those that it lacks.
"""
from __future__ import annotations

import os
import sys

from courierpy.testing import lacking, places
from courierpy.testing.listener import KEPT, values_of


def run() -> None:
    folder, maildir, *words = sys.argv[1:]
    values = values_of(folder, words)
    lacking.withdraw(words)
    from courierpy import imapd, preload
    from courierpy.system import proc
    log = os.open(places.log(folder), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 2)
    os.close(log)
    owner = os.stat(maildir)
    if os.geteuid() == 0:
        preload.preload()              # the owner may not be able to read the library
        proc.become(owner.st_uid, owner.st_gid, None)
    os.chdir(os.path.dirname(maildir))
    environ = {name: os.environ[name] for name in KEPT if name in os.environ}
    sys.exit(imapd.main(["imapd", maildir], environ | values | {"HOME": os.path.dirname(maildir)}))
