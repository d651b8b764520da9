"""The audit log: one line a decision, with the reason that the person was not given.

Values that come from outside are written so that they cannot start a new line or forge a field.
"""

import logging
from typing import Final

_AUDIT: Final = logging.getLogger("otpd.audit")


def record(event: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Log ``event`` with ``fields``; fields that are empty are left out. Never hand it anything typed."""
    given = {name: str(value) for name, value in fields.items() if value not in ("", None)}
    shown = " ".join(f"{name}={_quoted(value)}" for name, value in given.items())
    _AUDIT.log(level, "%s %s", event, shown, extra={"otpd": {"event": event, **given}})


def broken(**fields: object) -> None:
    """Log that otpd could not decide, as a warning: somebody must mend something."""
    record("unavailable", level=logging.WARNING, **fields)


def _quoted(text: str) -> str:
    plain = text.isascii() and all(character.isalnum() or character in "._-:/@" for character in text)
    return text if plain else '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'
