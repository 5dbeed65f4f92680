"""courierpy serve: the plain and the TLS listener in the foreground, as the settings say."""
from __future__ import annotations

import argparse
import os
import signal
import sys

from courierpy import tcpd
from courierpy.admin import default_files, read_settings
from courierpy.settings import Settings, check


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
    values = read_settings(options.files or default_files())
    settings = Settings(values)
    for line in check(values):
        print(f"courierpy: {line}", file=sys.stderr)
    own = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "TZ", "LANG") if name in os.environ}
    environ = {**own, **values}
    listeners = []
    if settings.yes("IMAPDSTART"):
        plain = {**environ, "IMAP_STARTTLS": settings.text("IMAPDSTARTTLS")}
        listeners.append((listener_words(settings, False, options.port), plain))
    if settings.yes("IMAPDSSLSTART"):
        listeners.append((listener_words(settings, True, None), {**environ, "IMAP_TLS": "1"}))
    if not listeners:
        print("courierpy: nothing to start: IMAPDSTART and IMAPDSSLSTART are both NO", file=sys.stderr)
        return 1
    if len(listeners) == 1:
        return tcpd.main(*listeners[0])
    return _all(listeners)


def _all(listeners: list[tuple[list[str], dict[str, str]]]) -> int:
    """A process for each listener; one that fails ends the others."""
    pids = []
    for words, environ in listeners:
        pid = os.fork()
        if pid == 0:
            os._exit(tcpd.main(words, environ))
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
