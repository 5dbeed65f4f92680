"""python -m bench.growth_of_messages: how cost grows with a message, whatever is in it.

Each shape of ``bench.shapes`` is doubled up to 1 MB, and all that is told or searched of a message is
measured: ENVELOPE, BODYSTRUCTURE, BODY, sections, the keys of SORT and THREAD, the texts of SEARCH.  What
is printed of each is the exponent: 1 when twice the octets take twice the time, 2 when four times.
Exit status 1 where one is above the limit, or a reply grows faster than its message.
"""
from __future__ import annotations

import argparse
import gc
import math
import sys
import time
from contextlib import contextmanager

from bench.shapes import SHAPES
from courierpy.imap.attributes import KINDS
from courierpy.message import Message, address, parameters, threads
from courierpy.message.mime import Limits
from courierpy.model.section import Section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from bench.shapes import Shape

LARGEST = 1_000_000                # octets of a message
LIMITS = Limits(parts=1_000_000, depth=100_000, header=8_000_000)          # else they hide what grows
LIMIT = 1.2
FLAT_S = 0.020                     # what takes less time at the largest size cannot grow fast
GIVEN_UP_S = 4.0                   # what takes longer is not measured again and again
CAREFUL_RUNS = 5
CHOSEN = (b"SUBJECT", b"FROM", b"TO", b"CONTENT-TYPE", b"X-LAST")


def _threads(message: Message) -> list[object]:
    """The message in a thread with one that is like it."""
    own, refs = message.thread_ids()
    return threads.references([threads.Mail(number, 0.0, "", own=own, refs=refs) for number in (1, 2)])


def _section(*place: int, kind: bytes = b"", fields: tuple[bytes, ...] = ()) -> Callable[[Message],
                                                                                         bytes | None]:
    return lambda message: message.section(Section(place, kind, fields))


# what others are made of comes first, so that each of those tells of itself
FIRST = ("header", "fields of ENVELOPE", "parts")
MEASURES: dict[str, Callable[[Message], object]] = {
    "header": lambda message: message.block, "fields of ENVELOPE": lambda message: message.known,
    "parts": lambda message: message.root,
    **{kind: compute for kind, (_, compute) in KINDS.items()},
    "BODY": lambda message: message.structure_bytes(False),
    "threads": _threads,
    "BODY[1]": _section(1), "BODY[1.MIME]": _section(1, kind=b"MIME"),
    "BODY[1.1.HEADER]": _section(1, 1, kind=b"HEADER"),
    "BODY[HEADER.FIELDS]": _section(kind=b"HEADER.FIELDS", fields=CHOSEN),
    "BODY[HEADER.FIELDS.NOT]": _section(kind=b"HEADER.FIELDS.NOT", fields=CHOSEN),
    "SEARCH HEADER": lambda message: message.folded_header(b"x-last"),
}


class Growth:
    """Of one measure of one shape.  ``seconds``, ``lengths`` (of what is told): by octets of the message."""

    def __init__(self) -> None:
        self.seconds: dict[int, float] = {}
        self.lengths: dict[int, int] = {}

    def add(self, size: int, seconds: float, told: object) -> None:
        """The least time of all runs counts."""
        self.seconds[size] = min(seconds, self.seconds.get(size, seconds))
        self.lengths[size] = len(told) if isinstance(told, (bytes, str)) else 0

    def exponent(self) -> float:
        """Of time by size; 0 where it is too short to be measured."""
        return slope(self.seconds) if max(self.seconds.values()) >= FLAT_S else 0.0

    def length_exponent(self) -> float:
        """Of what is told by size; 0 where it is not longer than the message."""
        return slope(self.lengths) if any(map(int.__gt__, self.lengths.values(), self.lengths)) else 0.0

    def steep(self) -> bool:
        return max(self.exponent(), self.length_exponent()) > LIMIT

    def told(self) -> str:
        """The steeper one of time and length, in words."""
        figures: Mapping[int, float]
        exponent, what, figures = self.exponent(), "seconds", self.seconds
        if self.length_exponent() > exponent:
            exponent, what, figures = self.length_exponent(), "octets told", self.lengths
        return f"exponent {exponent:.2f} of {what}: " + ", ".join(
            f"{figure:.3g} at {size // 1000} kB" for size, figure in figures.items())


