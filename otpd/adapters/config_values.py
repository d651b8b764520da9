"""What a value of ``otpd.toml`` may be: checks, and the types that they make. Each fault says what was expected."""

import re
from collections.abc import Callable
from typing import Annotated, Any

from otpd.factors import proofs
from otpd.policy import ProofName
from otpd.texts import _, languages, mark

Check = Callable[[Any], Any]
"""Gives back the value, or raises ValueError with what was expected instead."""


def between(least: int, most: int) -> Check:
    """A whole number."""

    def check(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(
                _(
                    "expected a whole number from {least} to {most}, got {value}",
                    least=least,
                    most=most,
                    value=_shown(value),
                )
            )
        return value

    return check


def matching(pattern: str, expected: str) -> Check:
    """A string of a form, which ``expected`` says in words."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(_("expected {expected}, got {value}", expected=_(expected), value=_shown(value)))
        return value

    return check


def one_of(words: tuple[str, ...]) -> Check:
    """One of these words."""

    def check(value: object) -> object:
        if value not in words:
            raise ValueError(_("expected one of {words}, got {value}", words=_words(words), value=_shown(value)))
        return value

    return check


def spoken(value: object) -> object:
    """One that there is a catalogue of."""
    return one_of(languages())(value)


def accepted(value: object) -> tuple[ProofName, ...]:
    """Proofs that a service may accept."""
    words = proofs()
    if not isinstance(value, list) or not value:
        raise ValueError(_("expected a list of {words}, got {value}", words=_words(words), value=_shown(value)))
    return tuple(one_of(words)(item) for item in value)


def list_of(check: Check) -> Check:
    """Some of what ``check`` lets through."""

    def check_list(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or not value:
            raise ValueError(_("expected a list, got {value}", value=_shown(value)))
        return tuple(check(item) for item in value)

    return check_list


def or_empty(check: Check) -> Check:
    """What ``check`` lets through, or an empty string."""
    return lambda value: value if value == "" else check(value)


Text = Annotated[str, matching(r"[^\0\n]{1,256}", mark("a string of 1 to 256 characters"))]
AbsolutePath = Annotated[str, matching(r"/[^\0\n]*", mark("an absolute path"))]
DirectoryUri = Annotated[
    str,
    matching(
        r"ldapi://[A-Za-z0-9%._~-]+/?|ldaps?://[A-Za-z0-9.\-\[\]:]+/?",
        mark("ldapi:// with the socket's path, each / written as %2F, or ldaps:// or ldap:// with a host"),
    ),
]
OptionalPath = Annotated[str, matching(r"(/[^\0\n]*)?", mark("an absolute path, or nothing"))]
MailAddress = Annotated[
    str, matching(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,180}", mark("an address such as otpd@example.org"))
]
LogLevel = Annotated[str, one_of(("debug", "info", "warning"))]


def _words(words: tuple[str, ...]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def _shown(value: object) -> str:
    kinds = {bool: _("true or false"), float: _("a fraction"), dict: _("a table")}
    if isinstance(value, list):
        return _("a list") if value else _("an empty list")
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 64 else _("a long string")  # noqa: PLR2004
    return str(value) if type(value) is int else kinds.get(type(value), _("a date or time"))
