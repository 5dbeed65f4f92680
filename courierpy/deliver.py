"""deliver: bring the message on standard input into a Maildir, for an MTA that starts a program.

``deliver ann bob`` delivers as LMTP would (lmtp/transaction.py), to accounts that the modules know; without
a user, as in a ``.forward``, to the Maildir of who calls it.  The exit status is what an MTA understands
(sysexits.h): what is in doubt, and what nobody thought of, is EX_TEMPFAIL, so that the message comes again.
"""
from __future__ import annotations

import os
import sys

USAGE = """
Usage: deliver [-C FILE]... [-r ADDRESS] [-m MAILBOX] [-q] [USER...]
       deliver -l [-C FILE]...

Deliver the message on standard input to each USER, or without one to the
Maildir of who calls it: $MAILDIR, else MAILDIRPATH in the home directory.

  -C FILE         settings, instead of /etc/courier/imapd and imapd-ssl
  -r, -f ADDRESS  the sender, for Return-Path; "" or <> for none
  -m MAILBOX      into this mailbox; of a USER it goes to INBOX where that is not
                  there or takes no mail, without a USER nobody gets it then
  -q              even if there is no room by the quota
  -l              take mail by LMTP on standard input and output, as lmtpd
  -a USER         who posts it: may need the right p on the mailbox; else anyone
  -t ID, -d       accepted
  -h, --help      tell this
  -V, --version   tell the version

Exit status: 0 delivered, 64 wrong words, 67 no such user, 77 no room by the
quota or no such mailbox, 75 anything else: try again.  In a .forward:
"|/usr/local/bin/deliver"
"""


def run() -> None:
    """The ``deliver`` command.  Whatever happens, the MTA keeps the message unless we have it."""
    status = os.EX_TEMPFAIL
    try:
        import signal
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _told)
        status = main(sys.argv, dict(os.environ))
    except BaseException as error:     # of an import too: the installation may be half there
        if not isinstance(error, SystemExit) or error.code != os.EX_TEMPFAIL:
            os.write(2, f"deliver: {type(error).__name__}: {error}\n".encode("utf-8", "replace"))
    os._exit(status)


def _told(number: int, frame: object) -> None:
    sys.exit(os.EX_TEMPFAIL)


def main(argv: list[str], environ: dict[str, str]) -> int:
    """Gives the exit status."""
    from courierpy import delivering
    from courierpy.system import about
    status = about.told(argv, USAGE)
    return delivering.main(argv[1:], environ) if status is None else status


if __name__ == "__main__":
    run()
