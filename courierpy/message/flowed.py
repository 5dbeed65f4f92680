"""Lines that were broken to be joined again: format=flowed.  RFC 3676."""
from __future__ import annotations

LINE_CHARS = 1 << 16               # a longer line may be cut
KEPT_CHARS = 2                     # of such a line: its end says whether it goes on


class FlowedDecoder:
    """Paragraphs out of lines, at once or piece by piece.  ``delsp``: the blank at the end of a
    line that goes on was put there (RFC 3676 4.1), as in scripts that have none between words."""

    def __init__(self, delsp: bool) -> None:
        self._delsp = delsp
        self._whole = True             # no piece was before
        self._held = ""                # of a line that is not whole yet
        self._goes_on = -1             # how deep the line before is quoted, if it goes on
        self._within: int | None = None        # how deep the line is quoted whose beginning was cut off

    def decode(self, text: str, final: bool = False) -> str:
        whole, self._whole = final and self._whole, False
        if whole and not self._delsp and ">" not in text:
            return text                # joining would change no more than white space
        *lines, self._held = (self._held + text).split("\n")
        found = [self._line(line) for line in lines]
        if not final and len(self._held) > LINE_CHARS:
            found.append(self._begin(self._held[:-KEPT_CHARS]))
            self._held = self._held[-KEPT_CHARS:]
        if final:
            found.append(self._line(self._held))
            self._held = ""
        return "".join(found)

    def _begin(self, line: str) -> str:
        """Of a line that is too long to wait for its end."""
        if self._within is not None:
            return line
        depth, content = _quoted(line)
        begins, self._within = depth != self._goes_on, depth
        return f"\n{'>' * depth} {content}" if begins else content

    def _line(self, line: str) -> str:
        line = line.removesuffix("\r")
        if self._within is not None:
            depth, content, signature, begins = self._within, line, False, False
            self._within = None
        else:
            depth, content = _quoted(line)
            signature = content == "-- "               # 4.3
            begins = signature or depth != self._goes_on
        flows = content.endswith(" ") and not signature
        self._goes_on = depth if flows else -1
        if flows and self._delsp:
            content = content[:-1]
        return f"\n{'>' * depth} {content}" if begins else content


def _quoted(line: str) -> tuple[int, str]:
    """(how deep it is quoted, what it says)."""
    content = line.lstrip(">")
    return len(line) - len(content), content.removeprefix(" ")     # stuffed (4.4)
