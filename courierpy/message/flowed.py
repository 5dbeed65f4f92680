"""Lines that were broken to be joined again: format=flowed.  RFC 3676."""
from __future__ import annotations


class FlowedDecoder:
    """Paragraphs out of lines, at once or piece by piece.  ``delsp``: the blank at the end of a
    line that goes on was put there (RFC 3676 4.1), as in scripts that have none between words."""

    def __init__(self, delsp: bool) -> None:
        self._delsp = delsp
        self._whole = True             # no piece was before
        self._held = ""                # of a line that is not whole yet
        self._goes_on = -1             # how deep the line before is quoted, if it goes on

    def decode(self, text: str, final: bool = False) -> str:
        whole, self._whole = final and self._whole, False
        if whole and not self._delsp and ">" not in text:
            return text                # joining would change no more than white space
        *lines, self._held = (self._held + text).split("\n")
        found = [self._line(line) for line in lines]
        if final:
            found.append(self._line(self._held))
            self._held = ""
        return "".join(found)

    def _line(self, line: str) -> str:
        line = line.removesuffix("\r")
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content.removeprefix(" ")            # stuffed (4.4)
        signature = content == "-- "                   # 4.3
        begins = signature or depth != self._goes_on
        flows = content.endswith(" ") and not signature
        self._goes_on = depth if flows else -1
        if flows and self._delsp:
            content = content[:-1]
        return f"\n{'>' * depth} {content}" if begins else content
