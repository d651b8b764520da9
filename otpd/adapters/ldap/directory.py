"""The directory over LDAP (RFC 4511): the operations of :mod:`otpd.directory` as searches and Modifies.

Every consuming write is one Modify that deletes the value it expects and adds the one it wants (RFC 4511 section 4.6:
all changes or none). ``operations`` is how it gets there, ``entries`` what entries look like.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import ldap3
from ldap3.utils.conv import escape_filter_chars

from otpd import mailed_code
from otpd.adapters.ldap import entries, syntax
from otpd.adapters.ldap.connections import Role
from otpd.adapters.ldap.operations import Changes, Operations
from otpd.adapters.ldap.reader import Entry
from otpd.adapters.ldap.summaries import SUMMARISED, SUMMARY_ATTRIBUTES, to_summaries
from otpd.clock import Deadline
from otpd.directory import (
    AppPasswordRecord,
    AppPasswordUse,
    Device,
    Directory,
    Grant,
    SealedValue,
    SealedValues,
    State,
    Summary,
    Token,
    Use,
    User,
)
from otpd.errors import DirectoryError
from otpd.offline import OfflineProof
from otpd.values import EntryId, TimeStep, UserName

_RECOVERY: Final = "otpdRecoveryCodes"
_MAILED: Final = "otpdMailedCode"


class LdapDirectory(Operations):
    """:class:`otpd.directory.Directory` on the servers behind ``connections``; ``base_dn`` holds the users' entries.

    Each user's entries are read through ``reader``.
    """

    @property
    def offline(self) -> bool:  # noqa: D102 - otpd.directory says it
        return False

    def attempt(self, proof: OfflineProof | None) -> Directory:  # noqa: ARG002, D102
        return self

    def user(self, name: UserName, deadline: Deadline) -> User | None:  # noqa: D102
        # Not from any server: one that lags behind would not know of failures, so guesses would cost nothing.
        found = self._read(name, entries.OF_CODES, "write", deadline)
        users = [entry for entry in found.values() if entries.is_a(entry, "otpdUser")]
        if not users:
            return None
        tokens = [entries.to_token(dn, entry) for dn, entry in found.items() if entries.is_token(entry)]
        recovery = [
            entries.to_recovery_codes(dn, entry) for dn, entry in found.items() if entries.is_a(entry, _RECOVERY)
        ]
        mailed = [entries.to_mailed_code(dn, entry) for dn, entry in found.items() if entries.is_a(entry, _MAILED)]
        in_order = tuple(sorted(tokens, key=lambda token: (token.created, token.id)))
        user = entries.to_user(name, users[0], in_order, recovery[0] if recovery else ())
        return replace(user, sealed_mailed_code=mailed[0]) if mailed else user

    def app_password(  # noqa: D102
        self, name: UserName, app_id: EntryId, deadline: Deadline
    ) -> tuple[User | None, AppPasswordRecord | None]:
        which = f"(|(objectClass=otpdUser)(&(objectClass=otpdAppPassword)(otpdId={escape_filter_chars(app_id)})))"
        found = self._read(name, which, "read", deadline)
        users = [entries.to_user(name, entry) for entry in found.values() if entries.is_a(entry, "otpdUser")]
        records = [
            entries.to_app_password(dn, entry)
            for dn, entry in found.items()
            if entries.is_a(entry, "otpdAppPassword") and app_id.encode() in entry.get("otpdId", ())
        ]
        return (users[0] if users else None), (records[0] if records else None)

    def app_passwords(self, name: UserName, deadline: Deadline) -> tuple[AppPasswordRecord, ...]:  # noqa: D102
        # Not from any server: where one lags behind, what its owner just made could not be revoked.
        found = self._below(name, "otpdAppPassword", deadline)
        records = [entries.to_app_password(dn, entry) for dn, entry in found]
        return tuple(sorted(records, key=lambda record: (record.created, record.id)))

    def ensure_user(self, name: UserName, deadline: Deadline) -> None:  # noqa: D102
        if not self._add(self._user_dn(name), entries.from_user(name), deadline):
            self.user(name, deadline)  # there is one; it may be of another who compares equal

    def add_token(self, name: UserName, token: Token, deadline: Deadline) -> bool:  # noqa: D102
        return self._add(self._child_dn(name, token.id), entries.from_token(token), deadline)

    def spend_step(  # noqa: D102
        self, name: UserName, token: Token, step: TimeStep, deadline: Deadline, use: Use | None = None
    ) -> bool:
        if step <= token.last_step:
            return False
        noted = entries.from_use(token, use) if use else {}
        # Deleting and adding "active" changes nothing and fails where the token was disabled meanwhile.
        changes: Changes = {
            entries.MOVING_FACTORS[entries.token_class(token.parameters)]: _from_to(token.last_step, step),
            "otpdState": _from_to("active", "active"),
            **{attribute: [(ldap3.MODIFY_REPLACE, [value])] for attribute, value in noted.items()},
        }
        return self._compare_and_set(self._child_dn(name, token.id), changes, deadline)

    def raise_step(self, name: UserName, token: Token, step: TimeStep, deadline: Deadline) -> bool:
        """Move the token's moving factor from ``token.last_step`` to ``step``, whatever its state."""
        changes = {entries.MOVING_FACTORS[entries.token_class(token.parameters)]: _from_to(token.last_step, step)}
        return self._compare_and_set(self._child_dn(name, token.id), changes, deadline)

    def ping(self, role: Role, deadline: Deadline) -> None:
        """Raise :class:`DirectoryUnavailable` where no server of ``role`` answers and has the base."""
        self._connections.call(role, "search", deadline, self._find_base)

    def set_failures(self, name: UserName, old: int, new: int, at: float, deadline: Deadline) -> bool:  # noqa: D102
        changes: Changes = {
            "oathFailureCount": _from_to(old, new),
            "oathLastFailure": [(ldap3.MODIFY_REPLACE, [syntax.from_time(at)])],
        }
        dn = self._user_dn(name)
        moved = self._compare_and_set(dn, changes, deadline)
        self._reader.written(dn)  # who goes by an old count need not lose: with none, a guess is not counted first
        return moved

    def set_state(self, name: UserName, state: State, deadline: Deadline) -> None:  # noqa: D102
        self.user(name, deadline)  # raises where it is another user's, whose name differs in case alone
        self._modify(self._user_dn(name), {"otpdState": [(ldap3.MODIFY_REPLACE, [state])]}, deadline)
        old, new = ("suspended", "active") if state == "active" else ("active", "suspended")
        found = self._search(self._user_dn(name), ldap3.LEVEL, f"(otpdState={old})", deadline, "write")
        for dn, _ in found:
            self._compare_and_set(dn, {"otpdState": _from_to(old, new)}, deadline)

    def summaries(self, deadline: Deadline) -> tuple[Summary, ...]:  # noqa: D102
        return to_summaries(self._walk(SUMMARISED, SUMMARY_ATTRIBUTES, deadline))

    def clear_user(self, name: UserName, at: float, deadline: Deadline) -> None:  # noqa: D102
        self.user(name, deadline)  # raises where it is another user's, whose name differs in case alone
        noted: Changes = {"otpdReset": [(ldap3.MODIFY_REPLACE, [syntax.from_time(at)])]}
        self._modify(self._user_dn(name), noted, deadline)
        self._delete_below(name, deadline)
        forgotten: Changes = {
            "oathLastFailure": [(ldap3.MODIFY_REPLACE, [])],
            "oathFailureCount": [(ldap3.MODIFY_REPLACE, [0])],
        }
        self._modify(self._user_dn(name), forgotten, deadline)

    def remove_user(self, name: UserName, deadline: Deadline) -> bool:  # noqa: D102
        if self.user(name, deadline) is None:
            return False
        self._delete_below(name, deadline)
        return self._delete(self._user_dn(name), deadline)

    def set_token_state(self, name: UserName, token: Token, state: State, deadline: Deadline) -> bool:  # noqa: D102
        changes = {"otpdState": _from_to(token.state, state)}
        return self._compare_and_set(self._child_dn(name, token.id), changes, deadline)

    def rename_token(self, name: UserName, token_id: EntryId, label: str, deadline: Deadline) -> bool:  # noqa: D102
        changes: Changes = {"otpdLabel": [(ldap3.MODIFY_REPLACE, [label] if label else [])]}
        return self._compare_and_set(self._child_dn(name, token_id), changes, deadline)

    def remove_token(self, name: UserName, token_id: EntryId, deadline: Deadline) -> bool:  # noqa: D102
        return self._remove(name, tuple(entries.MOVING_FACTORS), token_id, deadline)

    def set_recovery_codes(  # noqa: D102
        self, name: UserName, sealed: Sequence[bytes], created: float, deadline: Deadline
    ) -> None:
        dn, attributes = self._child_dn(name, entries.RECOVERY_ID), entries.from_recovery_codes(sealed, created)
        if not self._add(dn, attributes, deadline):
            replaced = ("otpdSealedRecoveryCode", "otpdCreated", "otpdState")
            changes = {name: [(ldap3.MODIFY_REPLACE, _listed(attributes[name]))] for name in replaced}
            self._modify(dn, changes, deadline)

    def spend_recovery_code(self, name: UserName, sealed: bytes, deadline: Deadline) -> bool:  # noqa: D102
        changes: Changes = {
            "otpdSealedRecoveryCode": [(ldap3.MODIFY_DELETE, [sealed])],
            "otpdState": _from_to("active", "active"),
        }
        return self._compare_and_set(self._child_dn(name, entries.RECOVERY_ID), changes, deadline)

    def set_mailed_code(self, name: UserName, old: bytes | None, new: bytes, deadline: Deadline) -> bool:  # noqa: D102
        dn = self._child_dn(name, mailed_code.ENTRY)
        if old is None:
            return self._add(dn, entries.from_mailed_code(new), deadline)
        changes: Changes = {"otpdSealedDigest": _from_to(old, new), "otpdState": _from_to("active", "active")}
        moved = self._compare_and_set(dn, changes, deadline)
        self._reader.written(dn)  # who goes by an old one takes a code that was just mailed for a wrong guess
        return moved

    def add_app_password(self, name: UserName, record: AppPasswordRecord, deadline: Deadline) -> bool:  # noqa: D102
        return self._add(self._child_dn(name, record.id), entries.from_app_password(record), deadline)

    def rename_app_password(self, name: UserName, app_id: EntryId, label: str, deadline: Deadline) -> bool:  # noqa: D102
        return self.rename_token(name, app_id, label, deadline)

    def note_use(  # noqa: D102
        self, name: UserName, record: AppPasswordRecord, use: AppPasswordUse, deadline: Deadline
    ) -> bool:
        at, last = syntax.from_time(use.at - use.at % 60), record.last_use
        noted = {"otpdLastHost": use.host, "otpdLastService": use.service, "otpdLastAddress": use.address}
        changes: Changes = {
            "otpdLastUsed": _from_to(syntax.from_time(last.at), at) if last else [(ldap3.MODIFY_REPLACE, [at])],
            **{attribute: [(ldap3.MODIFY_REPLACE, [value] if value else [])] for attribute, value in noted.items()},
        }
        return self._compare_and_set(self._child_dn(name, record.id), changes, deadline)

    def remove_app_password(self, name: UserName, app_id: EntryId, deadline: Deadline) -> bool:  # noqa: D102
        return self._remove(name, ("otpdAppPassword",), app_id, deadline)

    def grants(self, name: UserName, deadline: Deadline) -> tuple[Grant, ...]:  # noqa: D102
        grants = [entries.to_grant(dn, entry) for dn, entry in self._below(name, "otpdGrant", deadline)]
        return tuple(sorted(grants, key=lambda grant: (grant.created, grant.id)))

    def add_grant(self, name: UserName, grant: Grant, deadline: Deadline) -> bool:  # noqa: D102
        return self._add(self._child_dn(name, grant.id), entries.from_grant(grant), deadline)

    def take_grant(self, name: UserName, grant_id: EntryId, deadline: Deadline) -> bool:  # noqa: D102
        # RFC 4511 section 4.8: of several that delete one entry, one is answered with success.
        return self._delete(self._child_dn(name, grant_id), deadline)

    def devices(self, name: UserName, deadline: Deadline) -> tuple[Device, ...]:  # noqa: D102
        devices = [entries.to_device(dn, entry) for dn, entry in self._below(name, "otpdDevice", deadline)]
        return tuple(sorted(devices, key=lambda device: (device.created, device.id)))

    def put_device(self, name: UserName, device: Device, deadline: Deadline) -> None:  # noqa: D102
        dn, attributes = self._child_dn(name, device.id), entries.from_device(device)
        if not self._add(dn, attributes, deadline):
            replaced = ("otpdCreated", "otpdExpires", "otpdSealedDigest")
            changes = {name: [(ldap3.MODIFY_REPLACE, [attributes[name]])] for name in replaced}
            self._modify(dn, changes, deadline)

    def forget_device(self, name: UserName, device_id: EntryId, deadline: Deadline) -> bool:  # noqa: D102
        return self._remove(name, ("otpdDevice",), device_id, deadline)

    def _below(self, name: UserName, object_class: str, deadline: Deadline) -> list[tuple[str, Entry]]:
        """The entries of a class below the user's; raises where that is another's, whose name differs in case alone."""
        which = f"(|(objectClass=otpdUser)(objectClass={object_class}))"
        found = self._read(name, which, "write", deadline)
        for entry in found.values():
            if entries.is_a(entry, "otpdUser"):
                entries.to_user(name, entry)
        return [(dn, entry) for dn, entry in found.items() if entries.is_a(entry, object_class)]

    def sealed_with(self, key_id: str, limit: int, deadline: Deadline) -> SealedValues:  # noqa: D102
        which = "".join(f"({attribute}={_beginning(key_id)})" for _, attribute in entries.SEALED.values())
        found = self._sealed(f"(|{which})", limit, deadline)
        # An entry of recovery codes may hold values of several keys.
        return replace(found, values=tuple(value for value in found.values if _names(value, key_id)))

    def sealed_without(self, key_ids: tuple[str, ...], limit: int, deadline: Deadline) -> SealedValues:  # noqa: D102
        which = "".join(
            f"(&(objectClass={name}){''.join(f'(!({attribute}={_beginning(key_id)}))' for key_id in key_ids)})"
            for name, (_, attribute) in entries.SEALED.items()
        )
        # A filter tells whether any value of an entry begins so, and cannot tell whether all do.
        return self._sealed(f"(|{which})", limit, deadline)

    def reseal(self, value: SealedValue, sealed: bytes, deadline: Deadline) -> bool:  # noqa: D102
        attribute = dict(entries.SEALED.values())[value.kind]
        changes: Changes = {attribute: [(ldap3.MODIFY_DELETE, [value.sealed]), (ldap3.MODIFY_ADD, [sealed])]}
        return self._compare_and_set(value.place, changes, deadline)

    def _sealed(self, which: str, limit: int, deadline: Deadline) -> SealedValues:
        self._check_beginnings(deadline)
        found, more = self._find(self._base_dn, ldap3.SUBTREE, which, deadline, "write", limit)
        return SealedValues(tuple(itertools.chain(*itertools.starmap(entries.to_sealed_values, found))), more)

    def _check_beginnings(self, deadline: Deadline) -> None:
        """Raise :class:`DirectoryError` where the schema has no substring rule for what is sealed.

        Then each search for a beginning finds nothing, and every key would seem to seal nothing. With the rules, what
        this asks is true of every entry; without, it is undefined (RFC 4511 section 4.5.1.7).
        """
        attributes = [attribute for _, attribute in entries.SEALED.values()]
        always = "".join(f"(|({name}={_beginning('k')})(!({name}={_beginning('k')})))" for name in attributes)
        if not self._find(self._base_dn, ldap3.BASE, f"(&{always})", deadline, "write", 1)[0]:
            raise DirectoryError(
                f"search: the directory's schema has no substring rule for {' and '.join(attributes)};"
                " see conf/otpd.schema"
            )


def _from_to(old: str | int | bytes, new: str | int | bytes) -> list[tuple[str, list[Any]]]:
    """The changes of one attribute that fail unless its value is ``old``."""
    return [(ldap3.MODIFY_DELETE, [old]), (ldap3.MODIFY_ADD, [new])]


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - an attribute's value
    return value if isinstance(value, list) else [value]


def _names(value: SealedValue, key_id: str) -> bool:
    return value.sealed.startswith(f"{key_id}.".encode())


def _beginning(key_id: str) -> str:
    """The assertion that holds for what the key sealed: ``keyid.`` and anything."""
    return f"{escape_filter_chars(key_id)}.*"
