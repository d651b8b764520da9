"""A real mail server: Dovecot, whose clients cannot be asked for a code."""

import imaplib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.host import Token, connects, free_port, pam_service, run

from .conftest import PASSWORD, World

SETTINGS = """\
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
log_path = /var/log/otpd-rig/dovecot.log
auth_verbose = yes
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
mail_location = maildir:~/Maildir
first_valid_uid = 500
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
passdb {{
  driver = pam
  args = imap
}}
userdb {{
  driver = passwd
}}
"""


@pytest.fixture(scope="module")
def imap(world: World) -> Iterator[int]:
    # As in conf/pam.d/imap.example.
    pam_service("imap", "auth required pam_otpd.so\naccount required pam_unix.so\n")
    port = free_port()
    Path("/etc/dovecot/rig.conf").write_text(SETTINGS.format(port=port))
    world.host.spawn("dovecot-main", "dovecot", "-F", "-c", "/etc/dovecot/rig.conf")
    world.host.wait(lambda: connects(("127.0.0.1", port)), "dovecot-main")
    yield port
    world.host.stop("dovecot-main")


def log_in(port: int, user: str, password: str) -> bool:
    client = imaplib.IMAP4("127.0.0.1", port, timeout=20)
    try:
        client.login(user, password)
        assert client.select()[0] == "OK"
    except imaplib.IMAP4.error:
        return False
    else:
        return True
    finally:
        client.shutdown()


def test_app_passwords_open_the_mailbox_until_they_are_revoked(
    world: World, imap: int, alice: tuple[str, Token]
) -> None:
    user, token = alice
    create = ("otpctl", "app-password", "create", "--user", user, "--json", "--service")
    made, other = (json.loads(run(*create, service)) for service in ("imap", "smtp"))
    world.secrets |= {made["password"], other["password"]}
    assert log_in(imap, user, made["password"])
    assert log_in(imap, user, made["password"].upper().replace("-", " "))
    for wrong in (PASSWORD, token.code(), PASSWORD + token.code(), other["password"], made["password"][:-1] + "z"):
        assert not log_in(imap, user, wrong)
    assert not log_in(imap, world.person()[0], made["password"]), "another user's"
    run("otpctl", "app-password", "revoke", "--user", user, made["id"])
    assert not log_in(imap, user, made["password"])


def test_dovecots_workers_are_used_again_and_again(world: World, imap: int, alice: tuple[str, Token]) -> None:
    """It keeps its worker processes: nothing may leak, and no state may stay from one login to the next."""
    user, _ = alice
    made = json.loads(run("otpctl", "app-password", "create", "--user", user, "--json", "--service", "imap"))
    world.secrets.add(made["password"])
    results = [log_in(imap, user, made["password"] if number % 2 else "wrong") for number in range(12)]
    assert results == [bool(number % 2) for number in range(12)]
    workers = subprocess.run(["pgrep", "-f", "dovecot/auth"], capture_output=True, text=True, check=True).stdout.split()
    assert all(len(list(Path(f"/proc/{worker}/fd").iterdir())) < 60 for worker in workers)
