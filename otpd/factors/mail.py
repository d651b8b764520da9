"""A one-time code by mail: the proof that somebody reads the user's mail. It is delivered once it is asked for.

Who types the word ``mail`` asks for one. Whatever comes of that comes later, and is told to nobody but the user's
mailbox and the log: the answer at the prompt is the same for everybody, in text and time.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from otpd import audit, mailed_code, policy, remembered, symbols
from otpd.clock import Deadline, to_datetime
from otpd.directory import User
from otpd.errors import DirectoryError, MailError, SealError
from otpd.factor import Attempt, Outcome, Parts, Post, Reason
from otpd.guesses import Guesses, Spend
from otpd.mailed_code import Mailed
from otpd.offline import OfflineProof
from otpd.policy import ProofName
from otpd.printable import printable
from otpd.secret import Secret
from otpd.symbols import Typo
from otpd.texts import _, mark
from otpd.values import UserName

MAILED_PURPOSE: Final = "mailed code"
MAIL_SECONDS: Final = 15.0
"""For all that a mail takes, from the first look into the directory on."""
PATIENCE_SECONDS: Final = 60.0
"""For its turn: mails go one after the other, and who has waited for longer has given up, or asked again."""

_WORD: Final = "mail"
_TRIES: Final = 3  # a key does not change twice in the time of a login
_LAST_SECONDS: Final = 3.0
_MAX_SERVICE: Final = 64


@dataclass(frozen=True)
class Mail:
    """The factor ``mail``, for every user whom NSS knows and who is not disabled, whether or not they have a token."""

    proof: ProofName = policy.MAIL
    prompt: str = mark("Code by mail: ")
    offer: str = mark("To get a code by mail, type: mail")
    offline: OfflineProof | None = None

    def claims(self, typed: bytes) -> bool:
        """The word that asks for a mail, or eight letters and digits."""
        return _asks(typed) or mailed_code.looks_like_one(typed)

    def verify(self, attempt: Attempt, parts: Parts) -> Outcome:
        """Have a code sent, or spend the one that was."""
        if _asks(attempt.typed.reveal()):
            if parts.post and attempt.known:
                _ask_for_one(attempt, parts, parts.post)
            told = _("If this account takes codes by mail, one is on its way. Type it here.")
            return Outcome(Reason.MAIL_ASKED_FOR, delivery=told)
        try:
            digest = mailed_code.digest(attempt.typed.reveal())
        except Typo:
            return Outcome(Reason.TYPO)
        user = parts.directory.user(attempt.user, attempt.deadline)
        if user is not None and user.state == "disabled":
            return Outcome(Reason.DISABLED)
        mailed = _known(user, parts) if user else None
        if user is None or mailed is None or not mailed.is_good(parts.clock.wall()):
            return Outcome(Reason.NO_MAILED_CODE)  # nothing could be right, so it is no guess

        def find() -> list[Spend]:
            return [partial(_spend, user, digest, attempt, parts)] if mailed.digest == digest else []

        guesses = Guesses(parts.directory, parts.clock, user, attempt.deadline)
        return guesses.judge(find, wrong=Reason.WRONG_MAILED_CODE, used=Reason.NO_MAILED_CODE)


def _asks(typed: bytes) -> bool:
    return symbols.bare(typed) == _WORD


def _known(user: User, parts: Parts) -> Mailed | None:
    """What is known of the code that was mailed last."""
    if user.sealed_mailed_code is None:
        return None
    return Mailed.from_plain(parts.keys.open(MAILED_PURPOSE, (user.name, mailed_code.ENTRY), user.sealed_mailed_code))


def _sealed(user: UserName, mailed: Mailed, parts: Parts) -> bytes:
    return parts.keys.seal(MAILED_PURPOSE, (user, mailed_code.ENTRY), mailed.to_plain())


def _spend(user: User, digest: Secret, attempt: Attempt, parts: Parts) -> Outcome | None:
    """Let the code be used, once.

    What is known of it may have been sealed with another key since ``user`` was read. Then it is read again.
    """
    current: User | None = user
    for _round in range(_TRIES):
        mailed = _known(current, parts) if current else None
        if not current or not mailed or mailed.digest != digest:
            return None
        used = _sealed(user.name, replace(mailed, digest=None, unused=0), parts)
        if parts.directory.set_mailed_code(user.name, current.sealed_mailed_code, used, attempt.deadline):
            return Outcome(Reason.ACCEPTED, detail="mailed code")
        current = parts.directory.user(user.name, attempt.deadline)
    return None


def _ask_for_one(attempt: Attempt, parts: Parts, post: Post) -> None:
    """Have it done later; in the language of the login."""
    deliver = partial(_deliver, attempt, parts, post, parts.clock.monotonic())
    if not post.aside(partial(copy_context().run, deliver)):
        _record(attempt)("code not mailed", level=logging.WARNING, reason="too many mails wait for their turn")


def _record(attempt: Attempt) -> Callable[..., None]:
    return partial(audit.record, user=attempt.user, service=attempt.service, rhost=attempt.rhost)


def _deliver(attempt: Attempt, parts: Parts, post: Post, asked: float, deadline: Deadline) -> None:
    """Mail a new code to the user, who asked at that moment (monotonic seconds), and log what came of it."""
    record = _record(attempt)
    if parts.clock.monotonic() - asked > PATIENCE_SECONDS:
        record("code not mailed", level=logging.WARNING, reason="its turn came too late: mails take too long")
        return
    try:
        refusal = _mail(attempt, parts, post, deadline)
        record("code not mailed" if refusal else "code mailed", reason=refusal)
    except (DirectoryError, SealError, MailError) as error:
        record("code not mailed", level=logging.WARNING, reason=error)


def _mail(attempt: Attempt, parts: Parts, post: Post, deadline: Deadline) -> str:
    """Why no code is to be mailed; empty where one was. Raises :class:`MailError` where it could not be."""
    name, now = attempt.user, int(parts.clock.wall())
    user = parts.directory.user(name, deadline)
    if user is None:
        parts.directory.ensure_user(name, deadline)
        user = User(name)
    if user.state == "disabled":
        return "the user is disabled"
    last = _known(user, parts)
    if last and (seconds := last.seconds_left(now)):
        return f"the last one was mailed too short a time ago: the next may be in {int(seconds) + 1} seconds"
    code, unused = mailed_code.generate(), last.in_a_row(now) if last else 0
    mailed = Mailed(now, now + post.valid_seconds, unused + 1, mailed_code.digest(code.reveal()))
    sealed = _sealed(name, mailed, parts)
    if not parts.directory.set_mailed_code(name, user.sealed_mailed_code, sealed, deadline):
        return "another one was mailed at the same moment"
    try:
        # Some time is left for what follows a failure.
        sending = Deadline.after(parts.clock, max(0.0, deadline.remaining_seconds() - _LAST_SECONDS))
        subject = _("Your code for logging in to {host}", host=parts.host)
        post.send(name, subject, _text(attempt, parts, code, mailed), sending)
    except MailError:
        # It may have arrived after all, so the code stays good, and the next may be sent no sooner. But a mail server
        # that was away must not be what makes its owner wait for an hour.
        uncounted = _sealed(name, replace(mailed, unused=unused), parts)
        with suppress(DirectoryError):
            parts.directory.set_mailed_code(name, sealed, uncounted, deadline)
        raise
    return ""


def _text(attempt: Attempt, parts: Parts, code: Secret, mailed: Mailed) -> str:
    # What comes from a PAM application may be chosen by who logs in. Of where they come from, only an address is told.
    return _(
        """\
Somebody, probably you, is logging in as {user}.

Code:     {code}
Service:  {service} on {host}
From:     {address}
At:       {at}

The code works once, until {until}. Type it where you asked for it, and tell
it to nobody.

If this was not you, somebody may know your password: change it, and tell your
administrator. Without the code, nobody is let in by it.
""",
        user=attempt.user,
        code=code.reveal().decode(),
        service=printable(attempt.service[:_MAX_SERVICE]),
        host=parts.host,
        address=remembered.address_of(attempt.rhost) or _("not known"),
        at=f"{to_datetime(mailed.sent):%Y-%m-%d %H:%M} UTC",
        until=f"{to_datetime(mailed.expires):%H:%M} UTC",
    )


MAIL = Mail()
