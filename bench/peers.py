"""Starts and stops the servers that are compared, each on a loopback port of its own.

A peer that is not installed, or that this user may not start, is left out and
says why.  Nothing of this machine's configuration is used or changed: Dovecot
gets its own, and Courier's programs, which know their files by fixed names, see
ours there because they run in a mount namespace.
"""
from __future__ import annotations

import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import venv

from bench import corpus, procs
from bench.client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PASSWORD = "secret"
HASH = "$1$lablab$BLb20GUlY9imG3u1FCK4s."              # md5-crypt of PASSWORD; all servers check the same
UID = 61000                                            # of the first account, when we are root
MEMORY = "/dev/shm"                                    # a tmpfs, as a host has for /run, and not each lab
START = 20.0                                           # seconds until a server must listen
SETTINGS = {                                           # of courierpy and Courier alike
    "ADDRESS": "127.0.0.1", "MAXDAEMONS": "600", "MAXPERIP": "600",
    "TCPDOPTS": "-nodnslookup -noidentlookup", "IMAP_ENHANCEDIDLE": "1", "IMAP_KEYWORDS": "1",
    "IMAP_IDLE_TIMEOUT": "60", "IMAP_USELOCKS": "1", "IMAP_UMASK": "022", "IMAP_TRASHFOLDERNAME": "Trash",
    "IMAP_EMPTYTRASH": "Trash:7", "IMAP_MAILBOX_SANITY_CHECK": "1", "MAILDIRPATH": "Maildir",
    "IMAPDSTART": "YES"}


