"""What can be broken.

A refusal is a value with a reason (``otpd.factor``), never one of these: an exception says that otpd could not decide.
Every message is fit for a log and for a user: it never holds a code, a password, a seed or a sealed value.
"""


class OtpdError(Exception):
    """The base of every exception that otpd raises on purpose."""


class ProtocolError(OtpdError):
    """A message that the protocol does not allow; the text says which rule it breaks."""


class ConfigError(OtpdError):
    """Faults in the configuration, all of them: ``faults`` are ready sentences, each with its file and key."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class SealError(OtpdError):
    """A sealed value that does not open: the wrong key, the wrong place, or damage."""


class BackupError(OtpdError):
    """A backup that is damaged, cut off, of another version, or sealed with a key that is not at hand."""


class TicketError(OtpdError):
    """A ticket that is damaged, expired, or another peer's."""


class DirectoryError(OtpdError):
    """The directory did not do what was asked."""


class DirectoryUnavailable(DirectoryError):  # noqa: N818 - it reads as the verdict it leads to
    """The directory cannot be reached, or did not answer before the deadline; a write may or may not have happened."""


class EntryError(DirectoryError):
    """An entry that does not parse; the text names the entry and the attribute."""


class StoreError(OtpdError):
    """What this host remembers for when the directory is away cannot be read or written."""


class MailError(OtpdError):
    """A mail that could not be sent, or of which nobody can say so."""


class HelperError(OtpdError):
    """otpd-password did not give an answer."""
