"""The sentences that people read, in their language: a gettext catalogue.

A sentence stands in the code in English, as the first argument of :func:`_`, :func:`plural` or :func:`mark`.
``otpd/locale/LANGUAGE.po`` says them in another language; ``make texts`` brings it up to date. What goes to the
journal stays English: programs and administrators look for it.
"""

import gettext
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Final

DOMAIN: Final = "otpd"
ENGLISH: Final = "en"
PLACE: Final = Path(__file__).with_name("locale")
_ENGLISH: Final = gettext.NullTranslations()
_current: Final[ContextVar[gettext.NullTranslations]] = ContextVar("translations", default=_ENGLISH)


def _(sentence: str, /, **values: object) -> str:
    """The sentence in the current language, with ``values`` for its ``{names}``."""
    text = _current.get().gettext(sentence) if sentence else ""
    return text.format(**values) if values else text


def plural(one: str, many: str, count: int, /, **values: object) -> str:
    """The form of a sentence that goes with ``count``, which it may have as ``{count}``."""
    return _current.get().ngettext(one, many, count).format(count=count, **values)


def mark(sentence: str) -> str:
    """The sentence as it is: it is in the catalogue, and whoever shows it translates it."""
    return sentence


@cache
def languages() -> tuple[str, ...]:
    """The languages that otpd speaks, by their ISO 639 codes; English first."""
    return (ENGLISH, *sorted(file.parts[-3] for file in PLACE.glob(f"*/LC_MESSAGES/{DOMAIN}.mo")))


def preferred() -> str:
    """The language that the environment asks for: LANGUAGE, LC_ALL, LC_MESSAGES, LANG, as gettext(3) reads them."""
    found = gettext.find(DOMAIN, str(PLACE))
    return Path(found).parts[-3] if found else ENGLISH


def speak(language: str) -> None:
    """Go on in ``language``; what is no language of otpd is English."""
    _current.set(_translations(language))


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """In ``language`` while the block runs; what is no language of otpd is English."""
    token = _current.set(_translations(language))
    try:
        yield
    finally:
        _current.reset(token)


@cache
def _known(language: str) -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, str(PLACE), [language])


def _translations(language: str) -> gettext.NullTranslations:
    # A client's word never becomes part of a path.
    return _known(language) if language in languages()[1:] else _ENGLISH
