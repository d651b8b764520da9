"""``otpctl directory migrate``: from the embedded directory to a real OpenLDAP while people log in."""

# ruff: noqa: F811 - fixtures of another file, asked for by their names

import json
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from directory.servers import BASE, Server, Slapd, debian, folders
from module.pam_login import SUCCESS
from rig.host import Host, own, run

from otpd import recovery

from .conftest import eventually
from .test_backup import ENTRIES, entries, host_entries, settings_of
from .test_keys import Person, Site, names, site  # noqa: F401 - fixtures

ROOT: Final = Path("/run/otpd-migration-directory")
CONFIG: Final = Path("/etc/otpd/otpd.toml")
KILLS: Final = 20


def migrate(*arguments: str, code: int = 0) -> dict[str, Any]:
    command = ["otpctl", "directory", "migrate", *arguments, "--json"]
    done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=120)
    assert done.returncode == code, (done.stdout, done.stderr)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def openldap() -> Iterator[Server]:
    with debian(folders("machine/build", "bookworm"), ROOT) as root:
        server = Slapd(root, "migration")
        server.set_up()
        yield server
        server.stop()


@pytest.fixture
def target(site: Site, openldap: Server) -> Iterator[str]:
    """An empty target, as a configuration; and afterwards, the host is as it was."""
    host, old = site.world.host, CONFIG.read_text()
    empty(openldap)
    path = Path(settings_of(openldap, "site"))
    path.write_text(path.read_text() + old)
    own("/etc/otpd/site-password", "otpd")
    yield str(path)
    migrated = CONFIG.read_text() != old
    CONFIG.write_text(old)
    if migrated:
        host.restart_daemon()
    migrate("--abort")
    shutil.rmtree("/var/lib/otpd-migration")


def below(server: Server, dn: str) -> list[str]:
    return server.search(dn, "1.1").split()[1::2]


@contextmanager
def logins(site: Site) -> Iterator[list[tuple[Person, str]]]:
    """App passwords, which always work, and recovery codes, which do while writes are taken: those that did."""
    accepted: list[tuple[Person, str]] = []
    ended = threading.Event()

    def log_in() -> None:
        for person in site.people[5:] * recovery.CODES:
            if ended.wait(0.3):
                return
            assert site.outcome(person, person.app_passwords[0]) == SUCCESS
            if len(person.recovery_codes) > 1:
                code = person.recovery_codes.pop()
                if site.outcome(person, code) == SUCCESS:
                    accepted.append((person, code))

    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(log_in)
        try:
            yield accepted
        finally:
            ended.set()
        going.result()


def test_killed_at_random_moments_while_people_log_in(site: Site, openldap: Server, target: str) -> None:
    """No code that was accepted works again afterwards, and everybody logs in."""
    dice, host, copying, read_only = random.Random(), site.world.host, 0, 0
    switched, old = 0, CONFIG.read_text()
    codes = [(person, person.token.code()) for person in site.people[2:5]]
    assert {site.outcome(person, code) for person, code in codes} == {SUCCESS}
    with logins(site) as accepted:
        for number in range(KILLS):
            before = entries(openldap)
            with subprocess.Popen(
                [sys.executable, "-u", "/usr/bin/otpctl", "directory", "migrate", "--to", target],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            ) as process:
                assert process.stdout
                if number % 2 == 0:  # while it copies; else about where it makes the source read-only
                    eventually(lambda before=before: entries(openldap) > before or process.poll() is not None, 3)
                    time.sleep(dice.uniform(0, 0.02))
                else:
                    process.stdout.readline()
                    time.sleep(dice.uniform(0, 0.03))
                process.kill()
            if CONFIG.read_text() == Path(target).read_text():
                CONFIG.write_text(old)  # it was too late: nobody has used the target yet, so begin anew
                switched += 1
                anew(openldap)
                continue
            copying += entries(openldap) < ENTRIES - 30
            read_only += takes_no_writes(host)
            if number % 4 == 1:
                anew(openldap)
        migrate("--abort")
        assert eventually(lambda: len(accepted) > 5, 20)
        print(f"{KILLS} killed: {copying} while copying, {read_only} left the source read-only, {switched} too late")
    done = migrate("--to", target)
    assert done.get("verified", entries(openldap)) == entries(openldap) == host_entries(host)
    assert copying
    assert read_only
    host.restart_daemon()
    for person in site.people:
        assert site.outcome(person, person.app_passwords[0]) == SUCCESS
        assert site.outcome(person, person.recovery_codes.pop()) == SUCCESS
        # Each is a guess, and four are looked at without a wait.
        again = [code for owner, code in accepted + codes if owner is person][-3:]
        assert all(site.outcome(person, code) != SUCCESS for code in again)
    assert takes_no_writes(host), "nothing can be spent at the source any more"
    assert migrate("--abort", code=1)["error"] == "not-embedded"
    assert migrate("--to", target)["config"] == str(CONFIG)


