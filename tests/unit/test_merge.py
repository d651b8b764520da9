"""What a backup may change of what is there: nothing that was spent, shut out or made anew becomes valid again."""

import pytest

from otpd import entry, ring_text
from otpd.adapters.ldap.entries import ATTRIBUTES, SEALED
from otpd.directory import SealedValue
from otpd.entry import Entry
from otpd.errors import BackupError
from otpd.management.keys import bound_to
from otpd.seal import KeyRing
from otpd.secret import Secret
from otpd.transfer.merge import RULES, merged, same
from otpd.values import EntryId, UserName

OLD, NEW = "20260101000000Z", "20260601000000Z"


@pytest.fixture(scope="module")
def keys() -> KeyRing:
    return KeyRing.from_text(ring_text.with_new_key(""), "test")


def made(object_class: str, keys: KeyRing, *secrets: bytes, entry_id: str = "an-id", **attributes: object) -> Entry:
    kind, attribute = SEALED.get(object_class, ("token", ""))
    value = SealedValue(UserName("alice"), EntryId(entry_id), kind, "", b"")
    sealed = [keys.seal(*bound_to(value), Secret(plain)) for plain in secrets]
    given = {name: [str(value).encode()] for name, value in attributes.items()}
    return entry.make(
        value.user,
        value.id,
        {"objectClass": [object_class.encode()], **given, **({attribute: sealed} if sealed else {})},
    )


def token(keys: KeyRing, seed: bytes = b"seed", **attributes: object) -> Entry:
    usual = {"otpdState": "active", "oathTOTPLastTimeStep": 5, "oathTOTPTimeStepPeriod": 30, "otpdCreated": OLD}
    return made("otpdToken", keys, seed, **(usual | attributes))


def codes(keys: KeyRing, *left: bytes, **attributes: object) -> Entry:
    return made("otpdRecoveryCodes", keys, *left, **({"otpdCreated": OLD, "otpdState": "active"} | attributes))


def test_every_attribute_has_a_rule() -> None:
    """Who adds an attribute must say what becomes of it where an old backup has another value."""
    assert set(RULES) == set(ATTRIBUTES)


def test_what_was_sealed_anew_is_the_same(keys: KeyRing) -> None:
    assert token(keys) != token(keys)
    assert same(token(keys), token(keys), keys)
    assert not same(token(keys), token(keys, b"other"), keys)
    assert same(codes(keys, b"1", b"2"), codes(keys, b"2", b"1"), keys)
    assert not same(codes(keys, b"1", b"2"), codes(keys, b"1"), keys)
    current = token(keys)
    assert merged(current, token(keys), keys) == current


def test_a_time_step_never_goes_back(keys: KeyRing) -> None:
    spent = token(keys, oathTOTPLastTimeStep=100)
    assert merged(spent, token(keys, oathTOTPLastTimeStep=99), keys) == spent
    later = merged(spent, token(keys, oathTOTPLastTimeStep=101), keys)
    assert later.value("oathTOTPLastTimeStep") == b"101"
    assert merged(spent, token(keys, oathTOTPLastTimeStep=20, otpdLabel="x"), keys).value("otpdLabel") == b"x"


@pytest.mark.parametrize(
    ("here", "there", "after"),
    [
        ("active", "disabled", "disabled"),
        ("disabled", "active", "disabled"),
        ("suspended", "active", "suspended"),
        ("disabled", "suspended", "disabled"),
        ("active", "active", "active"),
        ("unheard of", "active", "unheard of"),
    ],
)
def test_the_stricter_state_stays(keys: KeyRing, here: str, there: str, after: str) -> None:
    found = merged(token(keys, otpdState=here), token(keys, otpdState=there), keys)
    assert found.value("otpdState") == after.encode()


def test_a_throttle_is_not_undone(keys: KeyRing) -> None:
    here = made("otpdUser", keys, entry_id="", oathFailureCount=7, oathLastFailure=NEW)
    assert merged(here, made("otpdUser", keys, entry_id="", oathFailureCount=0), keys) == here
    disabled = made("otpdUser", keys, entry_id="", oathFailureCount=0, otpdState="disabled")
    assert merged(here, disabled, keys).value("otpdState") == b"disabled"
    assert merged(disabled, here, keys).value("otpdState") == b"disabled"


def test_recovery_codes_that_were_spent_stay_spent(keys: KeyRing) -> None:
    here = codes(keys, b"2", b"3")
    assert merged(here, codes(keys, b"1", b"2", b"3"), keys) == here
    empty = codes(keys)
    assert merged(empty, codes(keys, b"1"), keys) == empty
    left = merged(codes(keys, b"1", b"2"), codes(keys, b"1"), keys)
    assert same(left, codes(keys, b"1"), keys), "the backup knows of one that was spent"


def test_what_limits_an_app_password_goes_with_its_digest(keys: KeyRing) -> None:
    """Whoever took the limits away made the password unknown: the backup brings all of them back."""
    limits = {"otpdCreated": OLD, "otpdService": "imap", "otpdNetwork": "192.0.2.0/24", "otpdExpires": NEW}
    backup = made("otpdAppPassword", keys, b"digest", **limits)
    current = made("otpdAppPassword", keys, b"digest", otpdCreated=OLD, otpdService="imap")
    restored = merged(current, backup, keys)
    assert {name: restored.value(name) for name in limits} == {name: limits[name].encode() for name in limits}


def test_a_newer_set_of_recovery_codes_stays_and_an_older_one_goes(keys: KeyRing) -> None:
    old, new = codes(keys, b"1"), codes(keys, b"2", otpdCreated=NEW)
    assert merged(new, old, keys) == new
    assert merged(old, new, keys) == new


def test_a_token_that_was_made_anew_stays(keys: KeyRing) -> None:
    """After a reset, the new token has the id of the old one: the stolen phone must not come back."""
    new = token(keys, b"new phone", otpdCreated=NEW)
    assert merged(new, token(keys, b"stolen phone"), keys) == new


def test_steps_of_another_length_are_not_compared(keys: KeyRing) -> None:
    here = token(keys, oathTOTPLastTimeStep=100)
    there = token(keys, oathTOTPLastTimeStep=50, oathTOTPTimeStepPeriod=60, otpdCreated=NEW)
    assert merged(here, there, keys).value("oathTOTPLastTimeStep") == b"50"


def test_a_secret_that_does_not_open_gives_way(keys: KeyRing) -> None:
    there = token(keys)
    here = Entry(there.user, there.id, {**there.attributes, "otpdSealedSeed": (b"k1.AAAA",)})
    assert merged(here, there, keys) == there


def test_lines(keys: KeyRing) -> None:
    one = entry.make(UserName("zoë, o'x\udcff"), EntryId(""), {"uid": [b"\xff", b"a\nb"], "otpdLabel": []})
    assert entry.from_line(one.to_line()) == one
    assert b"\n" not in one.to_line()
    for rubbish in (
        b"",
        b"[]",
        b"{}",
        b"1",
        b'{"user":1,"id":"","attributes":{}}',
        b'{"user":"","id":"","attributes":[]}',
    ):
        with pytest.raises(BackupError):
            entry.from_line(rubbish)
