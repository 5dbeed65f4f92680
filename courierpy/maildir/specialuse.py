"""Which mailbox is for what: the special uses of RFC 6154.

A use that a client gave is a file in the mailbox's directory, so that it moves and goes with
it, whoever renames or removes that.  For a use that nobody gave, a mailbox has it by its
name, as the table says.  Each use is that of one mailbox: that which it was given last, else that
whose name stands first in the table.  Where nobody ever gave one, no mailbox is looked into.
"""
from __future__ import annotations

import os
import time

from courierpy.maildir.files import replace, sync_directory
from courierpy.model.namespaces import INBOX
from courierpy.model.numbers import decimal
from courierpy.system.regular import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from courierpy.maildir.store import Store

# In a mailbox: when it was given its uses, in nanoseconds since 1970, and these, one a line.  In the root of
# the Maildir: some mailbox has such a file.
FILE = "courierpy-specialuse"
MAX_OCTETS = 4096                  # of the file
# Those of RFC 6154 that are no views of other mailboxes, and those of draft-ietf-mailmaint-imap-keywords.
USES = (b"\\Archive", b"\\Drafts", b"\\Junk", b"\\Sent", b"\\Trash", b"\\Memos", b"\\Scheduled", b"\\Snoozed")

# Names that mail programs and people give, the most likely first; compared without regard to case.
NAMES: dict[bytes, tuple[str, ...]] = {
    b"\\Drafts": (
        "Drafts", "Draft", "Entwürfe", "Brouillons", "Borradores", "Bozze", "Rascunhos", "Concepten",
        "Utkast", "Kladder", "Luonnokset", "Szkice", "Wersje robocze", "Koncepty", "Rozepsané", "Piszkozatok",
        "Ciorne", "Taslaklar", "Черновики", "Чернетки", "Πρόχειρα",
        "下書き", "草稿", "草稿箱", "임시 보관함"),
    b"\\Sent": (
        "Sent", "Sent Items", "Sent Messages", "Sent Mail", "Sent-Mail", "Gesendet", "Gesendete Objekte",
        "Gesendete Elemente", "Gesendete Nachrichten", "Envoyés", "Éléments envoyés", "Messages envoyés",
        "Enviados", "Elementos enviados", "Mensajes enviados", "Itens enviados", "Inviati", "Posta inviata",
        "Verzonden", "Verzonden items", "Verzonden berichten", "Skickat", "Skickade", "Sendt", "Sendte",
        "Sendt post", "Lähetetyt", "Wysłane", "Odeslané", "Odeslaná pošta", "Elküldött", "Trimise",
        "Gönderilmiş", "Отправленные", "Надіслані", "Απεσταλμένα",
        "送信済み", "已发送", "已发送邮件", "보낸 편지함"),
    b"\\Trash": (
        "Trash", "Deleted Items", "Deleted Messages", "Deleted", "Bin", "Papierkorb", "Gelöscht",
        "Gelöschte Objekte", "Gelöschte Elemente", "Corbeille", "Éléments supprimés", "Papelera",
        "Eliminados", "Elementos eliminados", "Cestino", "Posta eliminata", "Lixeira", "Lixo",
        "Itens excluídos", "Prullenbak", "Prullenmand", "Verwijderde items", "Papperskorgen", "Papirkurv",
        "Roskakori", "Kosz", "Koš", "Odstraněná pošta", "Kuka", "Coș de gunoi", "Çöp", "Корзина", "Кошик",
        "Κάδος", "ごみ箱", "已删除", "已删除邮件", "휴지통"),
    b"\\Junk": (
        "Junk", "Spam", "Junk Email", "Junk E-mail", "Junk Mail", "Bulk Mail", "Junk-E-Mail", "Spamverdacht",
        "Unerwünscht", "Indésirables", "Courrier indésirable", "Pourriel", "Correo no deseado",
        "No deseado", "Posta indesiderata", "Lixo eletrônico", "Lixo Eletrónico", "Ongewenste e-mail",
        "Ongewenst", "Skräppost", "Skräp", "Uønsket mail", "Søppelpost", "Roskaposti", "Wiadomości-śmieci",
        "Nevyžádaná pošta", "Levélszemét", "İstenmeyen", "Спам", "迷惑メール", "垃圾邮件", "스팸"),
    b"\\Archive": (
        "Archive", "Archives", "Archived", "Archiv", "Archivo", "Archivio", "Arquivo", "Archief", "Arkiv",
        "Arkisto", "Archiwum", "Archívum", "Arhivă", "Arşiv", "Архив", "Архів", "アーカイブ", "存档", "보관"),
}


