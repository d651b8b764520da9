"""The format of codes that are mailed, and what is kept of the last one. Pure.

Two groups of four symbols (:mod:`otpd.symbols`): 6 random ones, 30 bits, and the check. That is enough for a code that
is good for minutes, where guesses are counted.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Final

from otpd import symbols
from otpd.secret import Secret
from otpd.values import EntryId

ENTRY: Final = EntryId("mailed-code")
"""The name of the entry that holds what is kept."""

SYMBOLS: Final = 6
_GROUP: Final = 4
_CODE_DIGITS: Final = 6

PAUSE_SECONDS: Final = 60
"""From one mail to the next."""
FREE_MAILS: Final = 5
LONG_PAUSE_SECONDS: Final = 3600
"""The same, where as many mails in a row as are free were not used: somebody is filling a mailbox."""
_ROW_SECONDS: Final = 86400
"""After as long without a mail, another row begins."""


@dataclass(frozen=True)
class Mailed:
    """The code that was mailed last. ``digest`` is None once it was used.

    ``sent`` and ``expires`` are in whole seconds since the Unix epoch; ``unused`` is how many mails, this one among
    them, were sent in a row without one being used.
    """

    sent: int
    expires: int
    unused: int
    digest: Secret | None

    def is_good(self, now: float) -> bool:
        """Whether it may still be used."""
        return self.digest is not None and now < self.expires

    def seconds_left(self, now: float) -> float:
        """Seconds until another may be sent; one that was used makes nobody wait.

        A moment further in the future than the longest pause was written under a wrong clock, and holds nobody up.
        """
        if self.digest is None or now - self.sent < -LONG_PAUSE_SECONDS:
            return 0.0
        pause = PAUSE_SECONDS if self.unused < FREE_MAILS else LONG_PAUSE_SECONDS
        return max(0.0, self.sent + pause - now)

    def in_a_row(self, now: float) -> int:
        """How many mails that were not used the next one follows."""
        return self.unused if now - self.sent < _ROW_SECONDS else 0

    def to_plain(self) -> Secret:
        """Itself, to be sealed: who writes to the directory can neither prolong a code nor ask for more mails."""
        digest = self.digest.reveal().hex() if self.digest else None
        return Secret(json.dumps([self.sent, self.expires, self.unused, digest]).encode())

    @classmethod
    def from_plain(cls, plain: Secret) -> "Mailed":
        """The way back from :meth:`to_plain`."""
        sent, expires, unused, digest = json.loads(plain.reveal())
        return cls(sent, expires, unused, None if digest is None else Secret(bytes.fromhex(digest)))


def generate() -> Secret:
    """A new code, as it is mailed."""
    while True:
        code = symbols.with_check(symbols.random(SYMBOLS))
        if not code[-_CODE_DIGITS:].isdigit():  # it would look like a code of a device, or a password with one
            return Secret(symbols.in_groups(code, _GROUP).encode())


def looks_like_one(typed: bytes) -> bool:
    """Whether it has the length of one, whatever the case and the separators; digits alone are a code of a device."""
    bare = symbols.bare(typed)
    return len(bare) == SYMBOLS + symbols.CHECK_SYMBOLS and bare.isascii() and bare.isalnum() and not bare.isdigit()


def digest(typed: bytes) -> Secret:
    """What is kept, sealed, to know a code again: SHA-256 of its symbols; raises :class:`otpd.symbols.Typo`."""
    return Secret(hashlib.sha256(symbols.without_check(symbols.bare(typed), SYMBOLS).encode()).digest())
