"""Regular expressions that are compiled when they are first used.

A session from a shell, over ssh or from inetd starts anew and needs few of them, and to compile one costs as
much as to load a small module.  The listener compiles all before it forks.  What is matched for each message
is better off with ``re.compile``, which leaves no step between.
"""
from __future__ import annotations

_waiting: list[re.Pattern[bytes]] = []         # made, and not compiled by compile_all()

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from typing import AnyStr

    def later(source: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
        """As ``re.compile``."""
else:
    _METHODS = ("match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer")

    class later:                       # noqa: N801 (it is called like the function that it is above)
        """Whatever of a pattern is asked for compiles it."""

        def __init__(self, source, flags=0):
            self._of = source, flags
            _waiting.append(self)

        def __getattr__(self, name):
            """What the compiled one has; from the second time on its methods are found without this."""
            if name.startswith("__"):
                raise AttributeError(name)
            import re  # a session that uses none does without it
            compiled = re.compile(*self._of)
            for method in _METHODS:
                setattr(self, method, getattr(compiled, method))
            return getattr(compiled, name)


def fits(pattern: str, text: str) -> bool:
    """Does the whole text match?  For what is seldom asked."""
    import re
    return re.fullmatch(pattern, text) is not None


def compile_all() -> None:
    """Those of all modules that are loaded, now."""
    while _waiting:
        _waiting.pop().match  # noqa: B018 (to ask for it is enough)
