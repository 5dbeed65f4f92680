"""NOTIFY.  RFC 5465: the client says which events of which mailboxes it hears of, all the time.

What is asked is a ``Wish``: groups of events, each for some mailboxes.  What happens in the selected
mailbox goes through ``Notifier.chosen`` (and is told between two commands too), what happens in the
others is told by STATUS and LIST.  NOTIFY NONE is a wish for nothing.
"""
from __future__ import annotations

from courierpy.imap import ext
from courierpy.imap.commands import ANY, command
from courierpy.imap.ext import Extension
from courierpy.imap.fetch import ITEMS
from courierpy.imap.grammar import fetchitems
from courierpy.imap.mailboxes import take
from courierpy.imap.notifier import METADATA, NOTIFY, Notifier
from courierpy.imap.wishes import MESSAGE_EVENTS, Group, Wish
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.fetchitems import FetchItem
    from courierpy.imap.session import Session

EVENTS = {name.upper(): name for name in (b"MessageNew", b"MessageExpunge", b"FlagChange", b"MailboxName",
                                          b"SubscriptionChange")}
ANNOTATED = {name.upper(): name for name in (b"MailboxMetadataChange", b"ServerMetadataChange")}
SELECTED = (b"SELECTED", b"SELECTED-DELAYED")
MAILBOXES = (*SELECTED, b"PERSONAL", b"INBOXES", b"SUBSCRIBED", b"SUBTREE", b"MAILBOXES")
MAX_GROUPS = 100


@command(b"NOTIFY", when=ANY)
def notify(session: Session, args: Args) -> str:
    args.sp()
    word = args.word()
    if word == b"NONE":
        args.end()
        _install(session, Notifier(session, Wish()))
        return "NOTIFY completed"
    if word != b"SET":
        raise Bad("NOTIFY is SET or NONE.")
    args.sp()
    status = not args.at(b"(")
    if status:
        if args.word() != b"STATUS":
            raise Bad("NOTIFY SET has STATUS, or groups of events.")
        args.sp()
    unknown: list[bytes] = []
    groups = [_group(args, unknown)]
    while args.more():
        groups.append(_group(args, unknown))
        if len(groups) > MAX_GROUPS:
            raise Bad("Too many groups of events.")
    args.end()
    wish = _wish(groups)
    if unknown:
        raise No("There is no such event.", b"BADEVENT (%s)" % b" ".join(_supported().values()))

    session.tell(expunges=True)        # RFC 5465 3.1: as NOOP does
    notifier = Notifier(session, wish)
    notifier.begin(status)
    _install(session, notifier)
    return "NOTIFY completed"


def _supported() -> dict[bytes, bytes]:
    """The events that there are, as they are spelled."""
    return EVENTS if ext.find("enable", METADATA) is None else EVENTS | ANNOTATED


def _install(session: Session, notifier: Notifier) -> None:
    if session.between is not None:
        session.between.close()
    session.between = notifier


def _group(args: Args, unknown: list[bytes]) -> Group:
    args.open()
    args.maybe_sp()
    mailboxes = take(args, MAILBOXES)
    args.sp()
    events: dict[bytes, list[FetchItem]] = {}
    if args.at(b"("):
        args.open()
        args.maybe_sp()
        _events(args, events, unknown)
        args.close()
    elif not _none(args):
        _events(args, events, unknown)         # as the examples of RFC 5465 3.1 are written
    args.close()
    return Group(mailboxes.word, mailboxes.names, frozenset(events), events.get(b"MESSAGENEW", []))


def _none(args: Args) -> bool:
    if args.rest_text()[:4].upper() == b"NONE":
        args.word()
        return True
    return False


def _events(args: Args, events: dict[bytes, list[FetchItem]], unknown: list[bytes]) -> None:
    while True:
        word = args.word()
        if word in events:
            raise Bad("An event is named twice.")
        if word not in _supported():
            unknown.append(word)
        events[word] = []
        if not args.maybe_sp():
            return
        if args.at(b"("):
            if word != b"MESSAGENEW":
                raise Bad("Only MessageNew has items.")
            events[word] = fetchitems.parse(args, ITEMS.find)
            if not args.maybe_sp():
                return
        if args.at(b")"):
            return


def _wish(groups: list[Group]) -> Wish:
    """Raises Bad for what does not go together.  RFC 5465 5, 6.1."""
    seen = [(group.kind, tuple(sorted(group.names))) for group in groups]
    chosen = [group for group in groups if group.kind in SELECTED]
    if len(chosen) > 1 or len(set(seen)) < len(seen):
        raise Bad("The same mailboxes are selected twice.")
    for group in groups:
        asked = group.events & MESSAGE_EVENTS
        if asked and not asked >= {b"MESSAGENEW", b"MESSAGEEXPUNGE"}:
            raise Bad("MessageNew and MessageExpunge belong together, and to the other events of messages.")
        if group.kind in SELECTED and (group.events - MESSAGE_EVENTS) & _supported().keys():
            raise Bad("Only events of messages can be had of the selected mailbox.")
        if group.kind not in SELECTED and group.items:
            raise Bad("Items can be had of the selected mailbox only.")
    return Wish(chosen[0] if chosen else None, [group for group in groups if group.kind not in SELECTED])


def _wake(session: Session, octets: bytes) -> None:
    session.between = Notifier.again(session, octets)


EXTENSION = Extension(NOTIFY, woken={NOTIFY: _wake})
