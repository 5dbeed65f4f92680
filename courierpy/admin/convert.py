"""courierpy convert: a Maildir from Dovecot to Courier's files, or back.

The files of the side that is left stay as they are until those of the other side
are complete, and the one with the UIDs is written last: whenever this ends early,
it can be run again.
"""
from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import nullcontext

from courierpy.admin import complain, explain
from courierpy.admin.owner import inside
from courierpy.maildir import names
from courierpy.maildir.errors import NameInvalid, StoreError, trouble
from courierpy.maildir.files import remove, replace, sync_directory
from courierpy.maildir.formats import dovecot, pop3list, pop3uidls, uiddb
from courierpy.maildir.formats.dovecot import Dotlock, Uidlist
from courierpy.maildir.layout import CHOICES, Nested
from courierpy.maildir.locks import FolderLock
from courierpy.maildir.store import Store
from courierpy.maildir.subscriptions import FILE as SUBSCRIBED
from courierpy.model.namespaces import INBOX
from courierpy.system.regular import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractContextManager

NEW = b"../new/"                   # before the name of a message that is not in cur/
READINGS = 6                       # of cur/, while it changes
GRAIN = 0.02                       # seconds: a younger change need not show in the directory's time
TRIES = 10                         # for a file whose name a session changes at the same time


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy convert", description=__doc__.partition("\n")[0])
    side = parser.add_mutually_exclusive_group(required=True)
    side.add_argument("--from", dest="source", choices=["dovecot"], help="take over what Dovecot left")
    side.add_argument("--to", dest="target", choices=["dovecot"], help="write Dovecot's files")
    parser.add_argument("--replace", action="store_true",
                        help="also where the other side has numbers of its own: they are replaced")
    parser.add_argument("--utf8", action="store_true",
                        help='Dovecot\'s mail_location says ":UTF-8": names of folders stay as they are')
    parser.add_argument("--uidl", metavar="FORMAT", default=pop3uidls.DOVECOT,
                        type=pop3uidls.uidl_format,
                        help="Dovecot's pop3_uidl_format, where its settings have one")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.add_argument("--layout", choices=CHOICES, default="auto",
                        help="where mailboxes lie, as IMAP_LAYOUT says it")
    parser.add_argument("maildirs", nargs="+", metavar="MAILDIR")
    options = parser.parse_args(words)
    failed = False
    for maildir in options.maildirs:
        try:
            with inside(maildir, options.layout):
                conversion = Conversion(options.replace, options.utf8, options.dry_run, options.layout,
                                        options.uidl)
                if options.source:
                    conversion.from_dovecot()
                else:
                    conversion.to_dovecot()
                failed = failed or conversion.failed
        except (OSError, StoreError) as error:
            complain(explain(error, maildir) if isinstance(error, OSError) else str(error))
            failed = True
    return 1 if failed else 0