def slope(points: Mapping[int, float]) -> float:
    """Of the line through the logarithms that has the least squares."""
    pairs = [(math.log(x), math.log(y)) for x, y in points.items() if x and y]
    if len(pairs) < 2:
        return 0.0
    mean_x, mean_y = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
    return float(sum((x - mean_x) * (y - mean_y) for x, y in pairs)
            / sum((x - mean_x) ** 2 for x, _ in pairs))


def run(data: bytes, wanted: Iterable[str], growths: Mapping[str, Growth]) -> None:
    """Take all measures of one message, each once what it needs is there."""
    message = Message(data, LIMITS)
    for name in wanted:
        start = time.process_time()
        told = MEASURES[name](message)
        growths[name].add(len(data), time.process_time() - start, told)


def grown(shape: Shape, wanted: Sequence[str], sizes: Sequence[int], runs: int = 1) -> dict[str, Growth]:
    """All measures at these sizes, by turns: what else the machine does should change none alone."""
    growths = {name: Growth() for name in wanted}
    for _ in range(runs):
        for size in sizes:
            run(shape(size), wanted, growths)
    return growths


def one_shape(title: str, wanted: Sequence[str], largest: int = LARGEST) -> list[str]:
    """Measure a shape and print the worst of it; gives what is above the limit, in words.

    Two steps of the size first.  What looks steep in one of them is measured with care, over the
    whole range, before anything is said: where memory leaves a processor's cache there is a step.
    """
    shape = SHAPES[title]
    first, middle, last = largest // 32, largest // 6, largest
    low, high = (grown(shape, wanted, sizes) for sizes in ((first, middle), (middle, last)))
    worst = max(growth.exponent() for growth in (*low.values(), *high.values()))
    steep = [name for name in wanted if low[name].steep() or high[name].steep()]
    bad = []
    if steep:
        slow = any(max(growth.seconds.values()) > GIVEN_UP_S for growth in high.values())
        careful = grown(shape, list(dict.fromkeys([*FIRST, *steep])), (first, last // 8, last // 2, last),
                        1 if slow else CAREFUL_RUNS)
        worst = max(careful[name].exponent() for name in steep)
        bad = [f"{title}: {name}: {careful[name].told()}" for name in steep if careful[name].steep()]
    longest = max(wanted, key=lambda name: max(high[name].seconds.values()))
    spent = max(high[longest].seconds.values())
    print(f"{title:50} {worst:5.2f} {1000 * spent:9.0f} ms {longest}", flush=True)
    return bad


@contextmanager
def _as_in_a_session(largest: int) -> Iterator[None]:
    """Without the collector of garbage; and without the bounds that would end the growth, as LIMITS."""
    bounds = address.MOST, address.ODD_OCTETS, parameters.MOST_OCTETS
    address.MOST = address.ODD_OCTETS = parameters.MOST_OCTETS = 8 * largest
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        address.MOST, address.ODD_OCTETS, parameters.MOST_OCTETS = bounds


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.growth_of_messages", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="", metavar="WORDS", help="only shapes with this in their name")
    parser.add_argument("--measures", default="", metavar="NAMES", help="only these, with commas between: "
                        + ", ".join(MEASURES))
    parser.add_argument("--largest", type=int, default=LARGEST, metavar="OCTETS",
                        help=f"size up to which ({LARGEST})")
    options = parser.parse_args(words)
    wanted = options.measures.split(",") if options.measures else list(MEASURES)
    if unknown := [name for name in wanted if name not in MEASURES]:
        parser.error(f"no measure {unknown[0]!r}")
    print(f"{'shape':47} exponent   longest, of what at {options.largest:,} octets")
    bad = []
    with _as_in_a_session(options.largest):
        for title in SHAPES:
            if options.shapes.lower() in title.lower():
                bad += one_shape(title, wanted, options.largest)
    print("\n".join(bad) or f"no exponent above {LIMIT}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
