"""SEARCH=FUZZY.  RFC 6203: what nearly matches is found too, and how near it is, from 1 to 100.

What is near (RFC 6203 3, 5 leave it to the server): a text, where all its words are there, in any order; a
word also where marks on its letters differ, or, from MIN_LETTERS on, where one letter behind the first is
missing, too much, another one, or has changed its place with the next.  A day, up to a week beside it; a
size or an age, up to a fifth beside it.  All else is as without FUZZY.  Nothing is learned: the same
search finds the same.
"""
from __future__ import annotations

import re
from unicodedata import combining

from courierpy.imap import search
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import searchkeys
from courierpy.imap.grammar.searchkeys import Key
from courierpy.imap.returns import RETURNS, SearchReturn
from courierpy.imap.search import BODY, FIELDS, TEXT, Needle, Program, SearchKey, both, inverse
from courierpy.message.collation import fold
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterable, Sequence

    from courierpy.imap.commands.ordered import Sorting
    from courierpy.imap.returns import Found
    from courierpy.imap.session import Session

NAME, RELEVANCY = b"FUZZY", b"RELEVANCY"
MIN_LETTERS = 4                # of a word that may have a slip in it
MAX_LETTERS = 16               # a longer one is looked for as it is, as there is much to compare
MAX_WORDS = 16                 # a text of more of them is looked for as it is

# Scores: of what is as it was asked for; of a word that is there, where the text is not; of a word that is
# nearly there; and of what is so far beside, in steps.
ASKED, WORD, SLIP = 100, 90, 50
DAYS = ((1, 80), (2, 60), (4, 40), (7, 20))
SHARES = ((0.05, 80), (0.10, 60), (0.15, 40), (0.20, 20))
OUTSIDE_SUBJECT = 0.8          # of a text that may be anywhere, and is not in the subject


# -- a word

_MARKS = rb"(?:\xcc[\x80-\xbf]|\xcd[\x80-\xaf])*"      # U+0300 to U+036F, which folding parts from letters
_LETTER = rb"(?:[!-\x7f]|[\xc2-\xf4][\x80-\xbf]{1,3})" + _MARKS
# what ends before a word: no letter or digit of ASCII, no octet of another character
_BORDER = rb"(?<=[\x00-/:-@\[-`{-\x7f]%s)"


class Near(Needle):
    """A word, or one that is nearly the same, at the beginning of a word; the word itself anywhere."""

    __slots__ = ("_pattern",)

    def __init__(self, word: str) -> None:
        super().__init__(word)
        letters = [re.escape(char.encode("utf-8", "surrogatepass")) for char in word]
        first, rest = letters[0], letters[1:]
        own = b"".join([_MARKS + letter for letter in rest])
        slips = b"|".join([own, _BORDER % first + _MARKS + _near(rest)]) if _may_slip(word) else own
        self._pattern = re.compile(first + b"(?:" + slips + b")")

    def find(self, blob: bytes, start: int = 0) -> int:
        match = self._pattern.search(blob, start)
        return -1 if match is None else match.start()


def _may_slip(word: str) -> bool:
    return MIN_LETTERS <= len(word) <= MAX_LETTERS


def _near(letters: Sequence[bytes]) -> bytes:
    """A pattern of these letters with one slip, or with none."""
    pattern = b""
    for at in range(len(letters) - 1, -1, -1):
        tail = _all(letters[at + 1:])
        slips = [letters[at] + _MARKS + pattern if pattern else letters[at] + _MARKS,
                 _LETTER + letters[at] + _MARKS + tail,                # one too much
                 tail,                                                 # missing
                 _LETTER + tail]                                       # another one
        if at + 1 < len(letters):
            slips.append(letters[at + 1] + _MARKS + letters[at] + _MARKS + _all(letters[at + 2:]))
        pattern = b"(?:" + b"|".join(slips) + b")"
    return pattern


def _all(letters: Iterable[bytes]) -> bytes:
    return b"".join([letter + _MARKS for letter in letters])


def words_of(text: str) -> list[str]:
    """The words of what is looked for, folded and without marks, each once.  Pure."""
    bare = "".join([char for char in fold(text) if not combining(char)])
    return list(dict.fromkeys(bare.split()))


# -- scores: a byte for each message, 0 to 100, right where ``within`` is 1

Scores = bytes
_FULL = bytes([0, ASKED]) + bytes(254)                 # of a mask
_MATCHED = bytes([0]) + bytes([1]) * 255               # to a mask
FAMILIES = {b"BEFORE": b"", b"ON": b"", b"SINCE": b"", b"SENTBEFORE": b"SENT", b"SENTON": b"SENT",
            b"SENTSINCE": b"SENT", b"SAVEDBEFORE": b"SAVED", b"SAVEDON": b"SAVED", b"SAVEDSINCE": b"SAVED"}
UPWARDS = {b"LARGER": False, b"SMALLER": True, b"OLDER": False, b"YOUNGER": True}      # what finds more


def near(program: Program, key: Key, within: bytes) -> Scores:
    """How near messages are to a key that stands behind FUZZY."""
    name, value = key.name, key.value
    if name == b"AND":
        return _mean(program, value, within, near)
    if name == b"OR":
        return _best(near(program, value[0], within), near(program, value[1], within))
    if name == NAME:
        return near(program, value, within)
    if name in FIELDS:
        return _text(program, (FIELDS[name],), value, within)
    if name == b"HEADER":
        kind = FIELDS.get(value[0].upper())
        if kind is not None:
            return _text(program, (kind,), value[1], within)
    if name == b"BODY" and value:
        return _text(program, BODY, value, within)
    if name == b"TEXT" and value:
        return _anywhere(program, value, within)
    if name in FAMILIES:
        return _stepped(program, key, within, _days(key))
    if name in UPWARDS:
        return _stepped(program, key, within, _shares(key))
    return program.mask(key, within).translate(_FULL)