class Conversion:
    """Of the Maildir in the working directory.  ``failed``: something was left undone."""

    def __init__(self, overrule: bool, utf8: bool, dry: bool, choice: str,
                 uidl: pop3uidls.Format) -> None:
        self.overrule = overrule
        self.dry = dry
        self.uidl = uidl
        self.failed = False
        self.tree = Store(".", choice=choice)
        self.layout = self.tree.layout
        # where mailboxes lie in each other both have the same names
        self.utf8 = utf8 or isinstance(self.layout, Nested)

    def _say(self, name: str, text: str) -> None:
        coding = sys.stdout.encoding or "ascii"
        line = f"{'would be: ' if self.dry else ''}{name}: {text}"
        print(line.encode(coding, "backslashreplace").decode(coding))

    def _fail(self, name: str, text: str) -> None:
        self._say(name, text)
        self.failed = True

    def _each(self, convert: Callable[[str, str], None]) -> None:
        """Each folder; trouble with one does not keep the others from it."""
        for name in self.tree.names():
            try:
                convert(name, self.tree.path_of(name))
            except StoreError as error:
                self._fail(name, str(error))

    def _locked(self, path: str) -> AbstractContextManager[object]:
        return FolderLock(path, self.tree.options.host, not self.dry)

    def _dotlocked(self, path: str, scratch: str = "") -> AbstractContextManager[object]:
        return nullcontext() if self.dry else Dotlock(path, scratch)

    def _write(self, path: str, data: bytes, folder: str = "") -> None:
        """``folder``: the one that the file belongs to, without one the whole Maildir."""
        tmp = os.path.join(folder, "tmp") if folder else self.layout.scratch
        replace(path, data, tmp, self.tree.options.host, "convert", sync=True)

    def _rename_folder(self, entry: bytes, convert: Callable[[bytes], bytes]) -> None:
        new = b"." + convert(entry[1:])
        if self.utf8 or entry == b"." or new == entry:
            return
        shown = os.fsdecode(entry)
        if os.path.lexists(new):
            self._fail(shown, f"not renamed: there is a {os.fsdecode(new)} already")
            return
        if not self.dry:
            try:
                os.rename(entry, new)
                sync_directory(".")
            except OSError as error:
                self._fail(shown, str(trouble(new, error)))
                return
        self._say(shown, f"renamed to {os.fsdecode(new)}")

    # -- from Dovecot

    def from_dovecot(self) -> None:
        for entry in [] if self.utf8 else sorted(os.listdir(b".")):
            if names.is_folder_entry(entry) and os.path.isdir(os.path.join(entry, b"cur")):
                self._rename_folder(entry, dovecot.courier_name)
        self._each(self._take_over)
        self._take_subscriptions()

    def _take_over(self, name: str, path: str) -> None:
        with self._locked(path):
            there = os.path.join(path, uiddb.NAME)
            ours = dovecot.read_uidlist(there)      # Courier's file is Dovecot's version 1
            present = _present(path)
            taken = dovecot.takeover(path, present)
            if taken is None:
                self._say(name, "Dovecot has not served it: left as it is")
                return
            uidlist, words = taken
            if ours is not None and not self.overrule:
                text = "has Courier's files already, and they are the truth: left as it is"
                if uidlist.uidnext > ours.uidnext or ours.contradicts(uidlist):
                    self._fail(name, f"{text}, though Dovecot gave numbers since; --replace: Dovecot's count")
                else:
                    self._say(name, text)
                return
            uidls = pop3uidls.of(uidlist, self.uidl)
            if ours is not None:
                only_ours = present.keys() - uidlist.names.keys()
                words = {**words, **self._keywords(path, only_ours)}
                uidlist = uidlist.with_more(ours)
            if not self.dry:
                self.tree.options.keywords_of(path).replace(words)
                # a value that any folder had is never given to another one
                self.tree.uidvalidities.remember(max(uidlist.uidvalidity, dovecot.last_uidvalidity(".")))
                if name == INBOX:
                    self._write(os.path.join(path, pop3uidls.NAME), pop3uidls.text(uidls), path)
                self._write(there, uidlist.courier_text(), path)
                sync_directory(path)
            text = f"taken over: {_facts(uidlist, words)}"
            if os.path.lexists(os.path.join(path, dovecot.RIGHTS)):
                self.failed = True
                text += f"; not taken over: {dovecot.RIGHTS}"
            self._say(name, text)

    def _keywords(self, path: str, bases: Iterable[bytes]) -> dict[bytes, frozenset[bytes]]:
        """Courier's keywords of those of these messages that have some; nothing is merged."""
        keywords = self.tree.options.keywords_of(path)
        if not os.path.isdir(keywords.path):
            return {}
        current = keywords.current()
        return {base: words for base in bases if (words := current(base))}

    def _take_subscriptions(self) -> None:
        with self._locked(self.layout.inbox):
            before = self.tree.subscriptions() if os.path.exists(SUBSCRIBED) else None
            # names of folders that are renamed now, though their list was taken before
            after = [self._renamed(name) for name in before] if before is not None else None
            if before is None or self.overrule:
                after = self.tree.subscribed.by_dovecot()
                if after is not None and before is not None:
                    after += [name for name in before if not self._is_own(name)]
            if after is None or after == before:
                return
            if not self.dry:
                data = b"".join(names.on_disk(name) + b"\n" for name in after)
                self._write(SUBSCRIBED, data)
                sync_directory(".")
            self._say("subscriptions", f"{len(after)} taken over")

    # -- to Dovecot

    def to_dovecot(self) -> None:
        self._each(self._hand_over)
        self._hand_subscriptions()

    def _hand_over(self, name: str, path: str) -> None:
        with self._locked(path), self._dotlocked(os.path.join(path, dovecot.UIDLIST)):
            truth = dovecot.read_uidlist(os.path.join(path, uiddb.NAME))
            if truth is None:
                self._say(name, "has no numbers of Courier's: left as it is")
            elif not self._hand_folder(name, path, truth):
                return
        if not self.utf8:
            self._rename_folder(names.directory(self.tree.resolve(name)[1]), dovecot.dovecot_name)

    def _hand_folder(self, name: str, path: str, truth: Uidlist) -> bool:
        there = os.path.join(path, dovecot.UIDLIST)
        before = dovecot.read_uidlist(there)
        present = _present(path)
        if before is not None:
            before.match(present)
        against = (before is not None and before.uidvalidity == truth.uidvalidity
                   and truth.contradicts(before))
        if against and not self.overrule:
            self._fail(name, "Dovecot gave numbers since that contradict Courier's: left as it is; "
                             "--replace: Courier's count")
            return False
        uidlist = truth if before is None else truth.with_more(before)
        if name == INBOX:
            same = {} if before is None or before.uidvalidity != truth.uidvalidity else before.names
            uidlist.tell(_uidls(path, same.items() & uidlist.names.items()))

        # 1. keywords get letters; mail that Courier has not numbered keeps those that it has
        old = dovecot.read_keywords(os.path.join(path, dovecot.KEYWORDS))
        words = self._keywords(path, present)
        for base, filename in present.items():
            if base not in truth.names and base not in words:
                words[base] = dovecot.words_of(filename, old)
        table, left = dovecot.assign(old, _uses(words))
        renames = []
        for base, filename in present.items():
            new = dovecot.with_words(filename.removeprefix(NEW), words.get(base, frozenset()), table)
            if new != filename.removeprefix(NEW):
                renames.append((base, filename))

        # 2. an index that knows other messages by these numbers would tell their headers
        stale = [entry for entry in sorted(os.listdir(path)) if entry.startswith(dovecot.INDEX)] \
            if against or before is None else []
        if not self.dry:
            if table != old:
                self._write(os.path.join(path, dovecot.KEYWORDS), dovecot.keywords_text(table), path)
            for base, filename in renames:
                _give_letters(path, base, filename, words.get(base, frozenset()), table)
            sync_directory(os.path.join(path, "cur"))
            for entry in stale:
                remove(os.path.join(path, entry))
            self._write(there, uidlist.text(), path)
            sync_directory(path)
        text = f"{_facts(uidlist, words)}; files renamed: {len(renames)}"
        if stale:
            text += f"; removed {', '.join(stale)}"
        if left:
            self.failed = True
            text += f"; more than 26 keywords, no letter left for {b', '.join(left).decode('ascii')}"
        self._say(name, text)
        return True

    def _renamed(self, name: str) -> str:
        """A subscription to what was a directory in modified UTF-7, by its name now."""
        if isinstance(self.layout, Nested) or not self._is_own(name):
            return name
        personal, path = self.tree.resolve(name)
        plain = names.on_disk(path)
        decoded = dovecot.courier_name(plain)
        if not dovecot.is_directory(".", plain) and dovecot.is_directory(".", decoded):
            return personal.name(names.mailbox_path(b"." + decoded))
        return name

    def _is_own(self, name: str) -> bool:
        found = self.tree.namespaces.find(name)
        return found is not None and found[0] is self.tree.namespaces.personal

    def _levels(self, name: str) -> list[bytes]:
        """The levels of a mailbox as Dovecot has them; none for what is not in the Maildir."""
        if not self._is_own(name):
            return []
        path = self.tree.resolve(name)[1]
        if isinstance(self.layout, Nested):
            try:
                return self.layout.levels(path)
            except NameInvalid:
                return []
        if not path:
            return [INBOX.encode()]
        plain = names.on_disk(path)
        return (plain if self.utf8 else dovecot.dovecot_name(plain)).split(b".")

    def _hand_subscriptions(self) -> None:
        if not os.path.exists(SUBSCRIBED):
            return
        with self._locked(self.layout.inbox), self._dotlocked(dovecot.SUBSCRIPTIONS, self.layout.scratch):
            ours = self.tree.subscriptions()
            rows, outside = [], []
            for name in ours:
                levels = self._levels(name)
                if levels:
                    rows.append(levels)
                else:
                    outside.append(name)
            try:
                before = whole(dovecot.SUBSCRIPTIONS)
            except FileNotFoundError:
                before = None
            if not self.dry:
                self._write(dovecot.SUBSCRIPTIONS, dovecot.subscriptions_text(
                    rows, before, b"/" if isinstance(self.layout, Nested) else b"."))
                sync_directory(".")
            self._say("subscriptions", f"{len(rows)} written")
            if outside:
                self._fail("subscriptions", f"not in the Maildir, left out: {', '.join(outside)}")


