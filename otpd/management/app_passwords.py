"""App passwords: create, list, revoke."""

from typing import Any, Final

from otpd import app_password, audit
from otpd.directory import AppPasswordRecord
from otpd.factors.app_password import DIGEST_PURPOSE
from otpd.management.verb import Call, Context, Refused
from otpd.policy import APP_PASSWORD
from otpd.values import EntryId, ServiceName

MAX_PER_USER: Final = 30  # so that a list of them fits into a message


def may_create(context: Context, call: Call) -> Refused | None:
    """What can be told before a code is spent as proof."""
    services = _services(call)
    if not services or not all(context.policy.accepts(service, APP_PASSWORD) for service in services):
        names = ", ".join(context.policy.named(APP_PASSWORD)) or "none that otpd.toml of this host names"
        return Refused("no-such-service", f"App passwords are for services that accept them: {names}.")
    if len(context.parts.directory.app_passwords(call.user, call.deadline)) >= MAX_PER_USER:
        return Refused("too-many", f"You have {MAX_PER_USER} app passwords. Revoke one that you no longer use.")
    return None


def create(context: Context, call: Call) -> dict[str, Any] | Refused:
    """Make one for the services named; its text is in this reply and nowhere else."""
    services = _services(call)
    made = app_password.generate()
    digest = app_password.digest(made, services)
    record = AppPasswordRecord(
        id=made.id,
        label=call.fields.get("label", ""),
        services=services,
        created=context.parts.clock.wall(),
        sealed_digest=context.parts.keys.seal(DIGEST_PURPOSE, (call.user, made.id), digest),
    )
    context.parts.directory.ensure_user(call.user, call.deadline)
    if not context.parts.directory.add_app_password(call.user, record, call.deadline):
        return Refused("unavailable", "The app password could not be stored. Try again.")
    audit.record(
        "app password created", user=call.user, peer=call.peer, id=made.id, services=" ".join(sorted(services))
    )
    return {**_shown(record), "password": app_password.to_text(made).reveal().decode()}


def listing(context: Context, call: Call) -> dict[str, Any]:
    """All of the user's, without their secrets."""
    records = context.parts.directory.app_passwords(call.user, call.deadline)
    return {"user": call.user, "app_passwords": [_shown(record) for record in records]}


def may_revoke(context: Context, call: Call) -> Refused | None:
    """A wrong id must not cost a code."""
    known = {record.id for record in context.parts.directory.app_passwords(call.user, call.deadline)}
    return None if call.fields["id"] in known else _unknown()


def revoke(context: Context, call: Call) -> dict[str, Any] | Refused:
    """Remove one, by its id."""
    app_id = EntryId(call.fields["id"])
    if not context.parts.directory.remove_app_password(call.user, app_id, call.deadline):
        return _unknown()
    audit.record("app password revoked", user=call.user, peer=call.peer, id=app_id)
    return {"user": call.user, "id": app_id}


def _services(call: Call) -> frozenset[ServiceName]:
    return frozenset(ServiceName(name) for name in call.fields["services"].split())


def _unknown() -> Refused:
    return Refused("no-such-app-password", "There is no app password of that id. See: otpctl app-password list")


def _shown(record: AppPasswordRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "label": record.label,
        "services": sorted(record.services),
        "created": int(record.created),
    }
