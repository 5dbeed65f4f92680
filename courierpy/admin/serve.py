"""courierpy serve: the plain and the TLS listener in the foreground, as the settings say."""
from __future__ import annotations

import argparse
import os
import signal
import sys
from functools import partial

from courierpy import tcpd
from courierpy.admin import default_files, read_settings
from courierpy.settings import Settings, check, parse_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

KEPT = ("PATH", "PYTHONPATH", "TZ", "LANG")     # of our own environment


def listener_words(settings: Settings, tls: bool, port: str | None) -> list[str]:
    """The command line of couriertcpd for one listener."""
    address = settings.text("SSLADDRESS" if tls else "ADDRESS")
    ports = port or settings.text("SSLPORT" if tls else "PORT")
    words = ["couriertcpd", f"-address={address}", f"-maxprocs={settings.number('MAXDAEMONS')}",
             f"-maxperip={settings.number('MAXPERIP')}", *settings.text("TCPDOPTS").split()]
    if settings.text("IMAPACCESSFILE") and os.path.exists(settings.text("IMAPACCESSFILE")):
        words.append(f"-access={settings.text('IMAPACCESSFILE')}")
    if tls:
        words.append("-tls")
    return [*words, ports, "imaplogin", "imapd", settings.text("MAILDIRPATH")]


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy serve", description=__doc__)
    parser.add_argument("-C", dest="files", action="append", metavar="FILE", help="settings file")
    parser.add_argument("--port", help="port of the plain listener, instead of PORT")
    options = parser.parse_args(words)
    files = options.files or default_files()
    values = read_settings(files)
    for line in check(values):
        print(f"courierpy: {line}", file=sys.stderr)
    kinds = [tls for tls in (False, True)
             if Settings(values).yes("IMAPDSSLSTART" if tls else "IMAPDSTART")]
    if not kinds:
        print("courierpy: nothing to start: IMAPDSTART and IMAPDSSLSTART are both NO", file=sys.stderr)
        return 1
    if len(kinds) == 1:
        return _one(files, kinds[0], options.port)
    return _all([partial(_one, files, tls, options.port) for tls in kinds])


def _one(files: list[str], tls: bool, port: str | None) -> int:
    """One listener, here; at SIGHUP it reads the files again."""
    def read() -> tuple[list[str], dict[str, str]]:
        values: dict[str, str] = {}
        for path in files:
            values = parse_file(path, values)
        own = {name: os.environ[name] for name in KEPT if name in os.environ}
        more = {"IMAP_TLS": "1"} if tls else {"IMAP_STARTTLS": Settings(values).text("IMAPDSTARTTLS")}
        return listener_words(Settings(values), tls, port), {**own, **values, **more}

    return tcpd.main(*read(), reread=read)


def _all(listeners: list[Callable[[], int]]) -> int:
    """A process for each listener; one that fails ends the others."""
    pids = []
    for listener in listeners:
        pid = os.fork()
        if pid == 0:
            os._exit(listener())
        pids.append(pid)

    def pass_on(number: int, frame: object) -> None:
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    status = 0
    while pids:
        pid, ended = os.wait()
        pids.remove(pid)
        if ended and not status:
            status = os.waitstatus_to_exitcode(ended) or 1
            pass_on(signal.SIGTERM, None)
    return status
