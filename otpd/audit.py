"""The audit log: one line a decision, with the reason that the person was not given.

Values that come from outside are written so that they cannot start a new line or forge a field.
"""

import logging
from typing import Final

AUDIT: Final = logging.getLogger("otpd.audit")


def record(event: str, **fields: object) -> None:
    """Log ``event`` with ``fields``; fields that are empty are left out. Never hand it anything typed."""
    shown = " ".join(f"{name}={_quoted(value)}" for name, value in fields.items() if value not in ("", None))
    AUDIT.info("%s %s", event, shown, extra={"otpd": {name: str(value) for name, value in fields.items()}})


def _quoted(value: object) -> str:
    text = str(value)
    plain = text.isascii() and all(character.isalnum() or character in "._-:/@" for character in text)
    return text if text and plain else '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'
