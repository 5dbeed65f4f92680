"""Changes inputs at random, always the same for a seed: octets, pieces, tokens, parts of other inputs."""
from __future__ import annotations

import random

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_OCTETS = 4096


class Mutator:
    """``seeds``: where it begins; ``tokens``: what is put in."""

    def __init__(self, seeds: Sequence[bytes], tokens: Sequence[bytes], seed: int) -> None:
        self.random = random.Random(seed)
        self.seeds = list(seeds)
        self.tokens = list(tokens)

    def next(self) -> bytes:
        """The next input."""
        data = bytearray(self.random.choice(self.seeds))
        for _ in range(1 + int(self.random.expovariate(0.5))):
            self._change(data)
        return bytes(data[:MOST_OCTETS])

    def _change(self, data: bytearray) -> None:
        roll = self.random
        start = roll.randint(0, len(data))
        stop = min(len(data), start + int(roll.expovariate(0.1)))
        match roll.randrange(8):
            case 0:
                data[start:start] = roll.choice(self.tokens)
            case 1:
                data[start:stop] = roll.choice(self.tokens)
            case 2:
                del data[start:stop]
            case 3:
                data[start:start] = data[start:stop] * roll.choice((1, 2, 9, 60))
            case 4:
                data[start:stop] = roll.randbytes(stop - start)
            case 5 if start < len(data):
                data[start] ^= 1 << roll.randrange(8)
            case 6:
                other = roll.choice(self.seeds)
                at = roll.randint(0, len(other))
                data[start:stop] = other[at:at + roll.randint(0, 200)]
            case _:
                data[start:start] = roll.choice((b"1", b"9" * 30, b"0", b"4294967296", b"-1", b"9" * 3000))
