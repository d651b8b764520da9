"""How records look as LDAP entries: attribute names and syntaxes, and nothing about connections.

An entry that lacks a value or holds a wrong one raises :class:`~otpd.errors.EntryError`, which names the entry and the
attribute and never the value.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, cast, get_args

from otpd import mailed_code
from otpd.adapters.ldap.names import user_above
from otpd.adapters.ldap.reader import Entry
from otpd.clock import to_datetime
from otpd.directory import (
    AppPasswordRecord,
    AppPasswordUse,
    Device,
    Grant,
    GrantPurpose,
    Kind,
    SealedValue,
    State,
    Token,
    Use,
    User,
)
from otpd.errors import EntryError
from otpd.otp import MAX_DIGITS, MAX_PERIOD_SECONDS, MIN_DIGITS, MIN_PERIOD_SECONDS, OtpParameters
from otpd.values import EntryId, ServiceName, TimeStep, UserName

T = TypeVar("T")

ATTRIBUTES: Final = (
    "objectClass",
    "uid",
    "oathFailureCount",
    "oathLastFailure",
    "oathOTPLength",
    "oathHMACAlgorithm",
    "oathTOTPTimeStepPeriod",
    "oathTOTPLastTimeStep",
    "oathTOTPTimeStepDrift",
    "oathHOTPCounter",
    "otpdId",
    "otpdState",
    "otpdLabel",
    "otpdSealedSeed",
    "otpdSealedDigest",
    "otpdService",
    "otpdCreated",
    "otpdSealedRecoveryCode",
    "otpdLastUsed",
    "otpdLastHost",
    "otpdLastService",
    "otpdLastAddress",
    "otpdNetwork",
    "otpdPurpose",
    "otpdExpires",
    "otpdHost",
    "otpdReset",
    "otpdAddress",
)

# RFC 4530; a server may have none.
UUID: Final = "entryUUID"

# The name of the entry that holds a user's recovery codes.
RECOVERY_ID: Final = EntryId("recovery-codes")

OBJECT_CLASSES: Final = (
    "otpdUser",
    "otpdToken",
    "otpdHotpToken",
    "otpdAppPassword",
    "otpdRecoveryCodes",
    "otpdGrant",
    "otpdDevice",
    "otpdMailedCode",
)

# The classes of tokens, with the attribute that holds the last step that was spent.
MOVING_FACTORS: Final[Mapping[str, str]] = {"otpdToken": "oathTOTPLastTimeStep", "otpdHotpToken": "oathHOTPCounter"}

# What a user's codes are judged by, as a filter.
_CODE_CLASSES: Final = ("otpdUser", *MOVING_FACTORS, "otpdRecoveryCodes", "otpdMailedCode")
OF_CODES: Final = f"(|{''.join(f'(objectClass={name})' for name in _CODE_CLASSES)})"

# RFC 8018 appendix B.1.2: the object identifiers of HMAC with SHA-1 and SHA-2.
_HMAC_OIDS: Final = {
    "sha1": "1.2.840.113549.2.7",
    "sha256": "1.2.840.113549.2.9",
    "sha512": "1.2.840.113549.2.11",
}
_HMAC_NAMES: Final = {oid: name for name, oid in _HMAC_OIDS.items()}
_TIME_FORMAT: Final = "%Y%m%d%H%M%SZ"  # RFC 4517 section 3.3.13, in UTC and whole seconds


# What is sealed, by the class of the entry that it stands in.
SEALED: Final[Mapping[str, tuple[Kind, str]]] = {
    "otpdToken": ("token", "otpdSealedSeed"),
    "otpdHotpToken": ("HOTP token", "otpdSealedSeed"),
    "otpdAppPassword": ("app password", "otpdSealedDigest"),
    "otpdRecoveryCodes": ("recovery code", "otpdSealedRecoveryCode"),
    "otpdGrant": ("grant", "otpdSealedDigest"),
    "otpdDevice": ("remembered device", "otpdSealedDigest"),
    "otpdMailedCode": ("mailed code", "otpdSealedDigest"),
}


def is_a(entry: Entry, object_class: str) -> bool:
    """Whether the entry is of ``object_class``."""
    return object_class.lower().encode() in [value.lower() for value in entry.get("objectClass", ())]


def to_user(
    name: UserName, entry: Entry, tokens: tuple[Token, ...] = (), recovery_codes: tuple[bytes, ...] = ()
) -> User:
    """The record of the entry that a search for ``name`` found."""
    where = f"uid={name}"
    if name.encode() not in entry.get("uid", []):
        # uid compares without case: ALICE must not be answered with alice's entry, nor get a throttle of its own.
        raise EntryError(f"{where}: the directory's entry spells the name differently")
    return User(
        name=name,
        state=_optional(where, entry, "otpdState", _state) or "active",
        failures=_one(where, entry, "oathFailureCount", _natural),
        last_failure=_optional(where, entry, "oathLastFailure", _time),
        reset=_optional(where, entry, "otpdReset", _time),
        tokens=tokens,
        sealed_recovery_codes=recovery_codes,
    )


def from_user(name: UserName) -> dict[str, Any]:
    """The attributes of a new user's entry."""
    return {"objectClass": ["otpdUser"], "uid": name, "oathFailureCount": 0}


