"""THREAD and UID THREAD.  RFC 5256 BASE.6.4.THREAD.

REFS was never an RFC.  It is what other servers do by that name: the trees of REFERENCES, without a look at
subjects, in the order of the latest message of each.  "Latest" goes by the sent date, as in REFERENCES.
"""
from __future__ import annotations

from array import array

from courierpy.imap.attributes import NUL
from courierpy.imap.commands import NUMBERS, SELECTED, USES_SEQ, Done, command
from courierpy.imap.commands.ordered import allowed, sent, take_program
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines
from courierpy.imap.grammar.searchkeys import uses_numbers
from courierpy.imap.search import run
from courierpy.maildir.index import threadshape
from courierpy.message import collation, threads
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from courierpy.imap.attributes import Attributes
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session

ALGORITHMS = (b"ORDEREDSUBJECT", b"REFERENCES", b"REFS")


def _told(session: Session, algorithm: bytes, seqs: Sequence[int], by_uid: bool) -> Iterable[bytes]:
    """The text of the threads of these messages, in pieces.  How all of a mailbox hang together is kept."""
    selected = session.need_selected()
    attributes, uids = selected.attributes(session.limits), selected.view.uids
    chosen = uids if len(seqs) == len(uids) else array("I", [uids[seq - 1] for seq in seqs])
    numbers = chosen if by_uid else seqs
    attributes.begin()
    if chosen is not uids or collation.kind("subject") != "subject":
        return threads.render(_threads(attributes, algorithm, chosen, numbers))
    index, name = selected.folder.index, algorithm.decode().lower()
    uidvalidity = selected.snapshot.uidvalidity
    shape = threadshape.read(index, name, uidvalidity, uids)
    if shape is None:
        forms, rows = [], array("I")
        for form, some in threads.shapes(_threads(attributes, algorithm, uids, range(len(uids)))):
            forms.append(form)
            rows.extend(some)
        shape = threadshape.Shape(b"".join(forms), rows)
        if attributes.lasting:
            threadshape.write(index, name, uidvalidity, uids, shape)
    return shape.told(numbers)


def _threads(attributes: Attributes, algorithm: bytes, chosen: array[int],
             names: Sequence[int]) -> Iterable[object]:
    """The threads of these messages, as nested lists of their ``names``, which are numbers and ascend."""
    subjects, ids = attributes.take([collation.kind("subject"), "ids"], chosen)
    dates = sent(attributes, chosen)
    attributes.refuse(denied=False)
    if attributes.lost:
        kept = [at for at, uid in enumerate(chosen) if uid not in attributes.lost]
        names, dates = [names[at] for at in kept], [dates[at] for at in kept]
        subjects, ids = [subjects[at] for at in kept], [ids[at] for at in kept]
    keys = [subject[1:] for subject in subjects if subject is not None]
    if algorithm == b"ORDEREDSUBJECT":
        return threads.ordered_subject([threads.Mail(name, date, key.decode("utf-8", "surrogatepass"))
                                        for name, date, key in zip(names, dates, keys, strict=True)])
    replies = [subject[:1] == b"R" for subject in subjects if subject is not None]
    words = [value.split(NUL) for value in ids if value is not None]
    owns, refs = [own[0] or None for own in words], [own[1:] for own in words]
    if algorithm == b"REFS":
        return threads.by_latest(names, dates, owns, refs)
    return threads.by_references(names, dates, keys, replies, owns, refs)


def thread(session: Session, args: Args) -> Done:
    args.sp()
    algorithm = args.word()
    if algorithm not in ALGORITHMS:
        raise Bad("Unknown thread algorithm.")
    args.sp()
    program = take_program(session, args)
    allowed(session)

    seqs = run(session, program)
    told = _told(session, algorithm, seqs, args.command == b"UID THREAD")
    session.write_long(lines.long_data(b"THREAD", told))
    return Done("THREAD done.", uses_seq=uses_numbers(program))


command(b"THREAD", when=SELECTED, flags=USES_SEQ | NUMBERS, rights="r")(thread)
command(b"UID THREAD", when=SELECTED, rights="r")(thread)

EXTENSION = Extension(*[b"THREAD=" + algorithm for algorithm in ALGORITHMS], off="IMAP_DISABLETHREADSORT")
