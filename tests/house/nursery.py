"""A process that has loaded what has no part in any extension, and forks programs of the code beside it.

Started by itself, in the folder of that code (see forked.py): nothing of the tests is loaded here.
"""
from __future__ import annotations

import array
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

ROOMS = ("model", "system", "message", "maildir", "maildir/formats", "maildir/index", "imap", "imap/grammar",
         "imap/commands")
# what loads the index of the extensions, and the index of the commands: of each program its own
FRESH = {"courierpy.imap.capability", "courierpy.imap.prelogin", "courierpy.imap.session",
         "courierpy.imap.commands.index"}
LACKS = "LACKS"                # variable of the environment: capabilities that the program lacks
Request = tuple[str, list[str], str, dict[str, str]]


def load() -> None:
    """Raises AssertionError where that brings an extension along."""
    for room in ROOMS:
        for file in sorted(Path("courierpy", room).glob("*.py")):
            name = ".".join(file.with_suffix("").parts)
            if file.stem != "__init__" and name not in FRESH:
                importlib.import_module(name)
    importlib.import_module("tools.build_index")
    early = [name for name in sys.modules if name.startswith("courierpy.imap.ext.") or name in FRESH]
    assert not early, early


def run(request: Request) -> int:
    """``request``: module whose main() is called, its arguments, folder, environment."""
    module, argv, folder, environ = request
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    importlib.invalidate_caches()
    lacks = environ.pop(LACKS, "").split()
    if lacks:
        from courierpy.testing import lacking
        environ |= lacking.settings(lacks, "")
        lacking.withdraw(lacks)
    main = importlib.import_module(module).main
    status = main(argv, environ) if module == "courierpy.imapd" else main(argv[1:])
    sys.stdout.flush()
    return int(status or 0)


def start(request: Request, fds: array.array[int]) -> None:
    """``fds``: standard input, output and error of the program, and where its exit status is written to."""
    if os.fork():
        return
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for at, fd in enumerate(fds[:3]):
            os.dup2(fd, at)
        status = run(request)
    except BaseException:
        traceback.print_exc()
    finally:
        os.write(fds[3], bytes([status]))
        os._exit(0)


def serve(channel: socket.socket) -> None:
    """Until nobody asks any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)          # a program says itself how it ends
    size = array.array("i").itemsize
    while True:
        data, ancillary, _, _ = channel.recvmsg(1 << 16, socket.CMSG_SPACE(4 * size))
        if not data:
            return
        fds = array.array("i", ancillary[0][2])
        start(json.loads(data), fds)
        for fd in fds:
            os.close(fd)


if __name__ == "__main__":
    sys.dont_write_bytecode = True             # an index that is written anew within a second
    sys.path.insert(0, os.getcwd())
    load()
    serve(socket.socket(fileno=int(sys.argv[1])))
