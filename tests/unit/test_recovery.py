"""Recovery codes: short enough to write down, and typos are told from guesses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpd import otp, recovery
from otpd.symbols import ALPHABET, Typo

codes = st.builds(lambda number: recovery.generate()[number].reveal().decode(), st.integers(0, recovery.CODES - 1))


def test_a_set() -> None:
    made = [code.reveal().decode() for code in recovery.generate()]
    assert len(set(made)) == recovery.CODES
    assert all([len(group) for group in code.split("-")] == [4, 4, 4] for code in made)


@given(codes)
def test_it_is_known_however_it_is_typed(code: str) -> None:
    digest = recovery.digest(code.encode())
    for typed in (code.upper(), code.replace("-", ""), code.replace("-", " "), f"  {code}  ", code.replace("0", "O")):
        assert recovery.looks_like_one(typed.encode())
        assert recovery.digest(typed.encode()) == digest
    assert otp.parse_code(code.encode()) is None


@given(codes, st.integers(0, 11), st.sampled_from(ALPHABET))
def test_one_wrong_symbol_is_a_typo(code: str, at: int, wrong: str) -> None:
    symbols = list(code.replace("-", ""))
    if symbols[at] != wrong:
        symbols[at] = wrong
        with pytest.raises(Typo):
            recovery.digest("".join(symbols).encode())


@given(st.binary(max_size=40))
def test_what_is_no_recovery_code(typed: bytes) -> None:
    if not recovery.looks_like_one(typed):
        with pytest.raises(Typo):
            recovery.digest(typed)
