"""The people of the bench. Their secrets follow from their names, so nobody has to remember a million of them."""

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from otpd import app_password, otp, recovery
from otpd.adapters import slapd
from otpd.adapters.ldap import entries as ldap_entries
from otpd.app_password import AppPassword
from otpd.directory import AppPasswordRecord, Token
from otpd.factors.app_password import DIGEST_PURPOSE
from otpd.factors.code import SEED_PURPOSE
from otpd.factors.recovery_code import RECOVERY_PURPOSE
from otpd.otp import OtpParameters
from otpd.seal import KeyRing
from otpd.secret import Secret
from otpd.symbols import ALPHABET
from otpd.values import EntryId, ServiceName, TimeStep, UserName

SERVICES: Final = frozenset({ServiceName("imap")})
PARAMETERS: Final = OtpParameters(period_seconds=30)
_PERIOD_SECONDS: Final = 30
_ROOT: Final = b"the bench has no secrets"
_SEED_BYTES: Final = 20
_ID_BYTES: Final = 8
_MORE_EVERY: Final = 10


def name_of(number: int) -> UserName:
    """The user of a number, from 1 on."""
    return UserName(f"user{number:07}")


def has_more(number: int) -> bool:
    """Whether the user has recovery codes and an app password beside a device."""
    return number % _MORE_EVERY == 0


def seed_of(name: UserName) -> Secret:
    """What the user's device is made with."""
    return Secret(_derived(name, "seed")[:_SEED_BYTES])


def code_of(name: UserName, at_seconds: float) -> str:
    """What the user's device shows at that moment (seconds since the Unix epoch)."""
    return code_with(seed_of(name), at_seconds)


def code_with(seed: Secret, at_seconds: float) -> str:
    """What a device that is made with ``seed`` shows."""
    return otp.code_at(seed, PARAMETERS, otp.time_step(_PERIOD_SECONDS, at_seconds))


def app_password_of(name: UserName) -> AppPassword:
    """The app password for imap of a user who has one."""
    chosen = "".join(ALPHABET[byte % len(ALPHABET)] for byte in _derived(name, "app password") + _derived(name, "more"))
    secret = chosen[app_password.ID_SYMBOLS :][: app_password.SECRET_SYMBOLS]
    return AppPassword(EntryId(chosen[: app_password.ID_SYMBOLS]), Secret(secret.encode()))


def device_dn(name: UserName) -> str:
    """Where the user's device is in the directory."""
    return f"otpdId={_device_id(name)},uid={name},{slapd.BASE_DN}"


def ldif_of(number: int, keys: KeyRing, created: float) -> str:
    """All entries of a user as LDIF (RFC 2849), sealed with ``keys``."""
    return "".join(_record(dn, attributes) for dn, attributes in _entries(name_of(number), number, keys, created))


def _entries(name: UserName, number: int, keys: KeyRing, created: float) -> Iterator[tuple[str, dict[str, Any]]]:
    above = f"uid={name},{slapd.BASE_DN}"
    yield above, ldap_entries.from_user(name)
    device = _device_id(name)
    sealed = keys.seal(SEED_PURPOSE, (name, device), seed_of(name))
    yield (
        device_dn(name),
        ldap_entries.from_token(Token(device, "", "active", PARAMETERS, TimeStep(0), created, sealed)),
    )
    if has_more(number):
        codes = [recovery.digest(code.reveal()) for code in recovery.generate()]
        sealed_codes = [keys.seal(RECOVERY_PURPOSE, (name,), code) for code in codes]
        attributes = ldap_entries.from_recovery_codes(sealed_codes, created)
        yield f"otpdId={ldap_entries.RECOVERY_ID},{above}", attributes
        password = app_password_of(name)
        blank = AppPasswordRecord(password.id, "", SERVICES, created, b"")
        digest = keys.seal(DIGEST_PURPOSE, (name, password.id), app_password.digest(password, blank.scope))
        record = replace(blank, sealed_digest=digest)
        yield f"otpdId={password.id},{above}", ldap_entries.from_app_password(record)


def _device_id(name: UserName) -> EntryId:
    return EntryId(_derived(name, "device")[:_ID_BYTES].hex())


def _derived(name: UserName, what: str) -> bytes:
    return hmac.digest(_ROOT, f"{what} of {name}".encode(), hashlib.sha256)


def _record(dn: str, attributes: dict[str, Any]) -> str:
    """One entry; no value here needs another form than its own."""
    lines = [
        f"{attribute}: {value.decode() if isinstance(value, bytes) else value}"
        for attribute, values in attributes.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    return "\n".join([f"dn: {dn}", *lines]) + "\n\n"