def is_token(entry: Entry) -> bool:
    """Whether the entry is of one of the classes of tokens."""
    return any(is_a(entry, name) for name in MOVING_FACTORS)


def token_class(parameters: OtpParameters) -> str:
    """The class of a token's entry."""
    return "otpdHotpToken" if parameters.kind == "hotp" else "otpdToken"


def to_token(dn: str, entry: Entry) -> Token:
    """The record of a token's entry."""
    counts = is_a(entry, "otpdHotpToken")
    parameters = OtpParameters(
        digits=_one(dn, entry, "oathOTPLength", _digits),
        algorithm=_one(dn, entry, "oathHMACAlgorithm", lambda value: _HMAC_NAMES[value.decode()]),
        period_seconds=None if counts else _one(dn, entry, "oathTOTPTimeStepPeriod", _period),
    )
    return Token(
        id=EntryId(_one(dn, entry, "otpdId", bytes.decode)),
        label=_optional(dn, entry, "otpdLabel", bytes.decode) or "",
        state=_one(dn, entry, "otpdState", _state),
        parameters=parameters,
        last_step=TimeStep(_one(dn, entry, MOVING_FACTORS[token_class(parameters)], _natural)),
        created=_one(dn, entry, "otpdCreated", _time),
        sealed_seed=_one(dn, entry, "otpdSealedSeed", bytes),
        last_use=_to_use(dn, entry),
    )


def from_token(token: Token) -> dict[str, Any]:
    """The attributes of a new token's entry."""
    kind, period = token_class(token.parameters), token.parameters.period_seconds
    return {
        "objectClass": [kind],
        "otpdId": token.id,
        "otpdState": token.state,
        "otpdSealedSeed": token.sealed_seed,
        "otpdCreated": from_time(token.created),
        "oathOTPLength": token.parameters.digits,
        "oathHMACAlgorithm": _HMAC_OIDS[token.parameters.algorithm],
        MOVING_FACTORS[kind]: token.last_step,
        **({} if period is None else {"oathTOTPTimeStepPeriod": period}),
        **({"otpdLabel": token.label} if token.label else {}),
        **(from_use(token, token.last_use) if token.last_use else {}),
    }


def _to_use(dn: str, entry: Entry) -> Use | None:
    at = _optional(dn, entry, "otpdLastUsed", _time)
    if at is None:
        return None
    return Use(
        at=at,
        host=_optional(dn, entry, "otpdLastHost", bytes.decode) or "",
        service=ServiceName(_optional(dn, entry, "otpdLastService", bytes.decode) or ""),
        drift=_optional(dn, entry, "oathTOTPTimeStepDrift", _drift) or 0,
    )


