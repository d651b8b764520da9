"""App passwords: create, list, rename, revoke."""

from dataclasses import replace
from ipaddress import ip_network
from typing import Any, Final

from otpd import app_password, audit
from otpd.directory import AppPasswordRecord
from otpd.factors.app_password import DIGEST_PURPOSE, has_expired
from otpd.management.verb import Call, Context, Refused, reset_meanwhile
from otpd.policy import APP_PASSWORD
from otpd.texts import _
from otpd.values import EntryId, ServiceName

_DAY_SECONDS: Final = 86400
_MAX_DAYS: Final = 3650
_MAX_NETWORKS: Final = 20


def may_create(context: Context, call: Call) -> Refused | None:
    """What can be told before a code is spent as proof."""
    services = _services(call)
    if not services or not all(context.policy.accepts(service, APP_PASSWORD) for service in services):
        names = ", ".join(context.policy.named(APP_PASSWORD)) or _("none that otpd.toml of this host names")
        return Refused("no-such-service", _("App passwords are for services that accept them: {names}.", names=names))
    try:
        _days(call)
        _networks(call)
    except ValueError as error:
        return Refused("bad-parameter", str(error))
    most = context.app_passwords
    if len(context.parts.directory.app_passwords(call.user, call.deadline)) >= most:
        return Refused("too-many", _("You have {most} app passwords. Revoke one that you no longer use.", most=most))
    return None


def create(context: Context, call: Call) -> dict[str, Any] | Refused:
    """Make one for the services named; its text is in this reply and nowhere else."""
    made, now, days = app_password.generate(), context.parts.clock.wall(), _days(call)
    blank = AppPasswordRecord(
        id=made.id,
        label=call.fields.get("label", ""),
        services=_services(call),
        created=now,
        sealed_digest=b"",
        expires=float(int(now) + days * _DAY_SECONDS) if days else None,
        networks=_networks(call),
    )
    digest = app_password.digest(made, blank.scope)
    record = replace(blank, sealed_digest=context.parts.keys.seal(DIGEST_PURPOSE, (call.user, made.id), digest))
    context.parts.directory.ensure_user(call.user, call.deadline)
    if not context.parts.directory.add_app_password(call.user, record, call.deadline):
        return Refused("unavailable", _("The app password could not be stored. Try again."))
    if call.outlives_a_reset(context.parts.directory.user(call.user, call.deadline)):
        context.parts.directory.remove_app_password(call.user, made.id, call.deadline)
        return reset_meanwhile()
    audit.record(
        "app password created", user=call.user, peer=call.peer, id=made.id, services=" ".join(sorted(record.services))
    )
    return {**_shown(record, context), "password": app_password.to_text(made).reveal().decode()}


def listing(context: Context, call: Call) -> dict[str, Any]:
    """All of the user's, without their secrets."""
    records = context.parts.directory.app_passwords(call.user, call.deadline)
    return {"user": call.user, "app_passwords": [_shown(record, context) for record in records]}


def exists(context: Context, call: Call) -> Refused | None:
    """A wrong id must not cost a code."""
    known = {record.id for record in context.parts.directory.app_passwords(call.user, call.deadline)}
    return None if call.fields["id"] in known else _unknown()


def any_exists(context: Context, call: Call) -> Refused | None:
    """Nor must nothing at all."""
    if context.parts.directory.app_passwords(call.user, call.deadline):
        return None
    return Refused("no-such-app-password", _("There are no app passwords."))


def rename(context: Context, call: Call) -> dict[str, Any] | Refused:
    """Give one another label."""
    app_id, label = EntryId(call.fields["id"]), call.fields.get("label", "")
    if not context.parts.directory.rename_app_password(call.user, app_id, label, call.deadline):
        return _unknown()
    return {"user": call.user, "id": app_id, "label": label}


def revoke(context: Context, call: Call) -> dict[str, Any] | Refused:
    """Remove one, by its id."""
    app_id = EntryId(call.fields["id"])
    if not _remove(context, call, app_id):
        return _unknown()
    return {"user": call.user, "id": app_id}


def revoke_all(context: Context, call: Call) -> dict[str, Any]:
    """Remove every one of the user's."""
    records = context.parts.directory.app_passwords(call.user, call.deadline)
    return {"user": call.user, "ids": [record.id for record in records if _remove(context, call, record.id)]}


def _remove(context: Context, call: Call, app_id: EntryId) -> bool:
    removed = context.parts.directory.remove_app_password(call.user, app_id, call.deadline)
    if removed:
        audit.record("app password revoked", user=call.user, peer=call.peer, id=app_id)
    return removed


def _services(call: Call) -> frozenset[ServiceName]:
    return frozenset(ServiceName(name) for name in call.fields["services"].split())


def _days(call: Call) -> int:
    """After how many days it expires; 0 for never. Raises ValueError."""
    text = call.fields.get("days", "0")
    if not (text.isascii() and text.isdigit() and int(text) <= _MAX_DAYS):
        raise ValueError(_("days: expected a number up to {most}.", most=_MAX_DAYS))
    return int(text)


def _networks(call: Call) -> frozenset[str]:
    """From where it opens, as the ipaddress module writes networks; nothing for anywhere. Raises ValueError."""
    names = call.fields.get("networks", "").split()
    if len(names) > _MAX_NETWORKS:
        raise ValueError(_("networks: expected at most {most}.", most=_MAX_NETWORKS))
    try:
        return frozenset(str(ip_network(name, strict=False)) for name in names)
    except ValueError:
        raise ValueError(
            _("networks: expected addresses, or networks such as 192.0.2.0/24 or 2001:db8::/32.")
        ) from None


def _unknown() -> Refused:
    return Refused("no-such-app-password", _("There is no app password of that id. See: otpctl app-password list"))


def _shown(record: AppPasswordRecord, context: Context) -> dict[str, Any]:
    use, parts = record.last_use, context.parts
    return {
        "id": record.id,
        "label": record.label,
        "services": sorted(record.services),
        "created": int(record.created),
        "expires": None if record.expires is None else int(record.expires),
        "expired": has_expired(record, parts.clock.wall(), parts.unused_seconds),
        "networks": sorted(record.networks),
        "last_use": {"at": int(use.at), "host": use.host, "service": use.service, "address": use.address}
        if use
        else None,
    }
