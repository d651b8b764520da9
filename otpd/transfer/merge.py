"""What becomes of an entry that is in the directory already, where a backup has another form of it. Pure.

A backup is old. What was spent, counted or disabled since must not come back with it, so each attribute has a rule; a
test holds the table against the schema.
"""

from collections.abc import Callable, Mapping
from typing import Final

from otpd.entry import Attributes, Entry
from otpd.seal import KeyRing
from otpd.secret import Secret
from otpd.transfer.sealed import attribute_of, opened

Values = tuple[bytes, ...]
Rule = Callable[[Values, Values], Values]
"""From the values in the directory and those of the backup, those that shall be there."""

_STRICTNESS: Final = (b"active", b"suspended", b"disabled")


def _backup(_current: Values, backup: Values) -> Values:
    return backup


def _current(current: Values, _backup: Values) -> Values:
    return current


def _greater(current: Values, backup: Values) -> Values:
    return max(current, backup, key=lambda values: max(map(int, values), default=-1))


def _stricter(current: Values, backup: Values) -> Values:
    """No state is the same as active; a state that is not known is the strictest."""
    return max(current, backup, key=_strictness)


def _strictness(values: Values) -> int:
    if not values:
        return 0
    return _STRICTNESS.index(values[0]) if values[0] in _STRICTNESS else len(_STRICTNESS)


RULES: Final[Mapping[str, Rule]] = {
    "objectClass": _current,
    "uid": _current,
    "otpdId": _current,
    "otpdCreated": _backup,
    "otpdLabel": _backup,
    "otpdService": _backup,
    "otpdNetwork": _backup,
    "otpdExpires": _backup,
    "oathOTPLength": _backup,
    "oathHMACAlgorithm": _backup,
    "oathTOTPTimeStepPeriod": _backup,
    # What was spent stays spent.
    "oathTOTPLastTimeStep": _greater,
    "oathHOTPCounter": _greater,
    # Where the device was when it was last used here.
    "oathTOTPTimeStepDrift": _current,
    "otpdLastUsed": _current,
    "otpdLastHost": _current,
    "otpdLastService": _current,
    "otpdLastAddress": _current,
    # Who was shut out stays so until an administrator says otherwise.
    "otpdState": _stricter,
    # A throttle is not undone.
    "oathFailureCount": _current,
    "oathLastFailure": _current,
    # No enrolment that a reset ended is finished after all.
    "otpdReset": _current,
    # What an administrator handed out, and whose address was remembered, is in no backup.
    "otpdPurpose": _current,
    "otpdHost": _current,
    "otpdAddress": _current,
    # See _sealed.
    "otpdSealedSeed": _current,
    "otpdSealedDigest": _current,
    "otpdSealedRecoveryCode": _current,
}


SEVERAL: Final = ("otpdSealedRecoveryCode",)
"""What has a value for each that is left."""


def merged(current: Entry, backup: Entry, keys: KeyRing) -> Entry:
    """What ``current`` shall become, of the same name and class, where the backup may change it.

    An entry that was made later than the backup's stays: its user was reset, or made new recovery codes.
    """
    if _made(current) > _made(backup):
        return current
    names = {*current.attributes, *backup.attributes}
    values = {name: _merge(name, current.attributes, backup.attributes) for name in names}
    if attribute := attribute_of(current):
        values[attribute] = _sealed(current, backup, keys, attribute)
    return Entry(current.user, current.id, {name: found for name, found in values.items() if found})


def _merge(name: str, current: Attributes, backup: Attributes) -> Values:
    rule = RULES.get(name, _backup)
    if rule is _greater and _period(current) != _period(backup):
        rule = _backup  # steps of another length count otherwise
    return rule(current.get(name, ()), backup.get(name, ()))


def same(current: Entry, backup: Entry, keys: KeyRing) -> bool:
    """Whether both say the same, whatever key and nonce their secrets are sealed with."""
    attribute, here, there = attribute_of(current), _plain(current, keys), _plain(backup, keys)
    if _others(current, attribute) != _others(backup, attribute) or len(here) != len(there):
        return False
    return all(plain is not None and plain in there for plain in here)


def _sealed(current: Entry, backup: Entry, keys: KeyRing, attribute: str) -> Values:
    """The values in the directory as far as they say what the backup's say: they may have been sealed anew since.

    Of recovery codes of one set, those that either side lacks were spent.
    """
    there = _plain(backup, keys)
    kept = tuple(sealed for sealed, plain in opened(current, keys) if plain is not None and plain in there)
    if attribute in SEVERAL and _made(current) == _made(backup):
        return kept
    if len(kept) == len(there) == len(current.attributes.get(attribute, ())):
        return kept
    return backup.attributes.get(attribute, ())


def _plain(entry: Entry, keys: KeyRing) -> list[Secret | None]:
    return [plain for _, plain in opened(entry, keys)]


def _others(entry: Entry, sealed: str) -> Attributes:
    return {name: values for name, values in entry.attributes.items() if name != sealed}


def _made(entry: Entry) -> bytes:
    """When it was made, as generalizedTime in UTC, which sorts as text; users' own entries do not say."""
    return entry.value("otpdCreated") or b""


def _period(attributes: Attributes) -> Values:
    return attributes.get("oathTOTPTimeStepPeriod", ())