def from_use(token: Token, use: Use) -> dict[str, Any]:
    """The attributes that note a use of ``token``; those that are empty are left out."""
    given: dict[str, Any] = {
        "otpdLastUsed": from_time(use.at - use.at % 60),
        "otpdLastHost": use.host,
        "otpdLastService": use.service,
        "oathTOTPTimeStepDrift": use.drift if token.parameters.kind == "totp" else "",
    }
    return {name: value for name, value in given.items() if value != ""}


def to_app_password(dn: str, entry: Entry) -> AppPasswordRecord:
    """The record of an app password's entry."""
    services = [value.decode("utf-8", "replace") for value in entry.get("otpdService", [])]
    return AppPasswordRecord(
        id=EntryId(_one(dn, entry, "otpdId", bytes.decode)),
        label=_optional(dn, entry, "otpdLabel", bytes.decode) or "",
        services=frozenset(ServiceName(service) for service in services),
        created=_one(dn, entry, "otpdCreated", _time),
        sealed_digest=_one(dn, entry, "otpdSealedDigest", bytes),
        expires=_optional(dn, entry, "otpdExpires", _time),
        networks=frozenset(value.decode("ascii", "replace") for value in entry.get("otpdNetwork", [])),
        last_use=_to_app_password_use(dn, entry),
    )


def _to_app_password_use(dn: str, entry: Entry) -> AppPasswordUse | None:
    at = _optional(dn, entry, "otpdLastUsed", _time)
    if at is None:
        return None
    return AppPasswordUse(
        at=at,
        host=_optional(dn, entry, "otpdLastHost", bytes.decode) or "",
        service=ServiceName(_optional(dn, entry, "otpdLastService", bytes.decode) or ""),
        address=_optional(dn, entry, "otpdLastAddress", bytes.decode) or "",
    )


def from_app_password(record: AppPasswordRecord) -> dict[str, Any]:
    """The attributes of a new app password's entry."""
    return {
        "objectClass": ["otpdAppPassword"],
        "otpdId": record.id,
        "otpdSealedDigest": record.sealed_digest,
        "otpdService": sorted(record.services),
        "otpdCreated": from_time(record.created),
        **({"otpdLabel": record.label} if record.label else {}),
        **({} if record.expires is None else {"otpdExpires": from_time(record.expires)}),
        **({"otpdNetwork": sorted(record.networks)} if record.networks else {}),
    }


def to_recovery_codes(dn: str, entry: Entry) -> tuple[bytes, ...]:
    """The sealed codes of a user's entry of recovery codes; none where it is suspended."""
    if _one(dn, entry, "otpdState", _state) != "active":
        return ()
    return tuple(entry.get("otpdSealedRecoveryCode", []))


def from_recovery_codes(sealed: Sequence[bytes], created: float) -> dict[str, Any]:
    """The attributes of an entry of recovery codes."""
    return {
        "objectClass": ["otpdRecoveryCodes"],
        "otpdId": RECOVERY_ID,
        "otpdState": "active",
        "otpdCreated": from_time(created),
        "otpdSealedRecoveryCode": list(sealed),
    }


def to_mailed_code(dn: str, entry: Entry) -> bytes | None:
    """What is sealed in the entry of the code that was mailed last; None where it is suspended."""
    if _one(dn, entry, "otpdState", _state) != "active":
        return None
    return _one(dn, entry, "otpdSealedDigest", bytes)


def from_mailed_code(sealed: bytes) -> dict[str, Any]:
    """The attributes of a new entry of the code that was mailed last."""
    return {
        "objectClass": ["otpdMailedCode"],
        "otpdId": mailed_code.ENTRY,
        "otpdState": "active",
        "otpdSealedDigest": sealed,
    }


def to_device(dn: str, entry: Entry) -> Device:
    """The record of a remembered device's entry."""
    return Device(
        id=EntryId(_one(dn, entry, "otpdId", bytes.decode)),
        address=_one(dn, entry, "otpdAddress", bytes.decode),
        group=_one(dn, entry, "otpdService", bytes.decode),
        created=_one(dn, entry, "otpdCreated", _time),
        expires=_one(dn, entry, "otpdExpires", _time),
        sealed_digest=_one(dn, entry, "otpdSealedDigest", bytes),
    )


