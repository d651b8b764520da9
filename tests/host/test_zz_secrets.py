"""Last of all: what the whole run has left behind holds no secret."""

import base64
from pathlib import Path

from module.pam_login import SUCCESS
from rig.host import LOGS, Token, run

from .conftest import PASSWORD, World


def test_a_fault_shows_nothing_even_when_debugging(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    host = world.host
    before = host.settings
    host.stop_daemon()
    host.configure(before + '\n[daemon]\nlog_level = "debug"\n')
    host.start_daemon()
    code = token.code()
    world.secrets.add(code)
    assert world.outcome("anything", user, code, arguments="debug") == SUCCESS
    host.configure(before)


def test_nothing_that_was_secret_is_seen_anywhere(world: World, visible_to_others: set[str]) -> None:
    secrets = world.secrets | {PASSWORD, *Path("/etc/otpd/keyring").read_text().split()[1::2]}
    codes = {code for code in secrets if code.isdigit()}
    assert len(secrets) > 30
    logs = {path.name: path.read_text(errors="replace") for path in LOGS.iterdir()}
    assert {"otpd.log", "otpd-password.log", "syslog.log"} <= set(logs)
    for name, text in logs.items():
        assert not [secret for secret in secrets if secret in text], name
    shown = "\n".join(visible_to_others)
    assert "otpd" in shown
    assert not [secret for secret in secrets - codes if secret in shown]


def test_the_directory_holds_no_secret_in_the_clear(world: World, alice: tuple[str, Token]) -> None:
    dump = run("slapcat", "-F", "/var/lib/otpd-directory/slapd.d", "-n", "1", "-o", "ldif-wrap=no")
    assert "otpdSealedSeed: " in dump
    raw = {Path(path).name: Path(path).read_bytes() for path in ("/var/lib/otpd-directory/data/data.mdb",)}
    for secret in world.secrets:
        if len(secret) == 32:
            seed = base64.b32decode(secret)
            assert secret not in dump
            assert base64.b64encode(seed).decode().rstrip("=") not in dump
            for content in raw.values():
                assert seed not in content
                assert secret.encode() not in content
        elif secret.startswith("otpd-"):
            assert secret.replace("-", "")[12:38] not in dump.lower()


def test_no_core_was_written(world: World) -> None:
    for name in ("otpd", "otpd-password"):
        limits = Path(f"/proc/{world.host.processes[name].pid}/limits").read_text()
        line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert line.split()[4:6] == ["0", "0"]
