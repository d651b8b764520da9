"""How records look as LDAP entries: attribute names and syntaxes, and nothing about connections.

An entry that lacks a value or holds a wrong one raises :class:`~otpd.errors.EntryError`, which names the entry and the
attribute and never the value.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from otpd import mailed_code
from otpd.adapters.ldap import syntax
from otpd.adapters.ldap.names import user_above
from otpd.adapters.ldap.reader import Entry
from otpd.directory import (
    AppPasswordRecord,
    AppPasswordUse,
    Device,
    Grant,
    Kind,
    SealedValue,
    Token,
    Use,
    User,
)
from otpd.errors import EntryError
from otpd.otp import OtpParameters
from otpd.values import EntryId, ServiceName, TimeStep, UserName

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
        state=syntax.optional_value(where, entry, "otpdState", syntax.state) or "active",
        failures=syntax.one_value(where, entry, "oathFailureCount", syntax.natural),
        last_failure=syntax.optional_value(where, entry, "oathLastFailure", syntax.time),
        reset=syntax.optional_value(where, entry, "otpdReset", syntax.time),
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
        digits=syntax.one_value(dn, entry, "oathOTPLength", syntax.digits),
        algorithm=syntax.one_value(dn, entry, "oathHMACAlgorithm", lambda value: _HMAC_NAMES[value.decode()]),
        period_seconds=None if counts else syntax.one_value(dn, entry, "oathTOTPTimeStepPeriod", syntax.period),
    )
    return Token(
        id=EntryId(syntax.one_value(dn, entry, "otpdId", bytes.decode)),
        label=syntax.optional_value(dn, entry, "otpdLabel", bytes.decode) or "",
        state=syntax.one_value(dn, entry, "otpdState", syntax.state),
        parameters=parameters,
        last_step=TimeStep(syntax.one_value(dn, entry, MOVING_FACTORS[token_class(parameters)], syntax.natural)),
        created=syntax.one_value(dn, entry, "otpdCreated", syntax.time),
        sealed_seed=syntax.one_value(dn, entry, "otpdSealedSeed", bytes),
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
        "otpdCreated": syntax.from_time(token.created),
        "oathOTPLength": token.parameters.digits,
        "oathHMACAlgorithm": _HMAC_OIDS[token.parameters.algorithm],
        MOVING_FACTORS[kind]: token.last_step,
        **({} if period is None else {"oathTOTPTimeStepPeriod": period}),
        **({"otpdLabel": token.label} if token.label else {}),
        **(from_use(token, token.last_use) if token.last_use else {}),
    }


def _to_use(dn: str, entry: Entry) -> Use | None:
    at = syntax.optional_value(dn, entry, "otpdLastUsed", syntax.time)
    if at is None:
        return None
    return Use(
        at=at,
        host=syntax.optional_value(dn, entry, "otpdLastHost", bytes.decode) or "",
        service=ServiceName(syntax.optional_value(dn, entry, "otpdLastService", bytes.decode) or ""),
        drift=syntax.optional_value(dn, entry, "oathTOTPTimeStepDrift", syntax.drift) or 0,
    )


def from_use(token: Token, use: Use) -> dict[str, Any]:
    """The attributes that note a use of ``token``; those that are empty are left out."""
    given: dict[str, Any] = {
        "otpdLastUsed": syntax.from_time(use.at - use.at % 60),
        "otpdLastHost": use.host,
        "otpdLastService": use.service,
        "oathTOTPTimeStepDrift": use.drift if token.parameters.kind == "totp" else "",
    }
    return {name: value for name, value in given.items() if value != ""}


def to_app_password(dn: str, entry: Entry) -> AppPasswordRecord:
    """The record of an app password's entry."""
    services = [value.decode("utf-8", "replace") for value in entry.get("otpdService", [])]
    return AppPasswordRecord(
        id=EntryId(syntax.one_value(dn, entry, "otpdId", bytes.decode)),
        label=syntax.optional_value(dn, entry, "otpdLabel", bytes.decode) or "",
        services=frozenset(ServiceName(service) for service in services),
        created=syntax.one_value(dn, entry, "otpdCreated", syntax.time),
        sealed_digest=syntax.one_value(dn, entry, "otpdSealedDigest", bytes),
        expires=syntax.optional_value(dn, entry, "otpdExpires", syntax.time),
        networks=frozenset(value.decode("ascii", "replace") for value in entry.get("otpdNetwork", [])),
        last_use=_to_app_password_use(dn, entry),
    )


