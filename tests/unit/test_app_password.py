"""App passwords: what is typed badly is told from what is wrong."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpd import app_password
from otpd.app_password import AppPassword, Typo

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
made = st.builds(app_password.generate)


def text(password: AppPassword) -> str:
    return app_password.to_text(password).reveal().decode()


def same(one: AppPassword, other: AppPassword) -> bool:
    return one.id == other.id and one.secret == other.secret


def test_form() -> None:
    shown = text(app_password.generate())
    assert shown.startswith("otpd-")
    assert [len(group) for group in shown.split("-")] == [4, 6, 6, 6, 6, 6, 6]


@given(made)
def test_round_trip(password: AppPassword) -> None:
    assert same(app_password.parse(text(password).encode()), password)


@given(made, st.data())
def test_case_spaces_and_hyphens_do_not_matter(password: AppPassword, data: st.DataObject) -> None:
    shown = text(password)
    changed = "".join(
        data.draw(st.sampled_from([one.upper(), one.lower()])) + data.draw(st.sampled_from(["", "", " ", "-"]))
        for one in shown.replace("-", "")
    )
    assert same(app_password.parse(changed.encode()), password)


@given(made, st.integers(0, 35), st.sampled_from(ALPHABET))
def test_one_wrong_symbol_is_a_typo(password: AppPassword, at: int, wrong: str) -> None:
    body = list(text(password).replace("-", "")[4:])
    if body[at] != wrong:
        body[at] = wrong
        with pytest.raises(Typo):
            app_password.parse(("otpd" + "".join(body)).encode())


@given(made, st.integers(0, 34))
def test_two_symbols_that_changed_places_are_a_typo(password: AppPassword, at: int) -> None:
    body = list(text(password).replace("-", "")[4:])
    if body[at] != body[at + 1]:
        body[at], body[at + 1] = body[at + 1], body[at]
        with pytest.raises(Typo):
            app_password.parse(("otpd" + "".join(body)).encode())


@given(made)
def test_a_missing_symbol_is_a_typo(password: AppPassword) -> None:
    with pytest.raises(Typo):
        app_password.parse(text(password)[:-1].encode())


@given(st.binary(max_size=100))
def test_parsing_raises_nothing_else(typed: bytes) -> None:
    with contextlib.suppress(Typo):
        app_password.parse(typed)


def test_letters_that_look_like_digits() -> None:
    password = AppPassword(app_password.EntryId("0" * 8), app_password.Secret(b"1" * 26))
    shown = text(password)
    assert same(app_password.parse(shown.replace("0", "O").replace("1", "l").encode()), password)


def test_a_repr_shows_no_secret() -> None:
    password = app_password.generate()
    assert password.secret.reveal().decode() not in repr(password)
