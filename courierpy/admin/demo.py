"""courierpy demo DIR: an account demo/demo with some mail, settings and a certificate to serve it.

With --serve it is served at once, in the foreground; one that is there already is served as it is.
"""
from __future__ import annotations

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import time

from courierpy.admin import complain, mkcert, port_number

MESSAGES = (
    ("Ada Lovelace <ada@example.org>", "Notes on the engine",
     "Dear friend,\n\nthe engine weaves algebraic patterns just as the loom weaves flowers.\n\nAda\n"),
    ("Charles Babbage <charles@example.org>", "Re: Notes on the engine",
     "Dear Ada,\n\nI shall have the drawings copied by Thursday.\n\nC. B.\n"),
    ("=?utf-8?Q?Ren=C3=A9?= <rene@example.net>", "=?utf-8?Q?Caf=C3=A9_at_noon=3F?=",
     "Shall we meet at the usual place?\n"),
    ("The Library <desk@library.example.com>", "A book that you asked for is here",
     "It is kept for you until Saturday.\n"),
)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy demo", description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--serve", action="store_true", help="make it if it is not there, and serve it")
    parser.add_argument("--port", type=port_number, default=1143, help="with --serve: the port on 127.0.0.1")
    options = parser.parse_args(words)
    if not options.folder:
        complain("the name of a folder was expected, as demo: name one")
        return 1
    if options.serve:
        return serve(options.folder, options.port)
    if os.path.lexists(options.folder):
        complain(f"{options.folder}: it is there already: name another folder, or remove it first")
        return 1
    make(os.path.abspath(options.folder))
    print(f"made {options.folder}: account demo, password demo")
    return 0


def message(ident: str, when: int, sender: str, subject: str, text: str) -> str:
    """A message to the demo account.  ``when``: seconds since 1970."""
    date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(when))
    return (f"From: {sender}\nTo: demo@example.org\nSubject: {subject}\nDate: {date}\n"
            f"Message-ID: <{ident}@example.org>\nMIME-Version: 1.0\n"
            f"Content-Type: text/plain; charset=utf-8\n\n{text}")


def make(folder: str) -> None:
    """The folder, with modes that authuserdb accepts."""
    import passlib.hash
    maildir = os.path.join(folder, "Maildir")
    for part in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(maildir, part), 0o700)
    now = int(time.time())
    for number, (sender, subject, text) in enumerate(MESSAGES):
        when = now - 3600 * (len(MESSAGES) - number)
        path = os.path.join(maildir, "new", f"{when}.M{number}P1.demo")
        with open(path, "w", encoding="utf-8") as file:
            file.write(message(f"demo{number}", when, sender, subject, text))
        os.utime(path, (when, when))
    secret = passlib.hash.md5_crypt.hash("demo")
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        # root's mail is not served as root: the account is nobody's
        import pwd
        uid, gid = pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid
        for top, directories, files in os.walk(folder):
            for name in (".", *directories, *files):
                os.lchown(os.path.join(top, name), uid, gid)
    userdb = os.path.join(folder, "userdb")
    tls = _certificate(folder)
    with os.fdopen(os.open(userdb, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"demo\tuid={uid}|gid={gid}|home={folder}|systempw={secret}\n")
    with open(os.path.join(folder, "imapd"), "w", encoding="utf-8") as file:
        file.write(f"""# Settings of the demo.  All of them: etc/imapd, etc/imapd-ssl
ADDRESS=127.0.0.1
PORT=1143
MAILDIRPATH=Maildir
AUTHMODULES=authuserdb
USERDB="{userdb}"
IMAPDSTART=YES
IMAPDSSLSTART=NO
{tls}
TCPDOPTS="-nodnslookup -noidentlookup"
""")


def _certificate(folder: str) -> str:
    """The settings of STARTTLS, with a certificate of its own; without it where there is no openssl(1)."""
    path = os.path.join(folder, "imapd.pem")
    try:
        mkcert.make(path, "localhost")
    except (OSError, subprocess.CalledProcessError) as error:
        complain(f"the demo has no TLS, openssl made no certificate: {error}")
        return "IMAPDSTARTTLS=NO"
    return f'IMAPDSTARTTLS=YES\nTLS_CERTFILE="{path}"'


# -- serving it

def serve(folder: str, port: int) -> int:
    """Until ctrl-C or the listener's end; the exit status."""
    why = _refused(port)
    if why:
        other = port + 1000 if 24 <= port <= 64535 else 1143
        complain(f"port {port} of 127.0.0.1 {why}: take another one, "
                 f"make serve PORT={other} or --port {other}")
        return 1
    folder = reachable(os.path.abspath(folder))
    if not os.path.lexists(folder):
        print(f"making {folder}: account demo, password demo, some mail, settings, a certificate")
        make(folder)
    settings = os.path.join(folder, "imapd")
    if not os.path.isfile(settings):
        complain(f"{settings}: no settings: {folder} is no demo; name another folder, or remove it")
        return 1
    listener = subprocess.Popen([sys.executable, "-m", "courierpy", "serve", "-C", settings,
                                 "--port", str(port)])

    def pass_on(number: int, frame: object) -> None:
        listener.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    while listener.poll() is None and not _greets(port):
        time.sleep(0.05)
    if listener.poll() is None:
        print(f"""listening on 127.0.0.1 port {port}.  Account demo, password demo.  Reach it with
  curl imap://127.0.0.1:{port}/INBOX -u demo:demo -X 'FETCH 1:* (FLAGS ENVELOPE)'
  mutt -f imap://demo@127.0.0.1:{port}/INBOX        (its certificate is its own: accept it once, "o")
ctrl-C ends the server; rm -r {shlex.quote(folder)} removes the demo.""", flush=True)
    return listener.wait()


def _greets(port: int) -> bool:
    """Is a client served there?  That the port is taken does not say so: the listener may still fail."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            return client.recv(1) == b"*"
    except OSError:
        return False


def _refused(port: int) -> str:
    """Why nobody could listen there now; "" where one can."""
    import errno
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return ("is taken by another program" if error.errno == errno.EADDRINUSE else
                    "is root's alone, as all below 1024 are" if error.errno == errno.EACCES else
                    f"cannot be had: {error.strerror}")
    return ""


def reachable(folder: str) -> str:
    """The folder, or one below /var/tmp where root's demo, whose account is nobody, could not be reached."""
    if os.getuid() or os.path.lexists(folder):
        return folder
    above = os.path.dirname(folder)
    while above != "/":
        if not os.stat(above).st_mode & 0o001:
            other = os.path.join("/var/tmp", "courierpy-demo")
            print(f"{above} lets in none but its owner, and the account of root's demo is nobody's: "
                  f"the demo is {other} instead")
            return other
        above = os.path.dirname(above)
    return folder