def _text(program: Program, kinds: Sequence[str], text: str, within: bytes) -> Scores:
    asked = program.find(kinds, Needle(text), within)
    words = words_of(text)
    rest = both(within, inverse(asked))
    if not words or len(words) > MAX_WORDS or 1 not in rest:
        return asked.translate(_FULL)
    columns: list[bytes] = []
    for word in words:
        there = program.find(kinds, Needle(word), rest)
        nearly = program.find(kinds, Near(word), both(rest, inverse(there)))
        columns.append(_best(there.translate(bytes([0, WORD]) + bytes(254)),
                             nearly.translate(bytes([0, SLIP]) + bytes(254))))
        rest = search.either(there, nearly)
        if 1 not in rest:
            break
    else:
        return _best(asked.translate(_FULL), _means(rest, columns))
    return asked.translate(_FULL)


def _anywhere(program: Program, text: str, within: bytes) -> Scores:
    """Of TEXT: what stands in the subject is nearer."""
    found = _text(program, TEXT, text, within)
    lessened = bytes([round(score * OUTSIDE_SUBJECT) for score in found])
    matched = found.translate(_MATCHED)
    return _best(lessened, _text(program, (FIELDS[b"SUBJECT"],), text, matched)) if 1 in matched else lessened


def _stepped(program: Program, key: Key, within: bytes, steps: Iterable[tuple[Key, int]]) -> Scores:
    """``steps``: keys that find ever more, and what is then the score."""
    found = program.mask(key, within).translate(_FULL)
    for wider, score in steps:
        left = both(within, inverse(found.translate(_MATCHED)))
        if 1 not in left:
            break
        found = _best(found, program.mask(wider, left).translate(bytes([0, score]) + bytes(254)))
    return found


def _days(key: Key) -> Iterable[tuple[Key, int]]:
    family, day = FAMILIES[key.name], key.value
    for days, score in DAYS:
        since = Key(family + b"SINCE", max(1, day - days))
        before = Key(family + b"BEFORE", day + days + (1 if key.name.endswith(b"ON") else 0))
        yield (since if key.name.endswith(b"SINCE") else before if key.name.endswith(b"BEFORE")
               else Key(b"AND", [since, before])), score


def _shares(key: Key) -> Iterable[tuple[Key, int]]:
    up = UPWARDS[key.name]
    for share, score in SHARES:
        yield Key(key.name, round(key.value * (1 + share if up else 1 - share))), score


def _best(one: Scores, two: Scores) -> Scores:
    return bytes(map(max, one, two))


def _mean(program: Program, keys: Sequence[Key], within: bytes,
          scores: Callable[[Program, Key, bytes], Scores]) -> Scores:
    """Of messages that are near to all of these."""
    columns: list[bytes] = []
    for key in sorted(keys, key=search.cost):
        columns.append(scores(program, key, within))
        within = both(within, columns[-1].translate(_MATCHED))
    return _means(within, columns)


def _means(within: bytes, columns: Sequence[bytes]) -> Scores:
    many = len(columns)
    return bytes([sum(column) // many if there else 0
                  for there, *column in zip(within, *columns, strict=True)])


# -- of a whole search, whose messages are found

def _holds(key: Key) -> bool:
    return NAME in key.names


def relevancy(program: Program, key: Key, within: bytes) -> Scores:
    """How near messages that were found by ``key`` are to what in it stands behind FUZZY."""
    if key.name == NAME:
        return near(program, key.value, within)
    if key.name == b"AND":
        return _mean(program, [part for part in key.value if _holds(part)], within, relevancy)
    if key.name == b"OR":
        return _best(*[relevancy(program, part, within) if _holds(part) else
                       program.mask(part, within).translate(_FULL) for part in key.value])
    return within.translate(_FULL)     # behind NOT: what is not near at all was asked for


def scores_of(session: Session, key: Key, uids: Sequence[int]) -> list[int]:
    """The score of each of these messages, which were found by ``key``."""
    program = Program(session)
    within = program.of_uids(uids)
    found = relevancy(program, key, within)
    view = program.view
    return [max(1, found[view.seq(uid) - 1]) for uid in uids]


def _check(session: Session, tag: bytes, key: Key) -> None:
    _need(key)


def _need(key: Key) -> None:
    if not _holds(key):
        raise Bad("RELEVANCY needs a FUZZY search key.")


def _listed(found: Found, value: None) -> Sequence[int]:
    """The messages that another option lists, in their order; where none does, all."""
    for option, behind in found.options.items():
        record = RETURNS.need(option)
        if record.lists:
            return record.part(found, behind)
    return found.seqs


def _tell(found: Found, value: None) -> bytes:
    uids = found.session.need_selected().view.uids
    scores = scores_of(found.session, found.key, [uids[seq - 1] for seq in _listed(found, value)])
    return b"(%s)" % b" ".join([b"%d" % score for score in scores])


def _sorted(sorting: Sorting, uids: array[int]) -> list[int]:
    """The nearest first.  RFC 6203 6."""
    _need(sorting.key)
    return [-score for score in scores_of(sorting.session, sorting.key, uids)]


EXTENSION = Extension(
    b"SEARCH=FUZZY",
    search_keys={NAME: SearchKey(
        lambda program, value, within: near(program, value, within).translate(_MATCHED),
        search.cost, searchkeys.negated)},
    search_returns={RELEVANCY: SearchReturn(_tell, part=_listed, check=_check)},
    sort_keys={RELEVANCY: _sorted})
