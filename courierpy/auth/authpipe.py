"""A program of the administrator's that speaks authdaemond's protocol on its pipes.

AUTHPIPE names it (default /etc/courier/authProg).  It is started for the
request; that it ends without an answer is a temporary failure.
"""
from __future__ import annotations

import os
import subprocess
from functools import partial
from signal import SIGKILL

from courierpy.auth import DELIVERY, Account, Rejected, Request, TemporaryFailure
from courierpy.auth.protocol import parse_reply, render_request, whole
from courierpy.system.proc import die_with

DEFAULT = "/etc/courier/authProg"


def lookup(request: Request) -> Account:
    program = request.environ.get("AUTHPIPE") or DEFAULT
    if not os.access(program, os.X_OK):
        if request.service == DELIVERY and request.environ.get("AUTHPIPE"):
            raise TemporaryFailure(f"{program}: no program that can be run")   # else good mail would go back
        raise Rejected                      # the module is off
    data = render_request(request)
    try:
        with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                              preexec_fn=partial(die_with, os.getpid(), SIGKILL)) as child:  # noqa: PLW1509
            assert child.stdin is not None and child.stdout is not None
            try:
                child.stdin.write(data)
            except BrokenPipeError:
                pass                        # it answers whatever it is asked
            reply = b""
            while not whole(reply):
                piece = os.read(child.stdout.fileno(), 65536)
                if not piece:
                    break
                reply += piece
            child.stdin.close()
            child.kill()
    except OSError as error:
        raise TemporaryFailure(f"{program}: {error.strerror}") from None
    return parse_reply(reply)