def given(store: Store, names: Iterable[str]) -> tuple[dict[bytes, str], set[str]]:
    """(use -> the mailbox, of ``names``, that a client gave it last; all those of which a client said what
    they are for, if only that they are for nothing)."""
    if not os.path.exists(os.path.join(store.root, FILE)):
        return {}, set()
    spoken = set()
    found: dict[bytes, tuple[int, str]] = {}
    for name in names:
        when, own = _read(store.path_of(name)) if name != INBOX else (0, ())
        if when:
            spoken.add(name)
        for use in own:
            if use not in found or when > found[use][0]:
                found[use] = when, name
    return {use: name for use, (_, name) in found.items()}, spoken


def _read(directory: str) -> tuple[int, Sequence[bytes]]:
    """(when the uses were given, in nanoseconds; the uses); none for a file that is not there or is none."""
    try:
        when, *lines = whole(os.path.join(directory, FILE), MAX_OCTETS).split(b"\n")
    except OSError:
        return 0, ()
    return decimal(when) or 0, [use for use in USES if use in lines]


def uses(store: Store, names: Sequence[str],
         table: Mapping[bytes, Sequence[str]]) -> dict[str, list[bytes]]:
    """Mailbox -> its uses, in order.  ``names``: of all mailboxes there are.  ``table``: as NAMES."""
    owners, taken = given(store, names)
    if not owners and not taken:
        return _by_name(store, names, table)
    return _found(owners, [row for row in _at_the_top(store, names) if row[0] not in taken], table)


def _by_name(store: Store, names: Sequence[str],
             table: Mapping[bytes, Sequence[str]]) -> dict[str, list[bytes]]:
    """The uses that mailboxes have by their names, which are mostly the same as the last time."""
    personal = store.namespaces.personal
    asked = [*names], personal.prefix, personal.separator, table
    if store.used[0] != asked:
        store.used = asked, _found({}, _at_the_top(store, names), table)
    return store.used[1]


def _found(owners: dict[bytes, str], those: Iterable[tuple[str, str]],
           table: Mapping[bytes, Sequence[str]]) -> dict[str, list[bytes]]:
    """As uses().  ``owners``: use -> mailbox, of which a client said it; ``those``: the others that may have
    one, as of _at_the_top()."""
    top: dict[str, str] = {}
    alike: dict[str, str] = {}
    for name, path in those:
        top.setdefault(path, name)
        alike.setdefault(path.casefold(), name)
    for use, spellings in table.items():
        if use not in owners:
            for spelling in spellings:
                owner = top.get(spelling) or alike.get(spelling.casefold())
                if owner is not None:
                    owners[use] = owner
                    break
    found: dict[str, list[bytes]] = {}
    for use in USES:
        if use in owners:
            found.setdefault(owners[use], []).append(use)
    return found


def _at_the_top(store: Store, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Mailboxes at the top or directly below INBOX: (name, last level)."""
    personal = store.namespaces.personal
    separator = personal.separator
    starts = tuple(dict.fromkeys((INBOX + separator, personal.prefix)))
    for name in names:
        for start in starts:
            if name.startswith(start):
                path = name[len(start):]
                if name != INBOX and separator not in path:
                    yield name, path
                break


def give(store: Store, name: str, wanted: Sequence[bytes]) -> None:
    """The mailbox has these uses from now on, and no other mailbox has them.  Raises a store error."""
    directory = store.path_of(name)
    if not os.path.exists(os.path.join(store.root, FILE)):
        _write(store, store.root, store.layout.scratch, b"")
    lines = b"".join([b"%s\n" % use for use in wanted])
    _write(store, directory, os.path.join(directory, "tmp"), b"%d\n%s" % (time.time_ns(), lines))


def _write(store: Store, directory: str, scratch: str, data: bytes) -> None:
    options = store.options
    replace(os.path.join(directory, FILE), data, scratch, options.host, "specialuse", options.sync)
    if options.sync:
        sync_directory(directory)


def table_of(text: str, trash: str) -> dict[bytes, Sequence[str]]:
    """What IMAP_SPECIALUSE says: ``Sent=Versandt,Ausgang;Junk=Müll`` names come before those of NAMES,
    a use without names has none; ``none``: no mailbox has a use by its name.  ``trash``: the trash folder.
    Raises ValueError."""
    table: dict[bytes, Sequence[str]] = {}
    if text.strip().lower() != "none":
        table = {**NAMES, b"\\Trash": (trash, *NAMES[b"\\Trash"])}
        known = {use[1:].decode().lower(): use for use in USES}
        for part in filter(None, map(str.strip, text.split(";"))):
            word, equals, names = part.partition("=")
            use = known.get(word.strip().lower().removeprefix("\\"))
            if use is None or not equals:
                raise ValueError(f"use=name,name is expected, not {part}")
            own = [name.strip() for name in names.split(",") if name.strip()]
            table[use] = (*own, *table.get(use, ())) if own else ()
    return table
