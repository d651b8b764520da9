"""What an inspection of the directory is, and what it finds."""

from dataclasses import dataclass
from typing import Protocol

from otpd.clock import Deadline


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at on one server.

    ``fault`` says what is wrong, if anything, and ``remedy`` what mends it; ``note`` what was measured; ``unseen`` why
    it could not be looked at, which is no fault.
    """

    server: str
    what: str
    fault: str = ""
    remedy: str = ""
    note: str = ""
    unseen: str = ""


class Inspector(Protocol):
    """Looks at every server of the directory, as otpd itself uses it."""

    def inspect(self, deadline: Deadline) -> tuple[Finding, ...]:
        """All that was looked at; a server that does not answer is a finding, and never raises."""
        ...
