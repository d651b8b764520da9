"""Text of somebody else's, as it may be shown on a terminal. Pure."""

import json


def printable(text: str) -> str:
    """``text`` with a question mark for each control character, or whatever else moves a terminal's cursor."""
    return "".join(one if one.isprintable() else "?" for one in text)


def to_json(value: object) -> str:
    """``value`` as JSON in one line, with an escape (RFC 8259 section 7) for each of those characters."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)
