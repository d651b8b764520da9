"""Names in DNs: what is written is read again, in every spelling that RFC 4514 allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpd.adapters.ldap.entries import to_sealed_values
from otpd.adapters.ldap.names import escape_rdn_value, unescape_rdn_value, user_above

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(names)
def test_a_name_comes_back(name: str) -> None:
    assert unescape_rdn_value(escape_rdn_value(name)) == name
    assert user_above(f"otpdId=1,uid={escape_rdn_value(name)},ou=otpd") == name


@pytest.mark.parametrize(
    ("dn", "user"),
    [
        (r"otpdId=1,uid=a\2Cb,ou=otpd", "a,b"),
        (r"otpdId=1,uid=a\,b,ou=otpd", "a,b"),
        (r"otpdId=1, UID = \20a\\b\ ,ou=otpd", " a\\b "),
        (r"otpdId=1,uid=j\C3\A9,ou=otpd", "j\u00e9"),
        ("otpdId=1,uid=j\u00e9,ou=otpd", "j\u00e9"),
        (r"otpdId=a\,uid=mallory,uid=alice,ou=otpd", "alice"),
        ("otpdId=1,ou=alice,ou=otpd", ""),
        ("otpdId=1", ""),
        ("", ""),
    ],
)
def test_the_user_above(dn: str, user: str) -> None:
    assert user_above(dn) == user


def test_an_entry_that_makes_no_sense_is_still_shown() -> None:
    entry = {"objectClass": [b"otpdtoken"], "otpdSealedSeed": [b"\xff"]}
    (value,) = to_sealed_values("otpdId=x,ou=otpd", entry)
    assert (value.user, value.id, value.sealed, value.place) == ("", "", b"\xff", "otpdId=x,ou=otpd")


def test_an_entry_of_recovery_codes_has_a_value_for_each() -> None:
    entry = {"objectClass": [b"otpdRecoveryCodes"], "otpdId": [b"recovery-codes"]}
    assert to_sealed_values("otpdId=recovery-codes,uid=alice,ou=otpd", entry) == []
    values = to_sealed_values(
        "otpdId=recovery-codes,uid=alice,ou=otpd", {**entry, "otpdSealedRecoveryCode": [b"k1.A", b"k2.B"]}
    )
    assert [(value.user, value.kind, value.sealed) for value in values] == [
        ("alice", "recovery code", b"k1.A"),
        ("alice", "recovery code", b"k2.B"),
    ]
