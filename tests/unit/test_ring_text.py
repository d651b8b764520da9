"""Changes to the text of a key ring: nothing else moves, and what comes out is a ring."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpd import ring_text
from otpd.errors import ConfigError
from otpd.seal import KeyRing

ids = st.lists(st.from_regex(r"[a-z0-9][a-z0-9-]{0,6}", fullmatch=True), min_size=1, max_size=6, unique=True)
other_lines = st.lists(st.sampled_from(["\n", "# a note\n", "  \n", "#k1 not a key\n"]), max_size=3).map("".join)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Rings with comments and empty lines between, which may lack the newline at their end."""
    lines = [draw(other_lines) + ring_text.new_key_line(key_id) for key_id in draw(ids)]
    text = "".join(lines) + draw(other_lines)
    return text.removesuffix("\n") if draw(st.booleans()) else text


def keys(text: str) -> dict[str, bytes]:
    return {key_id: key.reveal() for key_id, key in ring_text.parse(text, "test").items()}


def comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.partition("#")[0].strip()]


@given(texts())
def test_a_new_key_comes_last(text: str) -> None:
    before, after = keys(text), keys(changed := ring_text.with_new_key(text))
    assert list(after)[:-1] == list(before)
    assert before.items() <= after.items()
    assert ring_text.newest(after) == list(after)[-1]
    assert comments(changed) == comments(text)
    assert changed.startswith(text)


@given(texts(), st.data())
def test_another_key_becomes_current(text: str, data: st.DataObject) -> None:
    before = keys(text)
    chosen = data.draw(st.sampled_from(list(before)))
    after = keys(changed := ring_text.with_current(text, chosen))
    assert after == before
    assert list(after) == [chosen, *(key_id for key_id in before if key_id != chosen)]
    assert comments(changed) == comments(text)
    assert ring_text.with_current(changed, chosen) == changed, "once more changes nothing"


@given(texts(), st.data())
def test_a_key_goes(text: str, data: st.DataObject) -> None:
    before = keys(text)
    gone = data.draw(st.sampled_from(list(before)))
    if gone == next(iter(before)):
        with pytest.raises(ConfigError):
            ring_text.without_key(text, gone)
        return
    after = keys(changed := ring_text.without_key(text, gone))
    assert after == {key_id: key for key_id, key in before.items() if key_id != gone}
    assert list(after) == [key_id for key_id in before if key_id != gone]
    assert comments(changed) == comments(text)


@pytest.mark.parametrize(
    ("key_ids", "newest"),
    [(["k1"], "k1"), (["k2", "k1"], "k2"), (["k9", "k10"], "k10"), (["site", "k1"], "k1"), (["b", "a"], "b")],
)
def test_the_newest_has_the_highest_number(key_ids: list[str], newest: str) -> None:
    assert ring_text.newest(key_ids) == newest


def test_the_first_key() -> None:
    assert list(keys(ring_text.with_new_key(""))) == ["k1"]


def test_fingerprints_tell_keys_apart_and_stay() -> None:
    text = ring_text.with_new_key(ring_text.with_new_key(""))
    ring, again = KeyRing.from_text(text, "test"), KeyRing.from_text(ring_text.with_current(text, "k2"), "test")
    assert ring.fingerprint("k1") == again.fingerprint("k1") != ring.fingerprint("k2")
    assert len(ring.fingerprint("k1")) == 16
    assert ring.fingerprint("k1") not in text
