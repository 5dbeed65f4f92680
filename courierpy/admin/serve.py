"""courierpy serve: the plain and the TLS listener in the foreground, as the settings say.

Each listener is a program started anew, so that nothing of this one is in its
memory; at SIGHUP it reads the settings again.
"""
from __future__ import annotations

import os
import signal
import stat
import sys
from functools import partial

from courierpy.admin import complain, default_files, read_settings
from courierpy.auth import tries
from courierpy.listener.options import UsageError, parse_ports
from courierpy.system import log, metrics, notify
from courierpy.system.findings import UNNEEDED, WRONG, check
from courierpy.system.programs import interpreter
from courierpy.system.settings import Settings, SettingsError
from courierpy.system.settingsfile import parse_file
from courierpy.system.startup import with_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

# of our own environment
KEPT = ("PATH", "PYTHONPATH", "TZ", "LANG", log.VARIABLE, log.ALIAS, tries.VARIABLE)
MTA = "mta"                            # the listener for MTAs: SOCKET..., FILES behind a --
OF_MTA = (("lmtp", "LMTP_SOCKET", "unix socket for mail, instead of LMTP_SOCKET"),
          ("smmap", "SMMAP_SOCKET", "where an MTA asks for recipients, instead of SMMAP_SOCKET: a path, or a "
                                    "port as 127.0.0.1:10027"))
NOTIFY = "notify"
POP3 = {"PORT": "110", "SSLPORT": "995", "TLS_ALPN": "pop3"}       # what a file of POP3 need not say


class Kind:
    """Of listener.  ``start``: the setting that says whether there is one; ``programs``: behind couriertcpd;
    ``sets``: a variable of these programs, and where its value is; ``tls``: from the first octet on."""

    __slots__ = ("programs", "sets", "start", "tls")

    def __init__(self, start: str, tls: bool, programs: tuple[str, str], sets: tuple[str, str]) -> None:
        self.start = start
        self.tls = tls
        self.programs = programs
        self.sets = sets


IMAP_KINDS = {"plain": Kind("IMAPDSTART", False, ("imaplogin", "imapd"), ("IMAP_STARTTLS", "IMAPDSTARTTLS")),
              "tls": Kind("IMAPDSSLSTART", True, ("imaplogin", "imapd"), ("IMAP_TLS", ""))}
POP3_KINDS = {"pop3": Kind("POP3DSTART", False, ("pop3login", "pop3d"), ("POP3_STARTTLS", "POP3_STARTTLS")),
              "pop3s": Kind("POP3DSSLSTART", True, ("pop3login", "pop3d"), ("POP3_TLS", ""))}
KINDS = IMAP_KINDS | POP3_KINDS


def listener_words(settings: Settings, kind: Kind, port: str) -> list[str]:
    """The command line of couriertcpd for one listener."""
    tls = kind.tls
    address = settings.text("SSLADDRESS" if tls else "ADDRESS")
    ports = settings.text("SSLPORT") if tls else port or settings.text("PORT")
    words = ["couriertcpd", f"-address={address}", f"-maxprocs={settings.number('MAXDAEMONS')}",
             f"-maxperip={settings.number('MAXPERIP')}", *settings.text("TCPDOPTS").split()]
    if settings.text("IMAPACCESSFILE") and os.path.exists(settings.text("IMAPACCESSFILE")):
        words.append(f"-access={settings.text('IMAPACCESSFILE')}")
    if tls:
        words.append("-tls")
    return [*words, ports, *kind.programs, settings.text("MAILDIRPATH")]


