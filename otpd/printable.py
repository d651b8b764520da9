"""Text of somebody else's, as it may be shown on a terminal. Pure."""


def printable(text: str) -> str:
    """``text`` with a question mark for each control character, or whatever else moves a terminal's cursor."""
    return "".join(one if one.isprintable() else "?" for one in text)
