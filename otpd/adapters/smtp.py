"""Handing a mail to a submission server (RFC 6409): smtplib speaks, on a stream that is bounded in time and in size."""

import io
import re
import smtplib
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from otpd.adapters import systemd
from otpd.adapters.config import MailTable
from otpd.adapters.key_file import read_secret
from otpd.adapters.link import Address, Link, dial, is_loopback, tls_context
from otpd.clock import Clock, Deadline, to_datetime
from otpd.errors import ConfigError, MailError
from otpd.secret import Secret
from otpd.values import UserName

_CREDENTIAL: Final = "mail-password"
_PORTS: Final = {"smtp": 587, "smtps": 465}  # RFC 6409, RFC 8314 section 3.3
_MAX_REPLY_BYTES: Final = 64 * 1024
_READY: Final = 220
# RFC 5321 section 4.1.2, without quoted strings, comments and what else a name of a user must not turn into.
_ADDRESS: Final = re.compile(r"[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_MAX_ADDRESS: Final = 254  # RFC 5321 section 4.5.3.1.3, less the brackets
_STATUS: Final = re.compile(rb"[245]\.[0-9]{1,3}\.[0-9]{1,3}\b")  # RFC 3463

_WORDS: Final = (
    (smtplib.SMTPRecipientsRefused, "it refuses the recipient"),
    (smtplib.SMTPSenderRefused, "it refuses the sender"),
    (smtplib.SMTPAuthenticationError, "it refuses otpd's password"),
    (smtplib.SMTPResponseException, "it refuses the mail"),
    (smtplib.SMTPNotSupportedError, "it does not offer what [mail] asks for: STARTTLS, or a way to log in"),
    (smtplib.SMTPServerDisconnected, "it ended the connection, or what it says is no SMTP"),
    (ssl.SSLCertVerificationError, "its certificate is not good"),
    (ssl.SSLError, "TLS failed"),
    ((smtplib.SMTPException, MessageError, ValueError), "what it says is no SMTP"),
)


@dataclass(frozen=True)
class Submission:
    """:class:`otpd.factor.Mailer` that hands each mail to ``server``, and waits until that has taken it.

    ``to`` is the address of a user, whose name stands for ``{user}`` in it. ``host`` is what this host calls itself.
    """

    server: str
    sender: str
    to: str
    host: str
    clock: Clock
    ca_file: str | None = None
    user: str = ""
    password: Secret | None = field(default=None, repr=False)

    def __call__(self, user: UserName, subject: str, text: str, deadline: Deadline) -> None:
        """Send it; raises :class:`MailError`, whose text holds nothing of the mail."""
        recipient = self.to.replace("{user}", user)
        if not _ADDRESS.fullmatch(recipient) or len(recipient) > _MAX_ADDRESS:
            raise MailError("the user's name makes no address")
        try:
            self._submit(recipient, self._message(recipient, subject, text), deadline)
        # smtplib's errors and ssl's are OSErrors, but for what it says of replies that are none.
        except (OSError, ValueError, MessageError) as error:
            why = "it did not take the mail in time" if deadline.expired() else _why(error)
            raise MailError(f"{self.server}: {why}") from None

    def _message(self, recipient: str, subject: str, text: str) -> bytes:
        message = EmailMessage(policy=SMTP)
        message["From"], message["To"], message["Subject"] = self.sender, recipient, subject
        message["Date"] = format_datetime(to_datetime(self.clock.wall()))
        message["Message-ID"] = make_msgid(domain=self.sender.rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday answers it
        message.set_content(text, cte="quoted-printable")  # not every server takes more than ASCII
        return message.as_bytes()

    def _submit(self, recipient: str, message: bytes, deadline: Deadline) -> None:
        parts = urlsplit(self.server)
        host, context = parts.hostname or "", tls_context(self.ca_file, None, None)
        where = "127.0.0.1" if host == "localhost" else host  # no name server says where the clear text goes
        link = dial(Address(parts.scheme, where, parts.port or _PORTS[parts.scheme]), deadline)
        try:
            if parts.scheme == "smtps":
                link.secure(context, host)
            session = _Session(link, self.host if "." in self.host else "[127.0.0.1]")
            session.greet()
            if parts.scheme == "smtp" and not is_loopback(host):
                session.secure(context, host)
            if self.password:
                session.login(self.user, self.password.reveal().decode("ascii"))
            session.sendmail(self.sender, [recipient], message)
            with suppress(OSError):
                session.putcmd("quit")
        finally:
            link.close()


class _Session(smtplib.SMTP):
    """smtplib's dialogue on a stream of otpd's own."""

    def __init__(self, link: Link, local_hostname: str) -> None:
        super().__init__(local_hostname=local_hostname)  # without one, it would ask the name servers for it
        self._link = link
        self._take(link)

    def greet(self) -> None:
        """Wait for the server's first words."""
        code, text = self.getreply()
        if code != _READY:
            raise smtplib.SMTPConnectError(code, text)

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """STARTTLS (RFC 3207), or nothing; what was said before it is forgotten."""
        self.ehlo_or_helo_if_needed()
        code, text = self.docmd("STARTTLS")
        if code != _READY:
            raise smtplib.SMTPNotSupportedError(code, text)
        self._link.secure(context, host)
        self._take(self._link)  # also what came in the clear and was not read yet
        self.helo_resp = self.ehlo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False

    def _take(self, link: Any) -> None:  # noqa: ANN401 - it has what smtplib asks of a socket
        self.sock = link
        self.file = io.BufferedReader(_Replies(link))


class _Replies(io.RawIOBase):
    """What a server says, up to a limit: smtplib keeps all lines of a reply."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._left = _MAX_REPLY_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - BufferedReader's memoryview
        if not self._left:
            raise OSError("it says too much")
        data = self._link.recv(min(len(buffer), self._left))
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)


def submission_of(table: MailTable, host: str, clock: Clock) -> Submission:
    """What otpd.toml describes; raises :class:`ConfigError` for a password that cannot be read or sent."""
    password = None
    if table.password_file:
        given = systemd.credential(_CREDENTIAL)
        path = given or Path(table.password_file)
        password = read_secret(path, trusted=given is not None)
        if not password.reveal().isascii():
            raise ConfigError([f"{path}: must be ASCII, since smtplib sends nothing else"])
    return Submission(
        server=table.server,
        sender=table.sender,
        to=table.to,
        host=host,
        clock=clock,
        ca_file=table.ca_file or None,
        user=table.user,
        password=password,
    )


def _why(error: Exception) -> str:
    """Words for the log. Of a server's, only numbers: it may repeat what it was told."""
    words = next((words for kind, words in _WORDS if isinstance(error, kind)), "")
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return words + _number(*next(iter(error.recipients.values())))
    if isinstance(error, smtplib.SMTPResponseException):
        return words + _number(error.smtp_code, error.smtp_error)
    if isinstance(error, ssl.SSLError):
        return f"{words}: {getattr(error, 'verify_message', error.reason)}"
    return words or str(getattr(error, "strerror", None) or error)


def _number(code: int, text: bytes | str) -> str:
    status = _STATUS.match(text if isinstance(text, bytes) else text.encode())
    return f" ({code}{' ' + status[0].decode() if status else ''})"
