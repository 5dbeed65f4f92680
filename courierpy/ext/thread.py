"""THREAD and UID THREAD.  RFC 5256 BASE.6.4.THREAD."""
from __future__ import annotations

from courierpy.commands import SELECTED, USES_SEQ, command
from courierpy.commands.cmd_fetch import Subject
from courierpy.commands.cmd_search import run
from courierpy.errors import Bad
from courierpy.ext import Extension
from courierpy.ext.sort import allowed, sent, take_program
from courierpy.maildir.errors import Vanished
from courierpy.message import threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.session import Session
    from courierpy.wire.args import Args

ALGORITHMS = {b"ORDEREDSUBJECT": threads.ordered_subject, b"REFERENCES": threads.references}


def _mail(subject: Subject) -> threads.Mail:
    header = subject.header
    base, reply = header.base_subject()
    own = threads.message_ids(b" ".join(header.header(b"message-id")[:1]))
    refs = threads.message_ids(b" ".join(header.header(b"references")))
    if not refs:
        refs = threads.message_ids(b" ".join(header.header(b"in-reply-to")))[:1]
    return threads.Mail(subject.seq, sent(subject), base, reply, own[0] if own else None, refs)


def thread(session: Session, args: Args) -> str:
    args.sp()
    algorithm = ALGORITHMS.get(args.word())
    if algorithm is None:
        raise Bad("Unknown thread algorithm.")
    args.sp()
    program = take_program(args)
    allowed(session)

    mails = []
    for seq in run(session, program):
        try:
            mails.append(_mail(Subject(session, seq)))
        except Vanished:
            continue
    names = None
    if args.command == b"UID THREAD":
        uids = session.need_selected().view.uids
        names = {mail.number: uids[mail.number - 1] for mail in mails}
    told = threads.render(algorithm(mails), names)
    session.write(b"* THREAD %s\r\n" % told if told else b"* THREAD\r\n")
    return "THREAD done."


command(b"THREAD", when=SELECTED, flags=USES_SEQ)(thread)
command(b"UID THREAD", when=SELECTED)(thread)

EXTENSION = Extension(b"THREAD=ORDEREDSUBJECT", b"THREAD=REFERENCES", commands=(b"THREAD", b"UID THREAD"))
