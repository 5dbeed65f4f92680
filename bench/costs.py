"""CPU that a part of a session's work takes in this process, for programs that do a few parts by turns."""
from __future__ import annotations

import statistics
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Costs:
    """Of each part by its name, in the order in which they were done first."""

    def __init__(self) -> None:
        self._found: dict[str, list[float]] = {}       # seconds

    def of(self, name: str, doing: Callable[..., object], *given: object) -> None:
        start = time.process_time()
        doing(*given)
        self._found.setdefault(name, []).append(time.process_time() - start)

    def tell(self, count: int, of: str) -> None:
        """Print the median of each for one of ``count``, which are called ``of``."""
        for name, runs in self._found.items():
            print(f"{name:10s} {1e6 * statistics.median(runs) / count:6.2f} us a {of}")
