"""Texts as cells of tables that a spreadsheet opens."""

import re

from pipeline.errors import printable

RISKY = (*"=+-@＝＋－＠\t\r\n|%",)  # some spreadsheets take wide letters too
NUMBER = re.compile(r"-[0-9]+(\.[0-9]+)?")


def inert(text: str) -> str:
    """`text` without control characters, and not to be taken for a formula: such a one gets a
    leading apostrophe; negative numbers stay.
    """
    line = printable(text, limit=len(text) * 10 + 10)  # a character is escaped to ten at most
    risky = text.lstrip(" \x00").startswith(RISKY) and not NUMBER.fullmatch(line)
    return f"'{line}" if risky else line