def from_device(device: Device) -> dict[str, Any]:
    """The attributes of a remembered device's entry."""
    return {
        "objectClass": ["otpdDevice"],
        "otpdId": device.id,
        "otpdAddress": device.address,
        "otpdService": device.group,
        "otpdCreated": from_time(device.created),
        "otpdExpires": from_time(device.expires),
        "otpdSealedDigest": device.sealed_digest,
    }


def to_grant(dn: str, entry: Entry) -> Grant:
    """The record of a grant's entry."""
    return Grant(
        id=EntryId(_one(dn, entry, "otpdId", bytes.decode)),
        purpose=_one(dn, entry, "otpdPurpose", _purpose),
        created=_one(dn, entry, "otpdCreated", _time),
        expires=_one(dn, entry, "otpdExpires", _time),
        hosts=frozenset(value.decode("ascii", "replace") for value in entry.get("otpdHost", [])),
        sealed_digest=_one(dn, entry, "otpdSealedDigest", bytes),
    )


def from_grant(grant: Grant) -> dict[str, Any]:
    """The attributes of a new grant's entry."""
    return {
        "objectClass": ["otpdGrant"],
        "otpdId": grant.id,
        "otpdPurpose": grant.purpose,
        "otpdSealedDigest": grant.sealed_digest,
        "otpdCreated": from_time(grant.created),
        "otpdExpires": from_time(grant.expires),
        **({"otpdHost": sorted(grant.hosts)} if grant.hosts else {}),
    }


def to_sealed_values(dn: str, entry: Entry) -> list[SealedValue]:
    """What is sealed in an entry of one of the classes of :data:`SEALED`.

    It raises nothing: a name that does not parse is left empty, so that the value does not open and is reported.
    """
    entry_id = EntryId(next(iter(entry.get("otpdId", [])), b"").decode("utf-8", "replace"))
    return [
        SealedValue(user=user_above(dn), id=entry_id, kind=kind, place=dn, sealed=sealed)
        for name, (kind, attribute) in SEALED.items()
        if is_a(entry, name)
        for sealed in entry.get(attribute, [])
    ]


def from_time(seconds: float) -> str:
    """``seconds`` since the Unix epoch as generalizedTime."""
    return to_datetime(seconds).strftime(_TIME_FORMAT)


def _one(where: str, entry: Entry, attribute: str, read: Callable[[bytes], T]) -> T:
    value = _optional(where, entry, attribute, read)
    if value is None:
        raise EntryError(f"{where}: {attribute} is missing")
    return value


def _optional(where: str, entry: Entry, attribute: str, read: Callable[[bytes], T]) -> T | None:
    values = entry.get(attribute, [])
    if not values:
        return None
    if len(values) > 1:
        raise EntryError(f"{where}: {attribute} has more than one value")
    try:
        return read(values[0])
    except (ValueError, KeyError):
        raise EntryError(f"{where}: {attribute} does not parse") from None


def _natural(value: bytes) -> int:
    return _within(value, 0, 2**62)


def _digits(value: bytes) -> int:
    return _within(value, MIN_DIGITS, MAX_DIGITS)


def _period(value: bytes) -> int:
    return _within(value, MIN_PERIOD_SECONDS, MAX_PERIOD_SECONDS)


def _drift(value: bytes) -> int:
    return _within(value, -(2**31), 2**31)


def _within(value: bytes, least: int, most: int) -> int:
    number = int(value)
    if not least <= number <= most:
        raise ValueError
    return number


def _state(value: bytes) -> State:
    if value.decode() not in get_args(State):
        raise ValueError
    return cast("State", value.decode())


def _purpose(value: bytes) -> GrantPurpose:
    if value.decode() not in get_args(GrantPurpose):
        raise ValueError
    return cast("GrantPurpose", value.decode())


def _time(value: bytes) -> float:
    return datetime.strptime(value.decode(), _TIME_FORMAT).replace(tzinfo=UTC).timestamp()
