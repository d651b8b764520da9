"""What otpctl is told of the offline rule: from the file that the process behind auth.sock writes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otpd.adapters.offline.memory import look
from otpd.clock import Clock, Deadline
from otpd.errors import StoreError
from otpd.offline import OfflineReport, OfflineRule
from otpd.seal import KeyRing

_SECONDS: Final = 1.0


@dataclass(frozen=True)
class MemoryView:
    """:class:`otpd.offline.OfflineView` on a file."""

    rule: OfflineRule
    path: Path
    keys: KeyRing
    clock: Clock

    def report(self) -> OfflineReport:  # noqa: D102 - otpd.offline says it
        try:
            contact, counts = look(self.path, self.keys, Deadline.after(self.clock, _SECONDS))
        except StoreError as error:
            return OfflineReport(fault=str(error))
        ends = self.rule.ends(contact)
        accept = self.rule.accept if max(self.clock.wall(), contact.latest) < ends else ()
        return OfflineReport(contact.away, accept, ends, counts.users, counts.unsettled)
