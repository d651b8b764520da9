"""The golden messages, and what random ones lead to."""

import contextlib
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpd import protocol
from otpd.errors import ProtocolError
from otpd.protocol import Answer, Ask, Begin, Cancel, Done
from otpd.secret import Secret

VECTORS = Path(__file__).parents[1] / "vectors" / "protocol.txt"


class Vector(NamedTuple):
    name: str
    sender: str
    ok: bool
    frames: list[bytes]


def frame(line: str) -> bytes:
    text = line.removeprefix("frame:").removeprefix(" ")
    repeated = re.search(r"\*(\d+)$", text)
    if repeated:
        text = text[: repeated.start()]
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), text.encode())
    return raw + raw[-1:] * (int(repeated[1]) - 1 if repeated else 0)


def vectors() -> list[Vector]:
    found = []
    for block in VECTORS.read_text().split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if lines:
            name, sender, expect = (line.partition(":")[2].strip() for line in lines[:3])
            found.append(Vector(name, sender, expect == "ok", [frame(line) for line in lines[3:]]))
    return found


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector.name)
def test_golden_message(vector: Vector) -> None:
    decode = protocol.decode_request if vector.sender == "client" else protocol.decode_reply
    if vector.ok:
        encode = protocol.encode_request if vector.sender == "client" else protocol.encode_reply
        assert sorted(encode(decode(vector.frames))) == sorted(vector.frames)  # type: ignore[arg-type]
    else:
        with pytest.raises(ProtocolError):
            decode(vector.frames)


def test_the_vectors_hold_every_verb_both_ways() -> None:
    verbs = {(vector.frames[1], vector.ok) for vector in vectors() if len(vector.frames) > 1}
    for verb in (b"begin", b"answer", b"ask", b"done"):
        assert {(verb, True), (verb, False)} <= verbs


names = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=60)
typed = st.binary(max_size=512).filter(lambda value: b"\0" not in value)
requests = st.one_of(
    st.builds(Begin, user=names, service=names, rhost=names, authtok=st.none() | st.builds(Secret, typed)),
    st.builds(Answer, dialogue=st.binary(max_size=2048), text=st.builds(Secret, typed)),
    st.builds(Cancel, dialogue=st.binary(max_size=2048)),
)
replies = st.one_of(
    st.builds(
        Ask, dialogue=st.binary(max_size=2048), prompt=names, infos=st.lists(names).map(tuple), echo=st.booleans()
    ),
    st.builds(Done, verdict=st.sampled_from(protocol.VERDICTS), infos=st.lists(names).map(tuple)),
)


@given(requests)
def test_requests_round_trip(request: protocol.Request) -> None:
    assert protocol.decode_request(protocol.encode_request(request)) == request


@given(replies)
def test_replies_round_trip(reply: protocol.Reply) -> None:
    try:
        frames = protocol.encode_reply(reply)
    except ProtocolError:
        return  # beyond a limit, and told so before it is sent
    assert protocol.decode_reply(frames) == reply


pieces = st.sampled_from([b"otpd/1", b"begin", b"answer", b"done", b"user=a", b"service=s", b"dialogue=d", b"text=1"])


@given(st.lists(pieces | st.binary(max_size=40), max_size=40))
def test_rubbish_raises_nothing_but_protocol_errors(frames: list[bytes]) -> None:
    for decode in (protocol.decode_request, protocol.decode_reply, protocol.decode_management):
        with contextlib.suppress(ProtocolError):
            decode(frames)  # type: ignore[operator]


def test_deep_json_is_refused() -> None:
    with pytest.raises(ProtocolError):
        protocol.decode_management([b"otpd/1", b"status", b"[" * 8000])