class Missing(Exception):
    """The server cannot run here; str() says why."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One server.  ``accounts``: name -> (uid, gid), all with PASSWORD."""

    name = ""
    prefix = b""                   # of a folder below INBOX, on the wire
    derived: tuple[str, ...] = ()  # in a folder, what the server can make again: globs
    version = ""

    def __init__(self, folder: str, accounts: dict[str, tuple[int, int]]) -> None:
        self.folder = os.path.join(folder, self.name)
        self.accounts = accounts
        self.port = free_port()
        self.started: list[subprocess.Popen[bytes]] = []

    def check(self) -> None:
        """Raises Missing."""

    def start(self) -> None:
        raise NotImplementedError

    def start_secure(self, port: int, place: str, pem: str, **more: str) -> None:
        """The same accounts behind TLS on another port, with processes of their own.  ``place``: an empty
        folder for their files; ``pem``: certificate and key; ``more``: settings of courierpy."""
        raise NotImplementedError

    def lmtp(self) -> str:
        """The unix socket at which it takes mail; it is started when it is asked for first."""
        raise LookupError(f"{self.name} takes no mail by LMTP")

    def home(self, account: str) -> str:
        return os.path.join(self.folder, account)

    def maildir(self, account: str) -> str:
        return os.path.join(self.home(account), "Maildir")

    def owner(self, account: str) -> tuple[int, int] | None:
        """None when we are not root and all files are ours anyway."""
        return None if os.getuid() else self.accounts[account]

    def prepare(self) -> None:
        for account in self.accounts:
            os.makedirs(self.home(account), 0o755)
            corpus.give(self.home(account), self.owner(account))

    def userdb(self) -> str:
        return "".join(f"{name}\tuid={uid}|gid={gid}|home={self.home(name)}|shell=/bin/sh|"
                       f"imappw={HASH}|systempw={HASH}\n" for name, (uid, gid) in self.accounts.items())

    def run(self, words: list[str], environ: dict[str, str]) -> subprocess.Popen[bytes]:
        with open(os.path.join(self.folder, "log"), "ab") as log:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                       start_new_session=True, env={
                                           "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                                           "TZ": "UTC", "LANG": "C.UTF-8", **environ})
        self.started.append(process)
        return process

    def wait(self) -> None:
        """Until it greets.  Raises Missing with the end of its log."""
        end = time.monotonic() + START
        while True:
            try:
                Client(self.port).logout()
                return
            except OSError as error:
                dead = [process for process in self.started if process.poll() is not None]
                if dead or time.monotonic() > end:
                    raise Missing(f"did not start ({error}): {self.last_words()}") from None
                time.sleep(0.05)

    def last_words(self) -> str:
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()[-2000:].strip()

    def roots(self) -> list[int]:
        return [process.pid for process in self.started]

    def login(self, account: str) -> Client:
        return Client(self.port).login(account, PASSWORD)

    def stop(self) -> None:
        """Every process that this server started, by its id."""
        self.stop_from(0)

    def stop_from(self, first: int) -> None:
        """All but the first so many of ``started``."""
        ending = self.started[first:]
        roots = [process.pid for process in ending]
        family = procs.family(roots) + (procs.apart(roots) if not first else [])
        for process in reversed(ending):
            process.terminate()
        for process in reversed(ending):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        end = time.monotonic() + 5
        while (left := [pid for pid in family if os.path.exists(f"/proc/{pid}")]) and time.monotonic() < end:
            time.sleep(0.05)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        del self.started[first:]


class Courierpy(Server):
    """The package as it is in ``source``, from a copy: what is edited meanwhile does not count."""

    name = "courierpy"
    prefix = b"INBOX."
    derived = ("courierpyindex", "courierimapuiddb")

    def __init__(self, folder: str, accounts: dict[str, tuple[int, int]], source: str) -> None:
        super().__init__(folder, accounts)
        self.revision = revision(source)
        self.library = os.path.join(folder, f"library-{self.name}")
        shutil.copytree(os.path.join(source, "courierpy"), os.path.join(self.library, "courierpy"),
                        ignore=shutil.ignore_patterns("__pycache__"))
        for compiled in glob.glob(os.path.join(glob.escape(source), "*__mypyc*.so")):      # in place
            shutil.copy(compiled, self.library)
        self.run_folder = ""
        # as an installer leaves it
        subprocess.run([sys.executable, "-m", "compileall", "-q", self.library], check=True)

    def environ(self) -> dict[str, str]:
        return {"PYTHONPATH": self.library, "PATH": os.environ["PATH"]}

    def installed(self) -> str:
        """An interpreter with the package where an installer puts it, and with nothing else:
        ours may have it as developers do, with a finder that is slow to load."""
        place = os.path.join(self.folder, "installed")
        if not os.path.exists(place):
            venv.create(place, symlinks=True)
            (packages,) = glob.glob(os.path.join(place, "lib", "python*", "site-packages"))
            os.symlink(os.path.join(self.library, "courierpy"), os.path.join(packages, "courierpy"))
        return os.path.join(place, "bin", "python")

    def start(self) -> None:
        path = os.path.join(self.folder, "userdb")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(self.userdb())
        if os.path.isdir(MEMORY):
            self.run_folder = tempfile.mkdtemp(prefix="courierpy-bench-", dir=MEMORY)
            os.chmod(self.run_folder, 0o755)
        self.serve(self.folder, PORT=str(self.port), IMAPDSSLSTART="NO")
        self.wait()
        with open(os.path.join(self.library, "courierpy", "__init__.py"), encoding="utf-8") as file:
            number = file.read().partition('__version__ = "')[2].partition('"')[0]
        self.version = f"{number} ({self.revision})" if self.revision else number

    def stop(self) -> None:
        super().stop()
        if self.run_folder:
            shutil.rmtree(self.run_folder, ignore_errors=True)

    def lmtp(self) -> str:
        place = os.path.join(self.folder, "delivery")
        path = os.path.join(place, "lmtp")
        if not os.path.exists(place):
            os.makedirs(place)
            self.serve(place, IMAPDSTART="NO", IMAPDSSLSTART="NO", LMTP_SOCKET=path)
        return path

    def serve(self, place: str, **settings: str) -> None:
        path = os.path.join(place, "imapd")
        with open(path, "w", encoding="utf-8") as file:
            for name, value in {**SETTINGS, "USERDB": os.path.join(self.folder, "userdb"),
                                "AUTHMODULES": "authuserdb",
                                **({"RUNDIRECTORY": self.run_folder} if self.run_folder else {}),
                                **settings}.items():
                file.write(f'{name}="{value}"\n')
        self.run([sys.executable, "-c", "from courierpy.admin import run; run()", "serve", "-C", path],
                 self.environ())

    def start_secure(self, port: int, place: str, pem: str, **more: str) -> None:
        self.serve(place, **{"IMAPDSTART": "NO", "IMAPDSSLSTART": "YES", "SSLADDRESS": "127.0.0.1",
                             "SSLPORT": str(port), "TLS_CERTFILE": pem, "MAXDAEMONS": "20000",
                             "MAXPERIP": "20000", "IMAP_LOGIN_PROCESSES": "2", **more})


class Before(Courierpy):
    """Another state of the package, which is measured by turns with this one."""

    name = "before"


class Courier(Server):
    """The real one: couriertcpd, imaplogin, imapd, authdaemond with a userdb."""

    name = "courier"
    prefix = b"INBOX."
    derived = ("courierimapuiddb", "courierimapkeywords")
    tcpd = "/usr/sbin/couriertcpd"
    imaplogin = "/usr/lib/courier/courier/imaplogin"
    imapd = "/usr/bin/imapd"
    couriertls = "/usr/bin/couriertls"
    authdaemond = "/usr/lib/courier/courier-authlib/authdaemond"

    def check(self) -> None:
        for path in (self.tcpd, self.imaplogin, self.imapd, self.authdaemond):
            if not os.path.exists(path):
                raise Missing("not installed")
        if os.getuid():
            raise Missing("needs root")
        if subprocess.run(["unshare", "-m", "mount", "--bind", self.folder, "/etc/courier"],
                          check=False, capture_output=True).returncode:
            raise Missing("needs a mount namespace for its fixed file names")

    def start(self) -> None:
        etc, var = os.path.join(self.folder, "etc"), os.path.join(self.folder, "var")
        for path in (etc, var):
            os.makedirs(path)
            shutil.chown(path, "courier", "courier")
        with os.fdopen(os.open(os.path.join(etc, "userdb"), os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(self.userdb())
        with open(os.path.join(etc, "authdaemonrc"), "w", encoding="utf-8") as file:
            file.write('authmodulelist="authuserdb"\nauthmodulelistorig="authuserdb"\ndaemons=5\n'
                       'authdaemonvar=/run/courier/authdaemon\nDEBUG_LOGIN=0\nDEFAULTOPTIONS=""\nLOGGEROPTS=""\n')
        with open("/etc/passwd", encoding="utf-8") as system, \
                open(os.path.join(self.folder, "passwd"), "w", encoding="utf-8") as file:
            file.write(system.read())              # gamin, which watches for imapd, wants names of users
            for uid, gid in sorted(set(self.accounts.values())):
                file.write(f"courierpybench{uid}:x:{uid}:{gid}::/:/bin/false\n")
        self.inside(f"makeuserdb; set -a; . /etc/courier/authdaemonrc; exec {self.authdaemond}", {})
        end = time.monotonic() + START
        while not os.path.exists(os.path.join(var, "socket")):
            if time.monotonic() > end:
                raise Missing("authdaemond did not start: " + self.last_words())
            time.sleep(0.05)
        self.listen(self.port, "", {})
        self.wait()
        self.version = package_version("courier-imap")

    def listen(self, port: int, before: str, more: dict[str, str]) -> None:
        """``before``: a program that the login follows, with its arguments."""
        environ = {**SETTINGS, "IMAP_STARTTLS": "NO", "IMAP_CAPABILITY": "IMAP4rev1 UIDPLUS CHILDREN "
                   "NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE", **more}
        self.inside(f"exec {self.tcpd} -address=127.0.0.1 -maxprocs=600 -maxperip=600 -maxperc=600 "
                    f"-nodnslookup -noidentlookup {port} {before} {self.imaplogin} {self.imapd} Maildir",
                    environ)

    def start_secure(self, port: int, place: str, pem: str, **more: str) -> None:
        self.listen(port, f"{self.couriertls} -server -tcpd", {"TLS_CERTFILE": pem, "IMAP_TLS": "1"})

    def inside(self, command: str, environ: dict[str, str]) -> None:
        mounts = "".join(f"mount --bind {self.folder}/{name} {place} && " for name, place in (
            ("etc", "/etc/courier"), ("passwd", "/etc/passwd"), ("var", "/run/courier/authdaemon")))
        self.run(["unshare", "-m", "sh", "-c", f"{mounts} {{ {command}; }}"], environ)


class Dovecot(Server):
    """Its own configuration where nothing is said here."""

    name = "dovecot"
    derived = ("dovecot.index*", "dovecot-uidlist", "dovecot.list.index*", "dovecot.mailbox.log*")
    program = "/usr/sbin/dovecot"

    def check(self) -> None:
        if not os.path.exists(self.program) or not os.path.exists("/usr/lib/dovecot/imap"):
            raise Missing("not installed")
        if os.getuid():
            raise Missing("needs root")

    def config(self) -> str:
        return os.path.join(self.folder, "dovecot.conf")

    def start(self) -> None:
        with open(os.path.join(self.folder, "passwd"), "w", encoding="utf-8") as file:
            for name, (uid, gid) in self.accounts.items():
                # what is loaded by all would be in the memory of all
                more = "userdb_mail_plugins=zlib,imap_zlib" if name.startswith("squeezed") else ""
                file.write(f"{name}:{{MD5-CRYPT}}{HASH}:{uid}:{gid}::{self.home(name)}::{more}\n")
        self.serve(self.folder, self.port, 0, "ssl = no\n")
        self.wait()
        said = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=False)
        self.version = said.stdout.split()[0] if said.stdout else ""

    def start_secure(self, port: int, place: str, pem: str, **more: str) -> None:
        self.serve(place, 0, port, f"""ssl = yes
ssl_cert = <{pem}
ssl_key = <{pem}
service imap {{
  process_limit = 4000
}}
service imap-login {{
  process_limit = 4000
}}
""")

    def lmtp(self) -> str:
        place = os.path.join(self.folder, "delivery")
        if not os.path.exists("/usr/lib/dovecot/lmtp"):
            raise LookupError("Dovecot's lmtp is not installed")
        if not os.path.exists(place):
            os.makedirs(place)
            self.serve(place, 0, 0, "ssl = no\n", "lmtp")
        return os.path.join(place, "run", "lmtp")

    def serve(self, place: str, port: int, tls_port: int, more: str, protocols: str = "imap") -> None:
        """A port that is 0 is none."""
        config = os.path.join(place, "dovecot.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"""base_dir = {place}/run
state_dir = {place}/state
instance_name = bench{protocols}{tls_port}
protocols = {protocols}
listen = 127.0.0.1
mail_location = maildir:~/Maildir
{more}disable_plaintext_auth = no
log_path = {self.folder}/log
mail_max_userip_connections = 4000
default_client_limit = 4000
default_process_limit = 1000
default_vsz_limit = 2G
passdb {{
  driver = passwd-file
  args = {self.folder}/passwd
}}
userdb {{
  driver = passwd-file
  args = {self.folder}/passwd
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
""")
        self.run([self.program, "-F", "-c", config], {})


def revision(source: str) -> str:
    """Of the package in a checkout; marked when it was edited since.  Empty elsewhere."""
    words = []
    for command in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "--", "courierpy"]):
        try:
            words.append(subprocess.run(["git", *command], capture_output=True, text=True, check=False,
                                        cwd=source).stdout.strip())
        except OSError:
            return ""
    return words[0] + ", edited since" * bool(words[1])


def package_version(package: str) -> str:
    """By Debian's package list; empty elsewhere."""
    try:
        return subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True,
                              text=True, check=False).stdout.strip()
    except OSError:
        return ""


def accounts(names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """One user id for all but those that are idle: there a limit of the kernel counts by user."""
    if os.getuid():
        return {name: (os.getuid(), os.getgid()) for name in names}
    return {name: (UID + 1 + int(name[4:].partition("-")[0]),) * 2 if name.startswith("idle") else (UID, UID)
            for name in names}
