"""RFC 4226 appendix D, RFC 6238 appendix B, and how people type codes."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpd import otp
from otpd.otp import TotpParameters
from otpd.secret import Secret
from otpd.values import TimeStep

SEED = b"12345678901234567890"
RFC_4226 = ("755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489")
RFC_6238 = [
    (59, "94287082", "46119246", "90693936"),
    (1111111109, "07081804", "68084774", "25091201"),
    (1111111111, "14050471", "67062674", "99943326"),
    (1234567890, "89005924", "91819424", "93441116"),
    (2000000000, "69279037", "90698825", "38618901"),
    (20000000000, "65353130", "77737706", "47863826"),
]


@pytest.mark.parametrize(("counter", "code"), list(enumerate(RFC_4226)))
def test_rfc_4226(counter: int, code: str) -> None:
    assert otp.code_at(Secret(SEED), TotpParameters(), TimeStep(counter)) == code


@pytest.mark.parametrize(("seconds", "sha1", "sha256", "sha512"), RFC_6238)
def test_rfc_6238(seconds: int, sha1: str, sha256: str, sha512: str) -> None:
    seeds = {"sha1": SEED, "sha256": (SEED * 2)[:32], "sha512": (SEED * 4)[:64]}
    for algorithm, code in (("sha1", sha1), ("sha256", sha256), ("sha512", sha512)):
        parameters = TotpParameters(digits=8, algorithm=algorithm)
        step = otp.time_step(parameters, seconds)
        assert otp.code_at(Secret(seeds[algorithm]), parameters, step) == code


def test_window() -> None:
    seed, parameters, now = Secret(SEED), TotpParameters(), TimeStep(1000)
    for step in range(990, 1011):
        code = otp.code_at(seed, parameters, TimeStep(step))
        expected = (step,) if abs(step - now) <= 2 else ()
        assert otp.matching_steps(seed, parameters, code, now, 2) == expected


def test_window_at_the_epoch() -> None:
    code = otp.code_at(Secret(SEED), TotpParameters(), TimeStep(0))
    assert otp.matching_steps(Secret(SEED), TotpParameters(), code, TimeStep(0), 1) == (0,)


@pytest.mark.parametrize(
    "typed",
    ["123456", "123 456", "123-456", " 123456 ", "12 34 56", "\uff11\uff12\uff13\uff14\uff15\uff16", "123\u2011456"],
)
def test_codes_as_people_type_them(typed: str) -> None:
    assert otp.parse_code(typed.encode()) == "123456"


@pytest.mark.parametrize(
    "typed",
    [
        b"",
        b"12345",
        b"123456789",
        b"12345a",
        b"hunter2",
        b"\xff23456",
        b"123456\n",
        "\u0661\u0662\u0663\u0664\u0665\u0666".encode(),
    ],
)
def test_what_is_no_code(typed: bytes) -> None:
    assert otp.parse_code(typed) is None


@given(st.binary(max_size=64))
def test_parsing_never_fails(typed: bytes) -> None:
    code = otp.parse_code(typed)
    assert code is None or (code.isascii() and code.isdigit() and 6 <= len(code) <= 8)


def test_uri() -> None:
    seed = otp.new_seed()
    uri = otp.provisioning_uri(seed, TotpParameters(), "alice", "Example Corp")
    assert uri.startswith("otpauth://totp/Example%20Corp:alice?secret=" + otp.base32(seed))
    assert base64.b32decode(otp.base32(seed)) == seed.reveal()
