"""The tests' end of the way to the guardian: starts it, asks it, sees to it that it ends."""
from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading

from courierpy.system.programs import interpreter
from courierpy.testing import places
from courierpy.testing.listener import KEPT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

ANSWER_SECONDS = 120.0         # for an answer of the guardian, which waits less for a listener
END_SECONDS = 30.0             # for the guardian to end all, which waits less for each process


class ServerError(Exception):
    """The server cannot do what a test wants; str() says why, with what it logged."""


class Guard:
    """A guardian that runs, for the server in ``folder``, and the tests' hold on it."""

    def __init__(self, folder: str, without: Iterable[str]) -> None:
        """``without``: capabilities that the server lacks.  Raises OSError."""
        self.folder = folder
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        self._control.settimeout(ANSWER_SECONDS)
        self._answers = self._control.makefile("rb")
        with theirs, open(places.log(folder), "ab") as log:
            words = [*interpreter("courierpy.testing.guardian"), str(theirs.fileno()), folder, str(self._pid),
                     *without]
            # nothing of the environment of the tests changes the server
            kept = {name: os.environ[name] for name in KEPT if name in os.environ}
            # a session of its own: ctrl-C is for the tests, which end the server in their own time
            self._process = subprocess.Popen(words, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log, start_new_session=True, env=kept)

    def ask(self, do: str, **more: object) -> dict[str, Any]:
        """A request, and its answer.  Raises ServerError."""
        with self._lock:
            try:
                self._control.sendall(json.dumps({"do": do, **more}).encode() + b"\n")
                line = self._answers.readline()
            except (OSError, ValueError) as error:
                raise ServerError(f"the server does not answer: {error}; its log:\n{self._last_words()}"
                                  ) from None
        if not line:
            raise ServerError(f"the server has ended; its log:\n{self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ServerError(answer["error"])
        return answer

    def _last_words(self) -> str:
        try:
            with open(places.log(self.folder), encoding="utf-8", errors="backslashreplace") as file:
                return file.read()
        except OSError:
            return "(it is gone)"

    def stop(self) -> None:
        """Returns when no process of the server runs and its folder is gone.  In a fork of the tests nothing
        is done: the server is not its own."""
        self._answers.close()
        self._control.close()
        if os.getpid() != self._pid:
            return
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
