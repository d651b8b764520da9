"""RFC 4226 appendix D, RFC 6238 appendix B, and how people type codes."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpd import otp
from otpd.otp import OtpParameters
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
    assert otp.code_at(Secret(SEED), OtpParameters(), TimeStep(counter)) == code


@pytest.mark.parametrize(("seconds", "sha1", "sha256", "sha512"), RFC_6238)
def test_rfc_6238(seconds: int, sha1: str, sha256: str, sha512: str) -> None:
    seeds = {"sha1": SEED, "sha256": (SEED * 2)[:32], "sha512": (SEED * 4)[:64]}
    for algorithm, code in (("sha1", sha1), ("sha256", sha256), ("sha512", sha512)):
        parameters = OtpParameters(digits=8, algorithm=algorithm)
        step = otp.time_step(30, seconds)
        assert otp.code_at(Secret(seeds[algorithm]), parameters, step) == code


def test_window() -> None:
    seed, parameters, now = Secret(SEED), OtpParameters(), TimeStep(1000)
    for step in range(990, 1011):
        code = otp.code_at(seed, parameters, TimeStep(step))
        expected = (step,) if abs(step - now) <= 2 else ()
        assert otp.matching_steps(seed, parameters, code, range(now - 2, now + 3)) == expected


def test_two_codes_in_a_row() -> None:
    seed, parameters = Secret(SEED), OtpParameters(period_seconds=None)
    codes = RFC_4226
    for steps in (range(10), range(4, 5), range(1000)):
        assert otp.consecutive_steps(seed, parameters, (codes[3], codes[4]), steps) == (4,)
    assert otp.consecutive_steps(seed, parameters, (codes[3], codes[4]), range(4)) == ()
    assert otp.consecutive_steps(seed, parameters, (codes[4], codes[3]), range(10)) == ()
    assert otp.consecutive_steps(seed, parameters, (codes[3], codes[5]), range(10)) == ()
    assert otp.consecutive_steps(seed, parameters, (codes[9], codes[0]), range(10)) == ()


@pytest.mark.parametrize(
    "typed",
    [
        "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
        "gezd gnbv gy3t qojq gezd gnbv gy3t qojq ",
        "hex:3132333435363738393031323334353637383930",
    ],
)
def test_seeds_of_makers(typed: str) -> None:
    assert otp.parse_seed(typed) == Secret(SEED)


@pytest.mark.parametrize(
    "typed", ["", "hex:", "MZXW6", "hex:" + "00" * 15, "hex:" + "00" * 65, "hex:zz", "0" * 32, "\u00e4" * 32]
)
def test_what_is_no_seed(typed: str) -> None:
    assert otp.parse_seed(typed) is None


@pytest.mark.parametrize(
    "typed",
    [
        "123456",
        "123 456",
        "123-456",
        " 123456 ",
        "12 34 56",
        "\uff11\uff12\uff13\uff14\uff15\uff16",
        "123\u2011456",
        "123\u2013456",
        "123\u3000456",
    ],
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
    seed = otp.new_seed("sha1")
    uri = otp.provisioning_uri(seed, OtpParameters(), "alice", "Example Corp")
    assert uri.startswith("otpauth://totp/Example%20Corp:alice?secret=" + otp.base32(seed))
    assert base64.b32decode(otp.base32(seed)) == seed.reveal()


@pytest.mark.parametrize(("algorithm", "length"), [("sha1", 20), ("sha256", 32), ("sha512", 64)])
def test_uri_of_what_is_not_the_default(algorithm: str, length: int) -> None:
    seed = otp.new_seed(algorithm)
    assert len(seed) == length
    assert base64.b32decode(otp.base32(seed) + "=" * (-len(otp.base32(seed)) % 8)) == seed.reveal()
    uri = otp.provisioning_uri(seed, OtpParameters(8, algorithm, 60), "alice", "otpd")
    assert ("algorithm=" + algorithm.upper() in uri) == (algorithm != "sha1")
    assert "digits=8" in uri
    assert "period=60" in uri
    assert "&counter=0" in otp.provisioning_uri(seed, OtpParameters(period_seconds=None), "alice", "otpd")
