"""An app password: for a program that cannot be asked for a code, at the services it was made for."""

from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Final

from otpd import app_password, policy
from otpd.directory import AppPasswordRecord, AppPasswordUse
from otpd.factor import Attempt, Outcome, Parts, Reason
from otpd.offline import OfflineProof
from otpd.policy import ProofName
from otpd.symbols import Typo
from otpd.texts import mark

DIGEST_PURPOSE = "app password"
NOTED_SECONDS: Final = 60
"""A use is noted this long after the last that was, at the soonest: a mail program logs in every few seconds."""


@dataclass(frozen=True)
class AppPasswordFactor:
    """The factor ``app-password``. 130 random bits cannot be guessed, so nothing is counted.

    A mail client that goes on trying a revoked one must not throttle its owner.
    """

    proof: ProofName = policy.APP_PASSWORD
    prompt: str = mark("Password: ")
    offline: OfflineProof | None = "app-password"

    def claims(self, typed: bytes) -> bool:
        """Whatever starts with the prefix."""
        return app_password.looks_like_one(typed)

    def verify(self, attempt: Attempt, parts: Parts) -> Outcome:
        """Look up the one entry that it names, and compare."""
        try:
            offered = app_password.parse(attempt.typed.reveal())
        except Typo:
            return Outcome(Reason.TYPO)
        user, record = parts.directory.app_password(attempt.user, offered.id, attempt.deadline)
        if user is None or record is None:
            return Outcome(Reason.NO_SUCH_APP_PASSWORD)
        if user.state == "disabled":
            return Outcome(Reason.DISABLED)
        digest = parts.keys.open(DIGEST_PURPOSE, (attempt.user, offered.id), record.sealed_digest)
        if digest != app_password.digest(offered, record.scope):  # Secret compares in constant time
            return Outcome(Reason.WRONG_APP_PASSWORD)
        reason = _limit(attempt, record, parts)
        if reason is Reason.ACCEPTED and not parts.directory.offline:
            _note(attempt, record, parts)
        return Outcome(reason, detail=f"app password {record.id}")


def has_expired(record: AppPasswordRecord, now: float, unused_seconds: float) -> bool:
    """Whether its day has come, or it was not used for ``unused_seconds`` (0: that does not count)."""
    last = max(record.created, record.last_use.at if record.last_use else 0.0)
    unused = bool(unused_seconds) and now >= last + unused_seconds
    return unused or (record.expires is not None and now >= record.expires)


def _limit(attempt: Attempt, record: AppPasswordRecord, parts: Parts) -> Reason:
    """Why it does not open here and now, or that it does."""
    if has_expired(record, parts.clock.wall(), parts.unused_seconds):
        return Reason.EXPIRED_APP_PASSWORD
    if attempt.service not in record.services:
        return Reason.OTHER_SERVICE
    if record.networks and not _is_in(attempt.rhost, record.networks):
        return Reason.OTHER_NETWORK
    return Reason.ACCEPTED


def _is_in(rhost: str, networks: frozenset[str]) -> bool:
    """Whether the address is in one of them; a name is in none, since who owns an address may name it as they like."""
    try:
        address = ip_address(rhost.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in ip_network(network) for network in networks)
    except ValueError:
        return False


def _note(attempt: Attempt, record: AppPasswordRecord, parts: Parts) -> None:
    now = parts.clock.wall()
    if record.last_use is None or now - record.last_use.at >= NOTED_SECONDS:
        address = attempt.rhost if attempt.rhost.isascii() else ""
        use = AppPasswordUse(now, parts.host, attempt.service, address)
        parts.aside(partial(parts.directory.note_use, attempt.user, record, use))


APP_PASSWORD = AppPasswordFactor()
