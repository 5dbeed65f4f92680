"""courierpy serve: the plain and the TLS listener in the foreground, as the settings say.

Each listener is a program started anew, so that nothing of this one is in its
memory; at SIGHUP it reads the settings again.
"""
from __future__ import annotations

import os
import signal
import stat
import sys

from courierpy.admin import complain, default_files, read_settings
from courierpy.admin.config import listeners
from courierpy.listener.options import UsageError, parse_ports
from courierpy.login import tries
from courierpy.system import log
from courierpy.system.programs import interpreter
from courierpy.system.settings import UNNEEDED, WRONG, Settings, SettingsError, check, parse_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

KEPT = ("PATH", "PYTHONPATH", "TZ", "LANG", "IMAP_LOG", tries.VARIABLE)     # of our own environment
LMTP = "lmtp"


def listener_words(settings: Settings, tls: bool, port: str) -> list[str]:
    """The command line of couriertcpd for one listener."""
    address = settings.text("SSLADDRESS" if tls else "ADDRESS")
    ports = settings.text("SSLPORT") if tls else port or settings.text("PORT")
    words = ["couriertcpd", f"-address={address}", f"-maxprocs={settings.number('MAXDAEMONS')}",
             f"-maxperip={settings.number('MAXPERIP')}", *settings.text("TCPDOPTS").split()]
    if settings.text("IMAPACCESSFILE") and os.path.exists(settings.text("IMAPACCESSFILE")):
        words.append(f"-access={settings.text('IMAPACCESSFILE')}")
    if tls:
        words.append("-tls")
    return [*words, ports, "imaplogin", "imapd", settings.text("MAILDIRPATH")]


def main(words: list[str]) -> int:
    import argparse
    parser = argparse.ArgumentParser(prog="courierpy serve", description=__doc__)
    parser.add_argument("-C", dest="files", action="append", metavar="FILE", help="settings file")
    parser.add_argument("--port", help="port of the plain listener, instead of PORT")
    parser.add_argument("--lmtp", metavar="SOCKET", help="unix socket for mail, instead of LMTP_SOCKET")
    options = parser.parse_args(words)
    try:
        parse_ports(options.port or "143", None)
    except UsageError as error:
        parser.error(f"--port {options.port}: {error}")
    files = options.files or default_files()
    values = read_settings(files)
    for finding in check(values):
        if finding.kind != UNNEEDED:
            complain(str(finding))
    for finding in listeners(values):
        if finding.kind == WRONG and not (options.port and finding.name == "PORT"):
            complain(str(finding))
    images = [[*interpreter("courierpy.admin.serve"), kind, options.port or "", *files]
              for kind, start in (("plain", "IMAPDSTART"), ("tls", "IMAPDSSLSTART"))
              if Settings(values).yes(start)]
    at = options.lmtp or Settings(values).text("LMTP_SOCKET")
    if at:
        images.append([*interpreter("courierpy.admin.serve"), LMTP, os.path.abspath(at), *files])
    if not images:
        where = ", ".join(files) or "there is no file of settings"
        complain("nothing to start: IMAPDSTART and IMAPDSSLSTART are both NO, and LMTP_SOCKET is empty: one "
                 f"must be set ({where})")
        return 1
    _log_to(values)
    table = tries.make()                   # one for all listeners
    if table >= 0:
        os.environ[tries.VARIABLE] = str(table)
    if len(images) == 1:
        os.execv(images[0][0], images[0])
    return _all(images)


def _log_to(values: Mapping[str, str]) -> None:
    """A pipe that is not courierlogger's leads to somebody who adds neither time nor name."""
    if not values.get("IMAP_LOG") and stat.S_ISFIFO(os.fstat(2).st_mode) and not log.behind_logger():
        os.environ["IMAP_LOG"] = "lines"
    log.start("courierpy", {**os.environ, **values})


def run() -> None:
    """One listener: ``plain|tls PORT FILE...``, where an empty PORT is that of the settings, or ``lmtp SOCKET
    FILE...``."""
    if sys.argv[1] == LMTP:
        _run_lmtp(sys.argv[2], sys.argv[3:])
    from courierpy import tcpd
    from courierpy.listener import handover
    from courierpy.listener.renewal import REFUSED, STAYS, TRIAL
    image = [*interpreter("courierpy.admin.serve"), *sys.argv[1:]]
    kind, port, *files = sys.argv[1:]
    values: dict[str, str] = {}
    try:
        for path in files:
            values = parse_file(path, values)
    except SettingsError as error:
        before = handover.before()
        if TRIAL not in os.environ and before is None:
            log.err(str(error))
            sys.exit(1)
        log.err(f"{error}; {STAYS}")
        # without the trial: the file has been changed since
        sys.exit(REFUSED if before is None else tcpd.main(*before, image))
    umask = Settings(values).umask()
    if umask is not None:
        os.umask(umask)
    own = {name: os.environ[name] for name in (*KEPT, TRIAL) if name in os.environ}
    more = {"IMAP_TLS": "1"} if kind == "tls" else {"IMAP_STARTTLS": Settings(values).text("IMAPDSTARTTLS")}
    sys.exit(tcpd.main(listener_words(Settings(values), kind == "tls", port), {**own, **values, **more},
                       image))


def _run_lmtp(path: str, files: list[str]) -> NoReturn:
    from courierpy import lmtpserve
    own = {name: os.environ[name] for name in KEPT if name in os.environ}
    log.start("lmtpd", os.environ)
    sys.exit(lmtpserve.serve(path, files, own))


def _all(images: list[list[str]]) -> int:
    """A process for each listener; one that fails ends the others."""
    pids: list[int] = []

    def pass_on(number: int, frame: object) -> None:
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    for image in images:
        pids.append(os.posix_spawn(image[0], image, os.environ))
    status = 0
    while pids:
        pid, ended = os.wait()
        pids.remove(pid)
        if ended and not status:
            status = os.waitstatus_to_exitcode(ended) or 1
            pass_on(signal.SIGTERM, None)
    return status