def _to_app_password_use(dn: str, entry: Entry) -> AppPasswordUse | None:
    at = syntax.optional_value(dn, entry, "otpdLastUsed", syntax.time)
    if at is None:
        return None
    return AppPasswordUse(
        at=at,
        host=syntax.optional_value(dn, entry, "otpdLastHost", bytes.decode) or "",
        service=ServiceName(syntax.optional_value(dn, entry, "otpdLastService", bytes.decode) or ""),
        address=syntax.optional_value(dn, entry, "otpdLastAddress", bytes.decode) or "",
    )


def from_app_password(record: AppPasswordRecord) -> dict[str, Any]:
    """The attributes of a new app password's entry."""
    return {
        "objectClass": ["otpdAppPassword"],
        "otpdId": record.id,
        "otpdSealedDigest": record.sealed_digest,
        "otpdService": sorted(record.services),
        "otpdCreated": syntax.from_time(record.created),
        **({"otpdLabel": record.label} if record.label else {}),
        **({} if record.expires is None else {"otpdExpires": syntax.from_time(record.expires)}),
        **({"otpdNetwork": sorted(record.networks)} if record.networks else {}),
    }


def to_recovery_codes(dn: str, entry: Entry) -> tuple[bytes, ...]:
    """The sealed codes of a user's entry of recovery codes; none where it is suspended."""
    if syntax.one_value(dn, entry, "otpdState", syntax.state) != "active":
        return ()
    return tuple(entry.get("otpdSealedRecoveryCode", []))


def from_recovery_codes(sealed: Sequence[bytes], created: float) -> dict[str, Any]:
    """The attributes of an entry of recovery codes."""
    return {
        "objectClass": ["otpdRecoveryCodes"],
        "otpdId": RECOVERY_ID,
        "otpdState": "active",
        "otpdCreated": syntax.from_time(created),
        "otpdSealedRecoveryCode": list(sealed),
    }


def to_mailed_code(dn: str, entry: Entry) -> bytes | None:
    """What is sealed in the entry of the code that was mailed last; None where it is suspended."""
    if syntax.one_value(dn, entry, "otpdState", syntax.state) != "active":
        return None
    return syntax.one_value(dn, entry, "otpdSealedDigest", bytes)


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
        id=EntryId(syntax.one_value(dn, entry, "otpdId", bytes.decode)),
        address=syntax.one_value(dn, entry, "otpdAddress", bytes.decode),
        group=syntax.one_value(dn, entry, "otpdService", bytes.decode),
        created=syntax.one_value(dn, entry, "otpdCreated", syntax.time),
        expires=syntax.one_value(dn, entry, "otpdExpires", syntax.time),
        sealed_digest=syntax.one_value(dn, entry, "otpdSealedDigest", bytes),
    )


def from_device(device: Device) -> dict[str, Any]:
    """The attributes of a remembered device's entry."""
    return {
        "objectClass": ["otpdDevice"],
        "otpdId": device.id,
        "otpdAddress": device.address,
        "otpdService": device.group,
        "otpdCreated": syntax.from_time(device.created),
        "otpdExpires": syntax.from_time(device.expires),
        "otpdSealedDigest": device.sealed_digest,
    }


def to_grant(dn: str, entry: Entry) -> Grant:
    """The record of a grant's entry."""
    return Grant(
        id=EntryId(syntax.one_value(dn, entry, "otpdId", bytes.decode)),
        purpose=syntax.one_value(dn, entry, "otpdPurpose", syntax.purpose),
        created=syntax.one_value(dn, entry, "otpdCreated", syntax.time),
        expires=syntax.one_value(dn, entry, "otpdExpires", syntax.time),
        hosts=frozenset(value.decode("ascii", "replace") for value in entry.get("otpdHost", [])),
        sealed_digest=syntax.one_value(dn, entry, "otpdSealedDigest", bytes),
    )


def from_grant(grant: Grant) -> dict[str, Any]:
    """The attributes of a new grant's entry."""
    return {
        "objectClass": ["otpdGrant"],
        "otpdId": grant.id,
        "otpdPurpose": grant.purpose,
        "otpdSealedDigest": grant.sealed_digest,
        "otpdCreated": syntax.from_time(grant.created),
        "otpdExpires": syntax.from_time(grant.expires),
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
