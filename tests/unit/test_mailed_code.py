"""Mailed codes: their form, as people type them, and how often one is sent."""

import pytest

from otpd import app_password, handout, mailed_code, otp, recovery, symbols
from otpd.mailed_code import FREE_MAILS, LONG_PAUSE_SECONDS, PAUSE_SECONDS, Mailed
from otpd.secret import Secret
from otpd.symbols import Typo

NOW = 1_800_000_000


def mailed(**other: object) -> Mailed:
    given = {"sent": NOW, "expires": NOW + 600, "unused": 1, "digest": Secret(b"x" * 32)}
    return Mailed(**(given | other))  # type: ignore[arg-type]


def test_no_other_proof_looks_like_one() -> None:
    for _ in range(2000):
        code = mailed_code.generate().reveal()
        assert mailed_code.looks_like_one(code)
        assert otp.parse_code(code) is None
        assert not code.replace(b"-", b"")[-6:].isdigit()
        assert not recovery.looks_like_one(code)
        assert not handout.looks_like_one(code)
    assert not mailed_code.looks_like_one(b"12345678")
    assert not app_password.looks_like_one(b"mail")


def test_as_people_type_it() -> None:
    code = symbols.in_groups(symbols.with_check("a0b1c2"), 4).encode()
    wanted = mailed_code.digest(code)
    text = code.decode()
    wide = "".join(chr(ord(one) + 0xFEE0) for one in text.upper())
    for typed in (
        text.upper(),
        text.replace("-", " "),
        f" {text} ",
        text.replace("-", ""),
        wide,
        text.replace("0", "o"),
    ):
        assert mailed_code.looks_like_one(typed.encode())
        assert mailed_code.digest(typed.encode()) == wanted
    for place in (0, 4, len(text) - 1):
        wrong = "7" if text[place] != "7" else "8"
        with pytest.raises(Typo):
            mailed_code.digest((text[:place] + wrong + text[place + 1 :]).encode())


def test_good_until_it_expires_or_is_used() -> None:
    assert mailed().is_good(NOW + 599)
    assert not mailed().is_good(NOW + 600)
    assert not mailed(digest=None).is_good(NOW)


def test_how_long_until_the_next() -> None:
    assert mailed().seconds_left(NOW) == PAUSE_SECONDS
    assert mailed().seconds_left(NOW + PAUSE_SECONDS) == 0
    assert mailed(unused=FREE_MAILS - 1).seconds_left(NOW) == PAUSE_SECONDS
    assert mailed(unused=FREE_MAILS).seconds_left(NOW) == LONG_PAUSE_SECONDS
    assert mailed(unused=FREE_MAILS + 7).seconds_left(NOW + LONG_PAUSE_SECONDS) == 0
    assert mailed(digest=None).seconds_left(NOW) == 0, "whoever used one may have another"
    assert mailed().seconds_left(NOW - 10) == PAUSE_SECONDS + 10, "another host's clock"
    assert mailed().seconds_left(NOW - LONG_PAUSE_SECONDS - 1) == 0, "a clock that was wrong holds nobody up"


def test_a_row_ends_with_the_day() -> None:
    assert mailed(unused=7).in_a_row(NOW + 86399) == 7
    assert mailed(unused=7).in_a_row(NOW + 86400) == 0


@pytest.mark.parametrize("one", [mailed(), mailed(digest=None, unused=0)])
def test_what_is_sealed_comes_back(one: Mailed) -> None:
    assert Mailed.from_plain(one.to_plain()) == one