def _present(path: str) -> dict[bytes, bytes]:
    """Base name -> file name, seen from cur/.

    A file that is renamed while readdir goes by can be missed: read until nothing was
    renamed meanwhile, and keep what was seen.  A name that is gone does no harm.
    """
    found: dict[bytes, bytes] = {}
    cur, new = (os.fsencode(os.path.join(path, where)) for where in ("cur", "new"))
    try:
        for _ in range(READINGS):
            before = os.stat(cur).st_mtime_ns
            settled = time.time_ns() - before > GRAIN * 1e9
            found.update((names.base(entry), NEW + entry) for entry in os.listdir(new) if entry[:1] != b".")
            found.update((names.base(entry), entry) for entry in os.listdir(cur) if entry[:1] != b".")
            if settled and os.stat(cur).st_mtime_ns == before:
                break
    except OSError as error:
        raise trouble(path, error) from None
    return found


def _give_letters(path: str, base: bytes, filename: bytes, words: frozenset[bytes],
                  table: Mapping[int, bytes]) -> None:
    """Rename one message, by whatever name it has by now; one that is gone needs no letters."""
    cur = os.path.join(os.fsencode(path), b"cur")
    for _ in range(TRIES):
        new = dovecot.with_words(filename.removeprefix(NEW), words, table)
        try:
            os.rename(os.path.join(cur, filename), os.path.join(cur, new))
            return
        except FileNotFoundError:
            again = _present(path).get(base)
            if again is None:
                return
            filename = again
        except OSError as error:
            raise trouble(os.path.join(cur, new), error) from None


