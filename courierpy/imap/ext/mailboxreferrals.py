"""MAILBOX-REFERRALS.  RFC 2193: mailboxes of others at other servers, which the administrator lists
(IMAP_REMOTE_MAILBOXES): RLIST and RLSUB tell them, and whoever names one is told where it is.

A line of the file is ``host[ host...]<TAB>mailbox``, the preferred host first, each with a port or without;
the mailbox has the same name there, ``#shared.`` or ``shared.`` at its beginning.  ``#`` begins a line that
is none.  What is here too is here.  A host that is this one is passed over: nobody is sent in a circle.
"""
from __future__ import annotations

import os

from courierpy.imap.commands import ANY, command
from courierpy.imap.commands.cmd_list import maybe, tell, tell_subscribed
from courierpy.imap.ext import Extension
from courierpy.imap.listing import Listing
from courierpy.model.accountoptions import option
from courierpy.model.namespaces import SHARED_PREFIXES
from courierpy.model.numbers import decimal
from courierpy.model.regex import later
from courierpy.model.replies import No
from courierpy.model.strings import percent
from courierpy.system import log
from courierpy.system.regular import whole
from courierpy.system.seldom import due

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session

SETTING = "IMAP_REMOTE_MAILBOXES"
_HOST = later(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
# what no client can be told in a name: controls, and octets that are no UTF-8
_ODD = later("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@command(b"RLIST", when=ANY)
def list_all(session: Session, args: Args) -> str:
    """RFC 2193 5.1."""
    reference, pattern = _pattern(args)
    tell(Listing(session), reference, [] if pattern is None else [pattern], [Listing.add_remote])
    return "RLIST completed"


@command(b"RLSUB", when=ANY)
def list_all_subscribed(session: Session, args: Args) -> str:
    """RFC 2193 5.2."""
    tell_subscribed(session, *_pattern(args), hidden=())
    return "RLSUB completed"


def _pattern(args: Args) -> tuple[str | None, str | None]:
    args.sp()
    reference = maybe(args.reference)
    args.sp()
    pattern = maybe(args.list_mailbox)
    args.end()
    return reference, pattern


def _here(session: Session) -> str:
    """What this host is called."""
    return session.settings.text("PROXY_HOSTNAME") or os.uname().nodename


def _listed(session: Session) -> dict[str, list[str]]:
    """Mailbox -> its hosts, as the file says."""
    path = session.settings.text(SETTING) + option(session.settings.values.get("OPTIONS", ""), "sharedgroup")
    try:
        data = whole(path)
    except OSError as error:
        _tell(path, error.strerror or str(error))
        return {}
    found: dict[str, list[str]] = {}
    here = _here(session).lower()
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        hosts, _, name = line.rstrip("\r").partition("\t")
        words = hosts.split()
        if not words or not all(map(_is_host, words)) or not name.startswith(SHARED_PREFIXES) \
                or _ODD.search(name) or not all(name.partition(".")[2].split(session.separator)):
            _tell(f"{path}:{number}", "no host, tab, mailbox that begins with #shared. or shared.")
            continue
        elsewhere = [host for host in words if host.lower() != here]
        if elsewhere:
            found[name] = elsewhere
    return found


def _is_host(word: str) -> bool:
    match = _HOST.fullmatch(word)
    return match is not None and (match[1] is None or bool(decimal(match[1], 65535)))


def _tell(where: str, why: str) -> None:
    if due(f"{SETTING}: {where}"):
        log.err(f"{SETTING}: {where}: {why}")


def _remote(session: Session) -> list[str]:
    return [name for name in _listed(session) if not session.folders.exists(name)]


def _on_absent(session: Session, names: Sequence[str]) -> No | None:
    """A referral; of a command with two names one of both.  RFC 2193 4.1, 4.3."""
    listed = _listed(session)
    remote = [name for name in names if name in listed and not session.folders.exists(name)]
    if not remote:
        return None
    user = percent(session.settings.values.get("AUTHENTICATED", ""))
    places = [(host, remote[0]) for host in listed[remote[0]]] if len(names) == 1 else \
        [(listed[name][0] if name in remote else _here(session), name) for name in names]
    urls = [b"imap://%s;AUTH=*@%s/%s" % (user, host.encode(), percent(name)) for host, name in places]
    return No(f"Remote mailbox. Try {listed[remote[0]][0]}.", b"REFERRAL " + b" ".join(urls))


EXTENSION = Extension(b"MAILBOX-REFERRALS", off=f"!{SETTING}", remote={b"": _remote},
                      on_absent={b"": _on_absent})
