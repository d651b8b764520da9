"""otpd.toml: every fault at once, and an example that says all there is to say."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import attrs
import pytest

from otpd.adapters import config
from otpd.adapters.config import Config, ServiceTable
from otpd.adapters.key_file import read_key_ring
from otpd.errors import ConfigError
from otpd.policy import ServicePolicy
from otpd.ring_text import new_key_line
from otpd.values import ServiceName

CONF = Path(__file__).parents[2] / "conf"

FAULTY = """
colour = "red"
[sockets]
auth = 3
contrl = "/run/x"
[daemon]
workers = 0
deadline_seconds = "5"
log_level = "loud"
[directory]
uris = ["http://example.org"]
[totp]
window_steps = true
issuer = "a:b"
[service]
x = 3
[service.sshd]
accept = ["code", "cde"]
unenrolled = true
[service.imap]
accept = []
bogus = 1
[service.open]
accept = ["app-password"]
unenrolled = "allow"
[service.remembering]
accept = ["password+code"]
remember_hours = 12
[service.grouped]
remember_group = "two words"
"""


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        config.parse(text, "otpd.toml")
    return raised.value.faults


MAIL = """
[mail]
server = "{server}"
sender = "otpd@example.org"
to = "{{user}}@example.org"
{more}
[service.sshd]
accept = ["code", "mail"]
"""


@pytest.mark.parametrize(
    ("server", "more", "fault"),
    [
        ("smtps://mail.example.org", "", ""),
        ("smtp://mail.example.org:2525", "", ""),
        ("smtp://localhost:25", "", ""),
        ("smtp://[::1]", "", ""),
        ("smtps://127.0.0.1:2465", "", ""),
        ("", "", 'service.sshd.accept: "mail" needs [mail]'),
        ("smtp://localhost:2525", "", "mail: server: mail to this host goes in the clear"),
        ("smtp://[::1]:2525", "", "mail: server: mail to this host goes in the clear"),
        ("http://mail.example.org", "", "mail.server: expected smtps://"),
        ("smtps://mail.example.org:smtp", "", "mail: Port could not be cast"),
        ("smtps://mail.example.org", 'user = "otpd"', "mail: user and password_file go together"),
        ("smtps://mail.example.org", "valid_minutes = 61", "mail.valid_minutes: expected a whole number"),
    ],
)
def test_who_sends_mail(server: str, more: str, fault: str) -> None:
    text = MAIL.format(server=server, more=more)
    if not fault:
        assert config.parse(text, "otpd.toml").mail.server == server
        return
    assert any(fault in one for one in faults(text)), faults(text)


@pytest.mark.parametrize(
    "to", ["alice@example.org", "{user}@exa mple.org", "{user}{user}@example.org", "{User}@x", "{user}\n"]
)
def test_where_mail_goes(to: str) -> None:
    text = MAIL.format(server="smtps://mail.example.org", more="").replace(
        "{user}@example.org", to.replace("\n", "\\n")
    )
    assert faults(text)[0].startswith("otpd.toml: mail.to: expected an address")


def test_every_fault_is_reported_at_once_with_file_and_key() -> None:
    keys = [fault.split(": ")[:2] for fault in faults(FAULTY)]
    expected = [
        "sockets.auth",
        "sockets.contrl",
        "daemon.workers",
        "daemon.deadline_seconds",
        "daemon.log_level",
        "directory.uris",
        "totp.window_steps",
        "totp.issuer",
        "service.x",
        "service.sshd.accept",
        "service.sshd.unenrolled",
        "service.imap.accept",
        "service.imap.bogus",
        "service.open",
        "service.remembering",
        "service.grouped.remember_group",
        "colour",
    ]
    assert sorted(key for _, key in keys) == sorted(expected)
    assert {name for name, _ in keys} == {"otpd.toml"}


def test_the_command_says_them_all_and_exits_with_78(tmp_path: Path) -> None:
    path = tmp_path / "otpd.toml"
    path.write_text(FAULTY)
    command = [sys.executable, "-m", "otpd.daemon", "--config", str(path)]
    done = subprocess.run(command, text=True, capture_output=True, check=False, cwd=CONF.parent, timeout=60)
    assert done.returncode == os.EX_CONFIG
    assert done.stderr.count(f"otpd: {path}: ") == len(faults(FAULTY))
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["x =", "[sockets]\nauth = '/a'\nauth = '/b'", "[service.a]\n[service.a]"])
def test_what_is_not_toml(text: str) -> None:
    assert "is not TOML" in faults(text)[0]


@pytest.mark.parametrize("name", ["/nowhere/otpd.toml", "/dev/null/x", "/"])
def test_a_file_that_cannot_be_read(name: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(name)):
        config.load(Path(name))


def test_an_empty_file_is_the_defaults() -> None:
    settings = config.parse("", "otpd.toml")
    assert settings == Config()
    assert settings.policy().of(ServiceName("sshd")) == ServicePolicy(("code",), "refuse", 3)


def test_a_service_without_a_table_follows_the_default() -> None:
    policy = config.parse('[service.default]\nunenrolled = "allow"\n[service.sshd]\ntries = 1', "x").policy()
    assert policy.of(ServiceName("anything")).unenrolled == "allow"
    assert policy.of(ServiceName("sshd")).unenrolled == "refuse"


def test_the_example_has_every_key_with_its_default() -> None:
    example: dict[str, Any] = tomllib.loads((CONF / "otpd.toml").read_text())
    for table in attrs.fields(Config):
        written = example["service"]["default"] if table.name == "service" else example[table.name]
        default = ServiceTable() if table.name == "service" else table.default
        assert attrs.asdict(default) == {
            name: tuple(value) if isinstance(value, list) else value for name, value in written.items()
        }


def key_file(tmp_path: Path, mode: int) -> Path:
    path = tmp_path / "keyring"
    path.write_text(new_key_line("k1"))
    path.chmod(mode)
    return path


def test_keys_that_others_could_read_are_refused(tmp_path: Path) -> None:
    for mode in (0o640, 0o604, 0o660):
        with pytest.raises(ConfigError, match="chmod 600"):
            read_key_ring(key_file(tmp_path, mode), trusted=False)
    assert read_key_ring(key_file(tmp_path, 0o600), trusted=False).current == "k1"
    assert read_key_ring(key_file(tmp_path, 0o440), trusted=True).current == "k1"


def test_a_missing_key_ring_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="otpctl keys init"):
        read_key_ring(tmp_path / "none", trusted=False)