def takes_no_writes(host: Host) -> bool:
    change = "dn: ou=otpd\nchangetype: modify\nreplace: ou\nou: otpd\n"
    try:
        host.ldap("ldapmodify", stdin=change)
    except RuntimeError as error:
        return "unwilling to perform" in str(error)
    return False


def anew(server: Server) -> None:
    """As before the first migration."""
    migrate("--abort")
    shutil.rmtree("/var/lib/otpd-migration")
    empty(server)


def empty(server: Server) -> None:
    for dn in server.search(BASE, "-s", "one", "1.1").split()[1::2]:
        server.apply("".join(f"dn: {one}\nchangetype: delete\n\n" for one in reversed(below(server, dn))))


def test_what_changed_and_what_vanished_between_two_passes(site: Site, openldap: Server, target: str) -> None:
    """As if it had been killed before the second pass: users are reset, codes are spent, and it goes on."""
    openldap.apply(f"dn: uid=foreign,{BASE}\nobjectClass: otpdUser\nuid: foreign\noathFailureCount: 0\n")
    assert migrate("--to", target, code=1)["error"] == "foreign-entries"
    assert entries(openldap) == ENTRIES + 1, "copied, and not switched"
    person = site.people[2]
    code = person.token.code()
    assert site.outcome(person, code) == 0, "the source takes writes"
    run("otpctl", "user", "reset", site.people[0].name)
    openldap.apply(f"dn: uid=foreign,{BASE}\nchangetype: delete\n")
    done = migrate("--to", target)
    assert (done["removed"], done["verified"]) == (21, ENTRIES - 21), "all but the entry that notes the reset"
    site.world.host.restart_daemon()
    assert site.outcome(person, code) != 0
    assert site.outcome(person, person.recovery_codes.pop()) == 0


def test_somebody_else_changes_the_target(site: Site, openldap: Server, target: str) -> None:
    openldap.apply(f"dn: uid=foreign,{BASE}\nobjectClass: otpdUser\nuid: foreign\noathFailureCount: 0\n")
    migrate("--to", target, code=1)
    openldap.apply(f"dn: uid=foreign,{BASE}\nchangetype: delete\n")
    name = site.people[1].name
    openldap.apply(f"dn: uid={name},{BASE}\nchangetype: modify\nreplace: oathFailureCount\noathFailureCount: 9\n")
    assert migrate("--to", target, code=1)["error"] == "foreign-entries"
    assert site.outcome(site.people[2], site.people[2].recovery_codes.pop()) == 0, "the source takes writes again"


def test_what_otpd_could_not_read_is_told_before_anything_is_done(site: Site, openldap: Server, target: str) -> None:
    """Root can read it: everything would be copied, and then no otpd would start."""
    own("/etc/otpd/site-password", "root")
    refused = migrate("--to", target, code=78)
    assert refused["error"] == "config"
    assert "chown otpd /etc/otpd/site-password" in refused["message"]
    assert entries(openldap) == 0
    assert site.outcome(site.people[2], site.people[2].recovery_codes.pop()) == 0, "the source takes writes"


def test_a_secret_that_does_not_open(site: Site, target: str) -> None:
    other = Path("/etc/otpd/other-ring")
    other.unlink(missing_ok=True)
    run("otpctl", "keys", "init", "--file", str(other))
    Path(target).write_text(Path(target).read_text() + f'\n[keys]\nfile = "{other}"\n')
    assert migrate("--to", target, code=65)["error"] == "does-not-open"
    assert site.outcome(site.people[2], site.people[2].recovery_codes.pop()) == 0
