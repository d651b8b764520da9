"""The README's first command, on a Debian with nothing installed: what it shows, and that it leaves nothing."""

import re
from pathlib import Path

import pexpect
import pytest
from rig.people import ssh

BARE = Path(__file__).parent / "bare"
PROMISED = (
    "enrolment",
    "password and right code",
    "the same code again",
    "wrong code",
    "password alone",
    "public key and code",
    "app password at imap",
    "the same app password at ssh",
    "the app password after revoke",
    "otpd stopped",
)
FILES = r"find / -xdev -not -path '/proc*' -not -path '/root/.*' -printf '%p %s %T@\n' | sort"
COMMAND = f"trap : INT; {FILES} >/dev/shm/before; make demo KEEP=1; {FILES} | diff /dev/shm/before - && echo clean"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_make_demo_keep(suite: str) -> None:
    demo = pexpect.spawn(str(BARE), [suite, "sh", "-c", COMMAND], timeout=400, encoding="utf-8", dimensions=(60, 120))
    demo.expect("It is still running")
    kept = [line.strip() for line in demo.before.splitlines() if line.strip().startswith("ok ")]
    assert [line.removeprefix("ok").strip().split(":")[0] for line in kept] == list(PROMISED)
    assert "FAIL" not in demo.before
    assert "\u2588\u2580" in demo.before, "the QR code"
    # What it says to do by hand works.
    demo.expect(r"-p (\d+) alice@127.0.0.1\s+password: ([^\r\n]+)")
    port, password = int(demo.match[1]), demo.match[2].strip()
    demo.expect(r"\r\n    (\d{6})\r\n")
    seen = ssh(port, "alice", [password, demo.match[1]])
    assert "let in" in seen.screen, seen.screen
    demo.sendintr()
    demo.expect(pexpect.EOF)
    # /dev is the host's, so what is in memory there is not part of what is compared.
    assert re.search(r"clean\r?\n", demo.before), demo.before
    demo.close()


def test_a_user_is_told_that_it_needs_root() -> None:
    demo = pexpect.spawn("setpriv", ["--reuid=nobody", "--clear-groups", "make", "-C", str(BARE.parents[2]), "demo"])
    demo.expect(pexpect.EOF)
    assert b"must be run as root" in demo.before
