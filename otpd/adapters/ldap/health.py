"""Which servers have done well lately: a server that failed is asked last for a while, and by one caller at a time."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from otpd.clock import Clock

_FIRST_BACKOFF_SECONDS: Final = 0.5
_MAX_BACKOFF_SECONDS: Final = 30.0


@dataclass(frozen=True)
class _Record:
    """``failures`` in a row, and the moment (monotonic seconds) before which the server is asked last."""

    failures: int
    not_before: float


@dataclass
class Health:
    """How servers have done; many threads share it."""

    clock: Clock
    _records: dict[str, _Record] = field(default_factory=dict)

    def order(self, uris: Sequence[str]) -> list[str]:
        """Servers that are well in the given order, then those that failed, the one that may be back first."""
        now, records = self.clock.monotonic(), dict(self._records)
        waits = {uri: records[uri].not_before for uri in uris if uri in records and records[uri].not_before > now}
        ordered = sorted(uris, key=lambda uri: waits.get(uri, 0.0))
        if ordered[0] in records:
            # Its time has come. Whoever asks now finds out for all: a server that hangs costs one caller the wait.
            self._wait(ordered[0], records[ordered[0]].failures)
        return ordered

    def failed(self, uri: str) -> None:
        """The server did not answer."""
        record = self._records.get(uri)
        self._wait(uri, record.failures + 1 if record else 1)

    def answered(self, uri: str) -> None:
        """The server did."""
        self._records.pop(uri, None)

    def _wait(self, uri: str, failures: int) -> None:
        seconds = min(_MAX_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2 ** min(failures - 1, 10))
        # Jitter: the hosts of a fleet must not come back all at once.
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self._records[uri] = _Record(failures, self.clock.monotonic() + seconds * jitter)
