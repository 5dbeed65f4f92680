"""courierpy maildirwatch MAILDIR COMMAND...: runs the command at once, and whenever the Maildir changes.

It ends when the command fails, and prints its exit status, as Courier's maildirwatch does.  The command may
run without need: for what it changes itself, too.
"""
from __future__ import annotations

import argparse
import os
import subprocess

from courierpy.admin import complain
from courierpy.maildir.formats.keywordlist import DIRECTORY
from courierpy.maildir.watch import Heard, Refused, Watch

POLL = 60.0                        # seconds, beside what is heard: another host's changes are not


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy maildirwatch",
                                     description="Run a command whenever a Maildir changes.")
    parser.add_argument("maildir", metavar="MAILDIR")
    parser.add_argument("command", metavar="COMMAND")
    parser.add_argument("words", metavar="WORD", nargs=argparse.REMAINDER)
    options = parser.parse_args(words)
    try:
        watch = Watch(options.maildir, os.path.join(options.maildir, DIRECTORY))
    except Refused as why:
        complain(f"{options.maildir}: cannot be watched: {why}", parser.prog)
        return 1
    try:
        while True:
            watch.hear(Heard())        # before the command looks
            status = subprocess.run([options.command, *options.words], check=False).returncode
            if status:
                print(status)
                return 0
            watch.wait(POLL)
    finally:
        watch.close()
