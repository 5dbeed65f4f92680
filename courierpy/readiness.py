"""What must be in order before couriertcpd takes connections, at its start and before it reads settings anew.

Modules that check passwords, rules by address, certificates, and a session that it holds with itself.
"""
from __future__ import annotations

import signal

from courierpy import doorway
from courierpy.auth import configured, is_module
from courierpy.listener import access
from courierpy.listener.options import UsageError
from courierpy.listener.renewal import STAYS
from courierpy.system import log, notify
from courierpy.system.proc import elsewhere
from courierpy.system.seldom import due
from courierpy.system.settings import from_environ
from courierpy.system.starttls import starttls_offered
from courierpy.system.tls import TlsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from courierpy.listener.options import Options

LOAD_AGAIN = 0.5               # seconds


class Readiness:
    """What couriertcpd tries before connections come.

    ``in_process``: sessions go on in forks of this process.  ``apart``: what comes before the login is
    done by login processes.  ``protocol``: of the program that logs in.  ``rules``: by address, once
    loaded."""

    def __init__(self, options: Options, environ: Mapping[str, str], in_process: bool, apart: bool,
                 protocol: str) -> None:
        self.options = options
        self.environ = environ
        self.in_process = in_process
        self.apart = apart
        self.protocol = protocol
        self.rules: dict[str, str] = {}

    def check_modules(self, arguments: list[str]) -> None:
        """UsageError for a module that can let nobody in; what keeps tokens out, or all of a module's as long
        as something outside is as it is, is logged.  What is loaded to see is not loaded here.
        ``arguments``: of the program that logs in."""
        words = [word for word in arguments if is_module(word)]
        modules = words or configured(self.environ)

        def look() -> bytes:
            from courierpy.auth import sound
            return "\0".join("\n".join(lines) for lines in (
                sound.wrong(modules, self.environ), sound.tokens_wrong(self.environ),
                sound.odd(modules, self.environ))).encode("utf-8", "surrogateescape")

        told = (elsewhere(look)() or b"\0\0").decode("utf-8", "surrogateescape")
        found, tokens, odd = (part.split("\n") if part else [] for part in told.split("\0"))
        for line in odd:
            log.warn(line)
        if found:
            raise UsageError("; ".join(found))
        for line in tokens:
            log.err(line)

    def rehearse(self, trying: bool) -> bool:
        """False: the program starts, but its sessions do not work; the log says how.  ``trying``: other
        settings are in force meanwhile."""
        if self.in_process:
            from courierpy import rehearsal
            try:
                rehearsal.rehearse(self.environ, self.apart, self.protocol)
            except OSError as error:
                log.warn(f"no rehearsal of a session: {error}")
            except rehearsal.Failed as error:
                if trying:
                    log.err(f"rehearsal of a session: {error}; {STAYS}")
                else:
                    log.crit(f"rehearsal of a session: {error}")
                return False
        return True

    def load(self, renewed: bool) -> bool:
        """Rules, certificates and, for connections in this process, the program.  AccessError, TlsError.

        ``renewed``: a trial found them sound a moment ago.  What was broken since then is waited
        for, and connections wait meanwhile: to end would end the sessions.  False: told to stop.
        """
        while True:
            try:
                self._load_files()
                break
            except (TlsError, access.AccessError) as error:
                if not renewed:
                    raise
                if due("load"):
                    log.crit(f"{error}; connections wait until that is mended")
                notify.tell(notify.WATCHDOG)           # it hangs by intent
                if signal.sigtimedwait((signal.SIGTERM, signal.SIGINT), LOAD_AGAIN) is not None:
                    return False
        if self.in_process:
            from courierpy import preload, rehearsal
            # what a short session uses is loaded first, and so lies together: see rehearsal.py
            rehearsal.load(self.environ, self.apart, self.protocol)
            preload.preload(self.apart, self.protocol, bool(self.environ.get("SMAP_CAPABILITY")),
                            from_environ(self.environ).flag(f"{self.protocol}_PROXY"))
            rehearsal.gather(self.environ, self.apart, self.protocol)
        return True

    def _load_files(self) -> None:
        path = self.options.text.get("access")
        self.rules = access.load(path) if path else {}
        settings = from_environ(self.environ)
        if "tls" in self.options.switches or (self.in_process and starttls_offered(settings, False)):
            if self.apart:
                doorway.look_at_certificates(settings)
            else:
                from courierpy.system import tls
                tls.load(settings)
