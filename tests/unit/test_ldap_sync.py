"""RFC 4533's values, against what OpenLDAP 2.5 sends and takes."""

import pytest

from otpd.adapters.ldap.sync import STATE_CONTROL, State, info_of, request_value, state_of

CSN = b"20261124060629.660179Z#000000#000#000000"
STATE = b"0K\n\x01\x02\x04\x10\xefF\x1e\x1c|\x18\x10A\x9c\xa9\xfd\xa5\x9e\xb8V+\x044rid=000,csn=" + CSN


def message(value: bytes) -> dict[str, object]:
    return {"controls": {STATE_CONTROL: {"value": value}}}


def test_request() -> None:
    assert request_value([CSN]) == b"\x30\x39\x0a\x01\x03\x04\x34rid=000,csn=" + CSN
    several = request_value([b"b" * 40, b"a" * 40, b"c" * 40])
    assert (
        several == b"\x30\x81\x8c\x0a\x01\x03\x04\x81\x86rid=000,csn=" + b"a" * 40 + b";" + b"b" * 40 + b";" + b"c" * 40
    )


def test_state() -> None:
    assert state_of(message(STATE)) == State("modify", STATE[7:23])
    assert state_of({"controls": {}}) is None
    assert state_of({}) is None


@pytest.mark.parametrize("end", range(23))
def test_a_state_that_is_cut_short(end: int) -> None:
    with pytest.raises(ValueError, match=r"missing|cut short|does not parse"):
        state_of(message(STATE[:end]))


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (b"\xa1\x00", "refreshed"),
        (b"\xa2\x03\x04\x01x", "refreshed"),
        (b"\xa2\x06\x04\x01x\x01\x01\x00", "refreshing"),
        (b"\xa1\x03\x01\x01\xff", "refreshed"),
        (b"\x80\x01x", "cookie"),
        (b"\xa3\x00", "uuids"),
    ],
)
def test_info(value: bytes, meaning: str) -> None:
    assert info_of(value) == meaning


@pytest.mark.parametrize("value", [b"", b"\x30\x00", b"\xa1\x05\x04\x09x"])
def test_an_info_that_is_none(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"missing|cut short|does not parse"):
        info_of(value)