def main(words: list[str]) -> int:
    import argparse

    from courierpy.admin.config import listeners  # what it loads has hooks at a fork
    parser = argparse.ArgumentParser(prog="courierpy serve", description=__doc__)
    parser.add_argument("-C", dest="files", action="append", metavar="FILE", help="settings file")
    parser.add_argument("--port", help="port of the plain listener, instead of PORT")
    parser.add_argument("--pop3", action="store_true", help="POP3 instead of IMAP: POP3DSTART, POP3DSSLSTART")
    for name, _, text in OF_MTA:
        parser.add_argument(f"--{name}", metavar="SOCKET", action="append", default=[], help=text)
    parser.add_argument("--notify", metavar="SOCKET", help="where notifyd hears, instead of NOTIFYD_SOCKET")
    options = parser.parse_args(words)
    try:
        parse_ports(options.port or "143", None)
    except UsageError as error:
        parser.error(f"--port {options.port}: {error}")
    kinds = POP3_KINDS if options.pop3 else IMAP_KINDS
    files = options.files or (default_files("pop3d", "pop3d-ssl") if options.pop3 else default_files())
    values = {**(POP3 if options.pop3 else {}), **read_settings(files)}
    for finding in check(values):
        if finding.kind != UNNEEDED:
            complain(str(finding))
    start, start_tls = (kind.start for kind in kinds.values())
    for finding in listeners(values, start, start_tls, _starttls(kinds)):
        if finding.kind == WRONG and not (options.port and finding.name == "PORT"):
            complain(str(finding))
    images = [[*interpreter("courierpy.admin.serve"), kind, options.port or "", *files]
              for kind in kinds if Settings(values).yes(kinds[kind].start)]
    for_mta = [f"{name}={os.path.abspath(word) if name == 'lmtp' or ':' not in word else word}"
               for name, setting, _ in OF_MTA for word in getattr(options, name) or (
                   [] if options.pop3 else Settings(values).text(setting).split())]
    if for_mta:
        images.append([*interpreter("courierpy.admin.serve"), MTA, *for_mta, "--", *files])
    news = options.notify or ("" if options.pop3 else Settings(values).text("NOTIFYD_SOCKET"))
    if news:
        images.append([*interpreter("courierpy.admin.serve"), NOTIFY, os.path.abspath(news), *files])
    if not images:
        where = ", ".join(files) or "there is no file of settings"
        complain(f"nothing to start: {start} and {start_tls} are both NO" + ("" if options.pop3 else
                 ", and LMTP_SOCKET, SMMAP_SOCKET and NOTIFYD_SOCKET are empty") +
                 f": one must be set ({where})")
        return 1
    _log_to(values)
    table = tries.make()                   # one for all listeners
    if table >= 0:
        os.environ[tries.VARIABLE] = str(table)
    try:
        os.environ[metrics.READER], os.environ[metrics.VARIABLE] = metrics.pair()      # one for all, too
    except OSError as error:
        log.err(f"nothing is counted: {error.strerror}")
    if len(images) == 1:
        os.execv(images[0][0], images[0])
    return _all(images)


def _starttls(kinds: Mapping[str, Kind]) -> str:
    """The setting that offers it."""
    return next(kind.sets[1] for kind in kinds.values() if kind.sets[1])


def _log_to(values: Mapping[str, str]) -> None:
    """A pipe that is not courierlogger's leads to somebody who adds neither time nor name."""
    if not log.wanted(values) and stat.S_ISFIFO(os.fstat(2).st_mode) and not log.behind_logger():
        os.environ[log.VARIABLE] = "lines"
    log.start("courierpy", {**os.environ, **values})


def run() -> None:
    """One listener: ``KIND PORT FILE...`` of a kind of KINDS, where an empty PORT is that of the settings, or
    ``mta lmtp=SOCKET... smmap=SOCKET... -- FILE...``, or ``notify SOCKET FILE...``."""
    if sys.argv[1] == MTA:
        at = sys.argv.index("--")
        _run_mta(sys.argv[2:at], sys.argv[at + 1:])
    if sys.argv[1] == NOTIFY:
        _run_notify(sys.argv[2], sys.argv[3:])
    from courierpy import tcpd
    from courierpy.listener import handover, sockets
    from courierpy.listener.renewal import REFUSED, STAYS, TRIAL
    sockets.inherit_from(os.getppid())
    image = [*interpreter("courierpy.admin.serve"), *sys.argv[1:]]
    word, port, *files = sys.argv[1:]
    kind = KINDS[word]
    values: dict[str, str] = dict(POP3) if word in POP3_KINDS else {}
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
    own = _kept(*KEPT, TRIAL)
    variable, source = kind.sets
    more = {variable: Settings(values).text(source) if source else "1"}
    sys.exit(tcpd.main(listener_words(Settings(values), kind, port), {**own, **values, **more}, image))


def _run_mta(words: list[str], files: list[str]) -> NoReturn:
    from courierpy import mtaserve
    sockets = {name: [word.removeprefix(f"{name}=") for word in words if word.startswith(f"{name}=")]
               for name, _, _ in OF_MTA}
    log.start("lmtpd" if sockets["lmtp"] else "smmapd", os.environ)
    sys.exit(mtaserve.serve(mtaserve.Wanted(sockets["lmtp"], sockets["smmap"]), files, _kept(*KEPT)))


def _run_notify(path: str, files: list[str]) -> NoReturn:
    from courierpy import notifyserve
    log.start("notifyd", os.environ)
    sys.exit(notifyserve.serve(path, partial(with_files, files, _kept(*KEPT))))


def _kept(*names: str) -> dict[str, str]:
    """These variables, those that there are."""
    return {name: os.environ[name] for name in names if name in os.environ}


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
    told = None
    if notify.VARIABLE in os.environ:
        from courierpy.admin.notified import Sum
        told = Sum()
    environ = dict(os.environ if told is None else told.environ)
    for image in images:
        pids.append(os.posix_spawn(image[0], image, environ))
        environ.pop(metrics.READER, None)          # the first one starts who reads
    status = 0
    while pids:
        pid, ended = os.wait() if told is None else told.wait(pids)
        pids.remove(pid)
        if ended and not status:
            status = os.waitstatus_to_exitcode(ended) or 1
            pass_on(signal.SIGTERM, None)
    return status