def _uses(words: Mapping[bytes, frozenset[bytes]]) -> dict[bytes, int]:
    """Keyword -> number of messages, one spelling of each."""
    spelling: dict[bytes, bytes] = {}
    uses: dict[bytes, int] = {}
    for own in words.values():
        for word in own:
            word = spelling.setdefault(word.lower(), word)
            uses[word] = uses.get(word, 0) + 1
    return uses


def _uidls(path: str, numbered: AbstractSet[tuple[bytes, int]]) -> dict[bytes, bytes]:
    """Base name -> POP3 UIDL that clients were told here.  ``numbered``: base names and UIDs as Dovecot had
    them, from which it makes the UIDLs again that were kept of it."""
    listed = pop3list.parse(pop3list.read(path) or b"", 0).lines
    told = {name: pop3list.uidl(line) for name, line in listed.items()}
    kept = pop3uidls.read(path)
    made = kept.keys() & {name for name, _ in numbered}
    return {name: uidl for name, uidl in {**told, **kept}.items() if name not in made}


def _facts(uidlist: Uidlist, words: Mapping[bytes, frozenset[bytes]]) -> str:
    return (f"UIDVALIDITY {uidlist.uidvalidity}, UIDNEXT {uidlist.uidnext}, "
            f"messages numbered: {len(uidlist.names)}, keywords: {len(_uses(words))}")
