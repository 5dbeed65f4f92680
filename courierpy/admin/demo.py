"""courierpy demo DIR: an account demo/demo, its Maildir with some mail, settings to serve it."""
from __future__ import annotations

import argparse
import os
import time

from courierpy.admin import complain

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
    options = parser.parse_args(words)
    if os.path.lexists(options.folder):
        complain(f"{options.folder}: it is there already: name another folder, or remove it first")
        return 1
    make(os.path.abspath(options.folder))
    print(f"made {options.folder}: account demo, password demo")
    return 0


def make(folder: str) -> None:
    """The folder, with modes that authuserdb accepts."""
    import passlib.hash
    maildir = os.path.join(folder, "Maildir")
    for part in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(maildir, part), 0o700)
    now = int(time.time())
    for number, (sender, subject, text) in enumerate(MESSAGES):
        when = now - 3600 * (len(MESSAGES) - number)
        date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(when))
        path = os.path.join(maildir, "new", f"{when}.M{number}P1.demo")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"From: {sender}\nTo: demo@example.org\nSubject: {subject}\nDate: {date}\n"
                       f"Message-ID: <demo{number}@example.org>\nMIME-Version: 1.0\n"
                       f"Content-Type: text/plain; charset=utf-8\n\n{text}")
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
    with os.fdopen(os.open(userdb, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"demo\tuid={uid}|gid={gid}|home={folder}|imappw={secret}\n")
    with open(os.path.join(folder, "imapd"), "w", encoding="utf-8") as file:
        file.write(f"""# Settings of the demo.  All of them: etc/imapd, etc/imapd-ssl
ADDRESS=127.0.0.1
PORT=1143
MAILDIRPATH=Maildir
AUTHMODULES=authuserdb
USERDB={userdb}
IMAPDSTART=YES
IMAPDSSLSTART=NO
TCPDOPTS="-nodnslookup -noidentlookup"
""")
