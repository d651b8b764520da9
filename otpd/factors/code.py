"""A code of one of the user's tokens (TOTP, RFC 6238; HOTP, RFC 4226), spent once over the whole fleet."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from otpd import moving_factor, otp, policy
from otpd.directory import Token, Use, User
from otpd.factor import Attempt, Outcome, Parts, Reason
from otpd.guesses import Guesses, Spend
from otpd.offline import OfflineProof
from otpd.otp import OtpParameters
from otpd.policy import ProofName
from otpd.printable import printable
from otpd.secret import Secret
from otpd.texts import _, mark
from otpd.values import EntryId, ServiceName, TimeStep, UserName

SEED_PURPOSE = "totp seed"
HOTP_PURPOSE = "hotp seed"
"""Another one, since HOTP gives the code of a time step again: no token of one kind may be made one of the other."""

_MAX_SERVICE = 64

Search = Callable[[Token, Secret], Iterable[TimeStep]]
"""The steps of a token, whose seed is given, that what was typed is right for."""


@dataclass(frozen=True)
class Code:
    """The codes of authenticator apps and hardware keys."""

    proof: ProofName = policy.CODE
    prompt: str = mark("Verification code: ")
    offline: OfflineProof | None = "code"

    def claims(self, typed: bytes) -> bool:
        """Six to eight digits."""
        return otp.parse_code(typed) is not None

    def verify(self, attempt: Attempt, parts: Parts) -> Outcome:
        """Find the token and step that the code belongs to, and spend the step."""
        code = otp.parse_code(attempt.typed.reveal())
        if code is None:
            return Outcome(Reason.NO_PROOF)
        user = parts.directory.user(attempt.user, attempt.deadline)
        outcome = _judge(user, attempt, parts, lambda token, seed: steps_of(token, seed, code, parts))
        return _with_clock(user, code, attempt, parts) if user and outcome.reason is Reason.WRONG_CODE else outcome


def resynchronise(attempt: Attempt, following: Secret, parts: Parts) -> Outcome:
    """Find the token that gave ``attempt.typed`` and then ``following``, however far off it is, and spend both.

    It is one guess, of two codes.
    """
    codes = otp.parse_code(attempt.typed.reveal()), otp.parse_code(following.reveal())
    if codes[0] is None or codes[1] is None or len(codes[0]) != len(codes[1]):
        return Outcome(Reason.NO_PROOF)
    two, now = (codes[0], codes[1]), parts.clock.wall()

    def search(token: Token, seed: Secret) -> tuple[TimeStep, ...]:
        if len(two[0]) != token.parameters.digits:
            return ()
        return otp.consecutive_steps(seed, token.parameters, two, moving_factor.far(token, now))

    user = parts.directory.user(attempt.user, attempt.deadline)
    anything = replace(parts.windows, drift=moving_factor.RESYNC_SECONDS)
    return _judge(user, attempt, replace(parts, windows=anything), search)


def steps_of(token: Token, seed: Secret, code: str, parts: Parts) -> tuple[TimeStep, ...]:
    """The steps near to where the token should be that ``code`` is right for, whether spent or not."""
    if len(code) != token.parameters.digits:
        return ()
    steps = moving_factor.expected(token, parts.clock.wall(), parts.windows)
    return otp.matching_steps(seed, token.parameters, code, steps)


def open_seed(user: UserName, token: Token, parts: Parts) -> Secret:
    """The seed of a token."""
    return parts.keys.open(purpose_of(token.parameters), (user, token.id), token.sealed_seed)


def seal_seed(user: UserName, token_id: EntryId, parameters: OtpParameters, seed: Secret, parts: Parts) -> bytes:
    """The way back from :func:`open_seed`."""
    return parts.keys.seal(purpose_of(parameters), (user, token_id), seed)


def purpose_of(parameters: OtpParameters) -> str:
    """What the seed of a token is sealed for."""
    return HOTP_PURPOSE if parameters.kind == "hotp" else SEED_PURPOSE


def _judge(user: User | None, attempt: Attempt, parts: Parts, search: Search) -> Outcome:
    if user is None or not user.enrolled:
        return Outcome(Reason.NOT_ENROLLED)
    if not user.usable_tokens:
        return Outcome(Reason.DISABLED)
    name, tokens = user.name, user.usable_tokens

    def find() -> list[Spend]:
        return [
            partial(_spend, name, token, step, attempt, parts)
            for token in tokens
            for step in search(token, open_seed(name, token, parts))
        ]

    guesses = Guesses(parts.directory, parts.clock, user, attempt.deadline)
    return guesses.judge(find, wrong=Reason.WRONG_CODE, used=Reason.USED_CODE)


def _spend(user: UserName, token: Token, step: TimeStep, attempt: Attempt, parts: Parts) -> Outcome | None:
    """Spend ``step``: this caller alone, on any host, gets an outcome.

    Another host may have spent an earlier step since ``token`` was read. Then the token is read again, and the step is
    still good; each round, the last step has moved on, so it ends.
    """
    current: Token | None = token
    while current is not None and current.state == "active" and step > current.last_step:
        use = _use(current, step, attempt, parts)
        if parts.directory.spend_step(user, current, step, attempt.deadline, use):
            clock = moving_factor.clock(token.parameters, use.drift)
            info = clock if attempt.at_shell else ""
            return Outcome(Reason.ACCEPTED, detail=f"token {token.id}", info=info, token=token.id)
        fresh = parts.directory.user(user, attempt.deadline)
        usable = fresh.usable_tokens if fresh else ()
        current = next((other for other in usable if other.id == token.id), None)
    return None


def _use(token: Token, step: TimeStep, attempt: Attempt, parts: Parts) -> Use:
    now = parts.clock.wall()
    # The name comes from a PAM application, and is shown on terminals.
    service = printable(attempt.service[:_MAX_SERVICE]).strip()
    drift = moving_factor.learned_drift(token, step, now, parts.windows)
    return Use(at=now, host=parts.host, service=ServiceName(service), drift=drift)


def _with_clock(user: User, code: str, attempt: Attempt, parts: Parts) -> Outcome:
    """A wrong code, and whether it is one of a device whose clock is wrong. It is counted by now, as any wrong code.

    The log says so. The person is told at the shell alone, and only of a code that is spent first: else a guesser could
    find out codes of the next minutes, and wait for them.
    """
    for token in user.usable_tokens:
        if len(code) != token.parameters.digits:
            continue
        now = parts.clock.wall()
        steps = moving_factor.nearby(token.parameters, now)
        for step in otp.matching_steps(open_seed(user.name, token, parts), token.parameters, code, steps):
            drift = moving_factor.observed_drift(token.parameters, step, now)
            seconds = drift * (token.parameters.period_seconds or 0)
            # Its step is spent, and those before it: a device that is set back must wait until they have passed.
            off_by = _("The clock of your device is {off}.", off=moving_factor.clock(token.parameters, drift))
            fast, slow = _("Run: otpctl resync. Or set it, and wait as long."), _("Set it, or run: otpctl resync")
            told = attempt.at_shell and parts.directory.spend_step(user.name, token, step, attempt.deadline)
            return Outcome(
                Reason.WRONG_CODE,
                detail=f"a code of token {token.id}, whose clock is off by {seconds:+} s",
                info=f"{off_by} {fast if drift > 0 else slow}" if told else "",
            )
    return Outcome(Reason.WRONG_CODE)


CODE = Code()
