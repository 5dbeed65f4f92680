"""The listeners of a test server: processes (listener.py), each on a port that the kernel chose."""
from __future__ import annotations

import os
import socket
import subprocess
import time

from courierpy.admin import mkcert
from courierpy.system.programs import interpreter
from courierpy.testing import places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

END_SECONDS = 12.0             # for listeners to end by themselves


class Listener:
    """A listener that has been started; ``port``: clients may connect at once, and wait until it greets.

    ``kind``: as KINDS in listener.py.  ``without``: the capabilities that it lacks.
    """

    def __init__(self, folder: str, kind: str, without: Iterable[str]) -> None:
        """Raises OSError."""
        with socket.socket() as sock, open(places.log(folder), "ab") as log:
            sock.bind((places.HOST, 0))
            sock.listen(socket.SOMAXCONN)
            self.kind = kind
            self.port = int(sock.getsockname()[1])
            words = [*interpreter("courierpy.testing.listener"), folder, kind, str(sock.fileno()),
                     str(os.getpid()), *without]
            self.process = subprocess.Popen(words, pass_fds=[sock.fileno()], stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log)
        # the process alone has the socket now: when it ends connections are reset

    @property
    def runs(self) -> bool:
        return self.process.poll() is None


def end(listeners: Iterable[Listener]) -> None:
    """Returns when none of them runs."""
    processes = [listener.process for listener in listeners]
    for process in processes:
        process.terminate()
    latest = time.monotonic() + END_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, latest - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def certify(folder: str) -> None:
    """A certificate for the server in ``folder``; none where there is no openssl(1): then it has no TLS."""
    try:
        mkcert.make(places.certificate(folder), "localhost")
    except (OSError, subprocess.CalledProcessError) as error:
        with open(places.log(folder), "a", encoding="utf-8") as log:
            log.write(f"no TLS, openssl made no certificate: {error}\n")
