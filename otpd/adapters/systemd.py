"""What systemd gives a service: its sockets, a word when it is ready, the journal. Through systemd-python."""

import logging
import os
import sys
from pathlib import Path

from systemd import daemon, journal  # type: ignore[attr-defined]  # no types, and our folder of units has its name


def listening_descriptors() -> dict[str, int]:
    """The sockets that systemd holds, by their FileDescriptorName."""
    return {name: descriptor for descriptor, name in daemon.listen_fds_with_names().items()}


def notify(state: str) -> None:
    """Tell the service manager, if there is one; ``state`` as in sd_notify(3)."""
    daemon.notify(state)


def watchdog_seconds() -> float | None:
    """Seconds within which a WATCHDOG=1 is due, or None where nobody watches."""
    usec, pid = os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID")
    if not usec or (pid and int(pid) != os.getpid()):
        return None
    return int(usec) / 1e6


def credential(name: str) -> Path | None:
    """The file of a credential that systemd passed (systemd.exec(5), Credentials)."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder, name) if folder else None
    return path if path and path.exists() else None


def log_to_journal(level: int, identifier: str) -> None:
    """Log to the journal where systemd runs the process, and to stderr otherwise."""
    handler: logging.Handler
    if "JOURNAL_STREAM" in os.environ:
        handler = _JournalHandler(identifier)
        handler.setFormatter(logging.Formatter())  # else basicConfig() puts level and name into the message
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


class _JournalHandler(logging.Handler):
    """Sends audit fields as journal fields too: ``journalctl OTPD_USER=alice``."""

    def __init__(self, identifier: str) -> None:
        super().__init__()
        self._identifier = identifier

    def emit(self, record: logging.LogRecord) -> None:
        fields = {f"OTPD_{name.upper()}": value for name, value in getattr(record, "otpd", {}).items() if value}
        try:
            priority = journal.JournalHandler.map_priority(record.levelno)
            message = self.format(record)
            journal.send(message, PRIORITY=priority, SYSLOG_IDENTIFIER=self._identifier, LOGGER=record.name, **fields)
        except Exception:  # noqa: BLE001 - logging must not raise
            self.handleError(record)
