"""Extensions: one record each, plugged into the tables of the centre.

The centre asks ``find(table, key)`` and knows no extension by name.  Which
extension answers is plain data (``index.py``), so that its file is loaded only
when somebody uses it.
"""
from __future__ import annotations

import sys

from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session

    Table = Mapping[bytes, Any]

TABLES = ("append_data", "append_literals", "attributes", "create_params", "disposals", "enable",
          "entering", "fetch_besides", "fetch_items", "fetch_modifiers", "kept", "list_options",
          "list_returns", "manners", "message_sets", "metadata_checks", "metadata_entries", "news",
          "on_absent", "on_copied", "on_list", "on_name", "on_open", "on_plain", "on_pulse", "on_rights",
          "on_selected", "on_updates", "remote", "search_keys", "search_returns", "select_params",
          "sort_keys", "sort_returns", "status_items", "store_modifiers", "tagged_code", "woken")


class Extension:
    """What one extension adds: its capabilities, and what it puts into the tables of the centre.

    ``names``: its tokens of CAPABILITY (its RFC stands in the file's docstring).  ``off``: a setting that
    takes them back where it is set, behind an exclamation mark where it is not, or one for each of some
    tokens.  ``value``: a setting whose number is told behind an equals sign, unless it is 0, or a word and
    in braces a setting whose text is told behind it; a token that ends in an equals sign is told only then.
    ``withheld``: why they are told only where IMAP_CAPABILITY names them, "" where they are told.
    ``tables``: by their names, key -> what the centre finds there:

    ``enable``: token of ENABLE -> function (session), called once.  RFC 5161.
    ``select_params``: parameter -> parser giving a function (session, selected), called when the mailbox
    is open, that gives further reply lines.  RFC 4466 2.1.
    ``on_open``: token of ENABLE -> function (session, Mailbox), called before the mailbox is looked at.
    ``on_selected``: token of ENABLE -> such a function, where that is enabled; b"" -> one for all clients.
    ``on_plain``: token of ENABLE -> such a function, where that is not enabled.
    ``attributes``: kind -> (whether the header is enough, function (Message) giving bytes): what
    ``Attributes`` keeps of a message.  Where other values are to follow from the same message, the kind
    gets another name.
    ``append_data``: word -> function (args, appending.Mail) that reads what stands behind it, up to where the
    frame ends, and gives the message its pieces.  RFC 4466 2.7.
    ``append_literals``: b"~" -> function (Draft) that makes of a literal8 what can be stored.
    ``fetch_items``: item -> ``fetch.Item``.  RFC 9051 6.4.5.
    ``fetch_modifiers``: modifier -> parser giving a ``fetch.Modifier``.  RFC 4466 2.4.
    ``fetch_besides``: token of ENABLE -> function (session) giving items that each FETCH tells then.
    ``kept``: key of ``Session.kept`` -> function (session, value), called where a session that slept goes on;
    with b"" where what was kept is over.
    ``store_modifiers``: modifier -> parser giving a ``cmd_store.Condition``.  RFC 4466 2.5.
    ``search_keys``: key -> ``search.SearchKey``.  RFC 9051 6.4.4.
    ``search_returns``: result option -> ``returns.SearchReturn``.  RFC 4731.
    ``manners``: token of ENABLE -> function (Manners) that changes how the client is spoken to.
    ``message_sets``: what may stand in the place of numbers -> function (session) giving the UIDs that it
    means there, as UidSet.  RFC 5182 3.
    ``metadata_checks``: level of the account's entries, in small letters and with the slash at its end ->
    function (session, value) that raises No for a value that an entry right below it may not have.
    ``metadata_entries``: entry of mailboxes, in small letters -> (function (session, mailbox name) giving its
    value or None, function (session, mailbox name, value or None) giving what sets it or raising No), where
    an extension keeps it in its own way.  RFC 5464.
    ``news``: token of ENABLE -> function (session), called behind each command and while the client idles,
    that tells what is news beyond the selected mailbox.
    ``sort_keys``: criterion -> function (ordered.Sorting, UIDs) giving a value for each, by which they are
    ordered.  RFC 5256.
    ``sort_returns``: b"RETURN" -> function (args) that gives the result options before the criteria, as
    those of SEARCH.  RFC 5267 3.1.
    ``status_items``: item -> function (session, mailbox name, Status) giving bytes.  RFC 4466 2.3.
    ``list_options``: selection option -> parser giving a function (Listing) that changes what is listed.
    RFC 5258 3.1.
    ``list_returns``: return option -> parser giving a function (Listing) that adds to what is told.
    RFC 5258 3.2.
    ``on_list``: any word -> such a function, called for every LIST and LSUB.
    ``on_name``: token of ENABLE -> function (session, args, name), called when a command has been done on
    the mailbox ``name``, that gives further reply lines; ``args.spelled``: its names as they were sent.
    ``create_params``: parameter -> parser giving a function (mailbox name), called when the mailbox is
    there.  RFC 4466 2.2.
    ``disposals``: b"" -> function (session, count, function (path, new path or b"")) giving the
    ``disposal.Disposal`` of so many messages of the selected mailbox that are expunged, or None where they
    just go.
    ``entering``: b"" -> function (session, Mailbox, functions that open the files of messages, how many they
    are, Amount of the quota that goes for them or None, function) giving what the last one gives, which
    brings these messages into the mailbox.
    ``on_absent``: b"" -> function (session, names of mailboxes), called where a command that names them is
    refused since one is not here, that gives the No with which it is answered instead, or None.
    ``on_copied``: b"" -> function (session, UIDs), called when messages of the selected mailbox are copied.
    ``tagged_code``: command -> function of what it brought about, giving the code of its tagged OK.
    RFC 9051 7.1.
    ``on_pulse``: any word -> function (session, tag, what is done, what all of it is) giving a line that is
    told while a command takes long; done is -1 where that is not known.
    ``on_rights``: b"" -> function (Selected) giving further reply lines where a mailbox whose rights are in a
    list is selected, and where these change.
    ``on_updates``: token of ENABLE -> function (session, list of Update) giving the list that is told.
    ``remote``: b"" -> function (session) giving the names of mailboxes that are at other servers, not here.
    ``woken``: what the packed() of an object names -> function (session, octets) that makes it again of the
    octets, where a session that slept goes on.  Raises ValueError.

    A parser takes (session, args), and of ``args`` what stands behind its word, the blank included.

    A table may be a function that gives it, where its values need modules that those of the others do not.
    """

    __slots__ = ("names", "off", "tables", "value", "withheld")

    def __init__(self, *names: bytes, off: str | Mapping[bytes, str] = "", value: str = "",
                 withheld: str = "", **tables: Table | Callable[[], Table]) -> None:
        unknown = tables.keys() - set(TABLES)
        if unknown:
            raise TypeError(f"no such tables: {', '.join(sorted(unknown))}")
        self.names = names
        self.off = dict.fromkeys(names, off) if isinstance(off, str) else off
        self.value = value
        self.withheld = withheld
        self.tables = tables

    def table(self, name: str) -> Table:
        """What it puts into the table of that name."""
        found = self.tables.get(name, {})
        if callable(found):
            found = self.tables[name] = found()
        return found


