"""couriertcpd on a socket that is bound already, for tests: FOLDER KIND DESCRIPTOR PARENT CAPABILITY...

KIND is a row of KINDS, or LMTP, whose listener makes its socket itself; the capabilities are those that it
lacks.  It ends with PARENT.
"""
from __future__ import annotations

import os
import signal
import sys

from courierpy.testing import lacking, places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

FIRST = 3                      # the descriptor where systemd, and we, put a listening socket
KEPT = ("PATH", "TZ", "LANG", "TMPDIR")

# A kind of listener: its kind in admin/serve.py.  A protocol that is added gets its rows here, and its ports
# in Server and Account.
KINDS = {"imap": "plain", "imaps": "tls", "pop3": "pop3", "pop3s": "pop3s"}
LMTP = "lmtp"
TLS_KINDS = ("imaps", "pop3s")


def values_of(folder: str, words: list[str]) -> dict[str, str]:
    """The settings, less these capabilities.  Raises SettingsError."""
    from courierpy.system.settingsfile import parse_file
    values = parse_file(places.settings_file(folder), {})
    return values | lacking.settings(words, values.get("IMAP_CAPABILITY", "")) if words else values


def run() -> None:
    from courierpy import tcpd
    from courierpy.admin import serve
    from courierpy.system.proc import die_with
    from courierpy.system.programs import interpreter
    from courierpy.system.settings import Settings
    image = [*interpreter("courierpy.testing.listener"), *sys.argv[1:]]
    folder, kind, descriptor, parent, *words = sys.argv[1:]
    die_with(int(parent), signal.SIGTERM)
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    if kind == LMTP:
        _serve_lmtp(folder, kept)
    values = values_of(folder, words)
    lacking.withdraw(words)
    _put_first(int(descriptor))
    served = serve.KINDS[KINDS[kind]]
    values = (serve.POP3 if KINDS[kind] in serve.POP3_KINDS else {}) | values
    variable, source = served.sets
    values[variable] = Settings(values).text(source) if source else "1"
    environ = kept | values
    told = Settings({**values, "PORT": "143", "SSLPORT": "993"})       # the socket is bound elsewhere
    sys.exit(tcpd.main(serve.listener_words(told, served, ""), environ, image))


def _serve_lmtp(folder: str, own: dict[str, str]) -> NoReturn:
    from courierpy import mtaserve
    from courierpy.system import log
    log.start("lmtpd", values_of(folder, []))
    sys.exit(mtaserve.serve(mtaserve.Wanted(lmtp=[places.lmtp(folder)]), [places.settings_file(folder)], own))


def _put_first(descriptor: int) -> None:
    """The socket is where a listener looks for those that it inherits."""
    if descriptor != FIRST:
        os.dup2(descriptor, FIRST)
        os.close(descriptor)
    os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"] = str(os.getpid()), "1"
