"""The process between a test run and its server: starts the listeners, relays, ends all when the tests end.

Its words: DESCRIPTOR of the socket to the tests, FOLDER of the server, pid of the TESTS, and the CAPABILITIES
that the server lacks.  It ends, with everything that it started, and removes the folder, when the socket is
closed or the process of the tests is no more, however that came.
"""
from __future__ import annotations

import shutil
import signal
import socket
import sys

from courierpy.testing import listeners


def run() -> None:
    descriptor, folder, tests, *without = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)       # is meant for the tests, which end us
    with socket.socket(fileno=int(descriptor)) as socket_to_tests:
        listeners.certify(folder)
        first = listeners.Listener(folder, "imap", without)
        from courierpy.testing.control import serve  # while the listener starts
        left = serve(socket_to_tests, int(tests), folder, first, without)
    listeners.end(left)
    shutil.rmtree(folder, ignore_errors=True)