def keys(table: str) -> Mapping[bytes, str]:
    """What is plugged into ``table``: key -> name of the extension's file."""
    from courierpy.imap.ext.index import PLUGGED
    return PLUGGED[table]


def find(table: str, key: bytes) -> Any:
    """What an extension put into ``table`` under ``key``, or None; None too where its file was taken out."""
    module = keys(table).get(key)
    if module is None:
        return None
    try:
        return load(module).table(table)[key]
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{module}":
            raise
        return None


def load(module: str) -> Extension:
    """The record of the extension in ``ext/<module>.py``."""
    name = f"{__name__}.{module}"
    found: Any = sys.modules.get(name)             # most are asked for again and again
    if found is None:
        __import__(name)               # what importlib has besides, sessions do without
        found = sys.modules[name]
    record: Extension = found.EXTENSION
    return record


def parameters(table: str, session: Session, args: Args, maybe_none: bool = False) -> list[Any]:
    """What the parameters in parentheses at this place say, each parsed by the extension that knows
    its word; in the client's order, None for those that ask for nothing.  ``maybe_none``: the
    parentheses may be empty.  RFC 4466 2.1.  Raises Bad."""
    found = []
    args.open()
    args.maybe_sp()
    while not (maybe_none and args.at(b")")):
        word = args.word()
        parse = find(table, word)
        if parse is None:
            raise Bad(f"Unknown parameter {word.decode('ascii', 'replace')[:40]}.")
        found.append(parse(session, args))
        if not args.maybe_sp() or args.at(b")"):
            break
    args.close()
    return found


def tagged_code(command: bytes, *what: Any) -> bytes | None:
    """The response code of a command's tagged OK, of what it brought about; None where no
    extension gives one."""
    code = find("tagged_code", command)
    found: bytes | None = None if code is None else code(*what)
    return found
