"""``otpctl directory export`` and ``import``: from the embedded directory to others and back, with the real command."""

# ruff: noqa: F811 - fixtures of another file, asked for by their names

import json
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from directory.servers import ACCOUNT, BASE, PASSWORD, DirectoryServer389, Server, Slapd, debian, folders
from rig.host import Host, own, run

from otpd.adapters.key_file import read_key_ring
from otpd.adapters.ldap.bulk import PAGE

from .conftest import World, eventually
from .test_keys import EACH, RING, USERS, Site, mailed_code, names, otpctl, site  # noqa: F401 - fixtures

ROOTS: Final = Path("/run/otpd-backup-directories")
ENTRIES: Final = USERS * 22  # the user, a token, 19 app passwords, the recovery codes
DOES_NOT_OPEN, CANNOT_CREATE, NOT_PERMITTED = 65, 73, 77
KILLS: Final = 4
MANY: Final = PAGE + 50


def directory(*arguments: str, config: str = "/etc/otpd/otpd.toml", code: int = 0) -> dict[str, Any]:
    """``otpctl directory ... --json``, and its exit code."""
    command = ["otpctl", "--config", config, "directory", *arguments, "--json"]
    done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=120)
    assert done.returncode == code, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def settings_of(server: Server, name: str) -> str:
    """A configuration that names the server, with a password in a file."""
    password = Path(f"/etc/otpd/{name}-password")
    password.write_text(PASSWORD)
    password.chmod(0o600)
    path = Path(f"/etc/otpd/{name}.toml")
    path.write_text(
        f"[directory]\nuris = [{json.dumps(server.uri)}]\nbase_dn = {json.dumps(BASE)}\n"
        f"bind_dn = {json.dumps(ACCOUNT)}\nbind_password_file = {json.dumps(str(password))}\n"
    )
    return str(path)


@pytest.fixture(scope="module")
def openldap() -> Iterator[Server]:
    with debian(folders("machine/build", "trixie"), ROOTS / "trixie") as root:
        server = Slapd(root, "backup", schema=("oath", "otpd"), otp=False)
        server.set_up()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def other_kind() -> Iterator[Server]:
    with debian(folders("directory/root-389ds"), ROOTS / "389ds") as root:
        server = DirectoryServer389(root, "389ds")
        server.set_up()
        yield server
        server.stop()


@pytest.fixture
def backup(site: Site, tmp_path: Path) -> Path:
    file = tmp_path / "otpd.backup"
    exported = directory("export", str(file))
    assert sum(exported["entries"].values()) == ENTRIES
    assert (exported["not_opening"], exported["left_out"]) == (0, [])
    return file


def host_entries(host: Host) -> int:
    return host.ldap("ldapsearch", "-LLL", "-b", "ou=otpd", "(|(objectClass=otpdUser)(otpdId=*))", "1.1").count("dn:")


def entries(server: Server) -> int:
    return server.search(BASE, "(|(objectClass=otpdUser)(otpdId=*))", "1.1").count("dn:")


def test_onto_another_server_and_another_kind(site: Site, backup: Path, openldap: Server, other_kind: Server) -> None:
    """Embedded to OpenLDAP, from there to 389 Directory Server, and from there back to an empty embedded one."""
    ldap, other = settings_of(openldap, "openldap"), settings_of(other_kind, "other")
    assert directory("import", str(backup), "--dry-run", config=ldap)["added"] == ENTRIES
    assert entries(openldap) == 0
    assert directory("import", str(backup), config=ldap)["added"] == ENTRIES
    assert directory("import", str(backup), config=ldap)["equal"] == ENTRIES
    second, third = backup.with_name("second"), backup.with_name("third")
    directory("export", str(second), config=ldap)
    assert directory("import", str(second), config=other)["added"] == ENTRIES
    directory("export", str(third), config=other)
    host = site.world.host
    host.ldap("ldapdelete", "-r", *[f"uid={person.name},ou=otpd" for person in site.people])
    assert directory("import", str(third))["added"] == ENTRIES
    assert directory("import", str(backup))["equal"] == ENTRIES
    assert site.all_log_in()
    after = directory("import", str(backup))
    assert (after["equal"] + after["newer"], after["differs"]) == (ENTRIES, 0)
    assert after["newer"] == 3 * USERS, "a token, the recovery codes and an app password were used by each"


def test_more_entries_than_servers_like_to_give(openldap: Server, other_kind: Server, tmp_path: Path) -> None:
    for server in (openldap, other_kind):
        some = "".join(
            f"dn: uid=many{number},{BASE}\nobjectClass: otpdUser\nuid: many{number}\noathFailureCount: 0\n\n"
            for number in range(MANY)
        )
        server.apply(some)
        config = settings_of(server, "many")
        exported = directory("export", str(tmp_path / server.name), config=config)
        assert exported["entries"]["otpdUser"] >= MANY


def test_the_file(site: Site, backup: Path) -> None:
    """It is for root alone, holds no secret that anybody could read, and is never written over."""
    assert backup.stat().st_mode & 0o777 == 0o600
    assert list(backup.parent.iterdir()) == [backup]
    content = backup.read_bytes()
    assert not any(person.name.encode() in content for person in site.people)
    assert directory("export", str(backup), code=CANNOT_CREATE)["error"] == "exists"
    assert backup.read_bytes() == content
    assert directory("export", "/nonexistent/x", code=CANNOT_CREATE)["error"] == "cannot-create"
    piped = subprocess.run(["otpctl", "directory", "export", "-"], capture_output=True, check=True).stdout
    backup.with_name("piped").write_bytes(piped)
    assert directory("import", str(backup.with_name("piped")))["equal"] == ENTRIES
    shown = subprocess.run(
        ["script", "-qec", "otpctl directory export -", "/dev/null"],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert b"to the terminal" in shown.stdout
    as_nobody = subprocess.run(["otpctl", "directory", "export", "/tmp/x"], user="nobody", check=False)
    assert as_nobody.returncode == NOT_PERMITTED


def test_an_export_that_fails_leaves_nothing(site: Site, tmp_path: Path) -> None:
    host = site.world.host
    host.stop("slapd")
    assert directory("export", str(tmp_path / "x"), code=69)["error"] == "unavailable"
    assert list(tmp_path.iterdir()) == []
    host.start_directory()


def test_a_damaged_file_changes_nothing(site: Site, backup: Path) -> None:
    host, person = site.world.host, site.people[0]
    host.ldap("ldapdelete", "-r", f"uid={person.name},ou=otpd")
    chunks = backup.read_bytes().splitlines(keepends=True)
    backup.write_bytes(b"".join(chunks[:-1]))
    assert directory("import", str(backup), code=DOES_NOT_OPEN)["error"] == "backup"
    assert directory("import", str(backup.with_name("none")), code=DOES_NOT_OPEN)["error"] == "backup"
    assert host.ldap("ldapsearch", "-LLL", "-b", "ou=otpd", f"(uid={person.name})") == ""


def test_a_secret_that_does_not_open(site: Site, tmp_path: Path) -> None:
    """The export says so, the import refuses all of it."""
    host, victim, other = site.world.host, site.people[0].name, site.people[1].name
    found = host.ldap("ldapsearch", "-LLL", "-b", "ou=otpd", "(otpdSealedSeed=*)", "otpdSealedSeed")
    seeds = dict(entry.split("\n")[:2] for entry in found.strip().split("\n\n"))
    dn = {name: next(dn for dn in seeds if f"uid={name}," in dn) for name in (victim, other)}
    change = f"{dn[victim]}\nchangetype: modify\nreplace: otpdSealedSeed\n{seeds[dn[other]]}\n"
    host.ldap("ldapmodify", stdin=change)
    file = str(tmp_path / "damaged")
    exported = directory("export", file, code=DOES_NOT_OPEN)
    assert (exported["not_opening"], [one["user"] for one in exported["faults"]]) == (1, [victim])
    host.ldap("ldapdelete", "-r", f"uid={other},ou=otpd")
    assert directory("import", file, code=DOES_NOT_OPEN)["error"] == "does-not-open"
    assert host.ldap("ldapsearch", "-LLL", "-b", "ou=otpd", f"(uid={other})") == ""
    assert directory("import", file, "--keep-damaged", "--dry-run")["added"] == EACH - 8


def test_overwrite_makes_nothing_valid_again(site: Site, backup: Path) -> None:
    """A code and a recovery code that were used, a user who was disabled, a token that was made anew after a reset."""
    host, (alice, bob, carol) = site.world.host, site.people[:3]
    code, recovery_code = alice.token.code(), alice.recovery_codes.pop()
    assert {site.outcome(alice, typed) for typed in (code, recovery_code)} == {0}
    run("otpctl", "user", "disable", bob.name)
    run("otpctl", "user", "reset", carol.name)
    stolen, carol.token = carol.token, host.enroll(carol.name)
    host.ldap("ldapmodify", stdin=_relabel(host, alice.name))
    differs = directory("import", str(backup), code=1)
    assert differs["differs"] == 1
    assert [one["user"] for one in differs["left_alone"]] == [alice.name]
    assert directory("import", str(backup), "--overwrite")["changed"] == 1
    assert directory("import", str(backup))["differs"] == 0
    for person, typed in ((alice, code), (alice, recovery_code), (bob, bob.token.code()), (carol, stolen.code())):
        assert site.outcome(person, typed) != 0
    assert site.outcome(alice, alice.recovery_codes.pop()) == 0
    assert otpctl("rotate")["resealed"] == 0


def test_a_key_that_took_over_since(site: Site, backup: Path) -> None:
    """What was sealed anew is found equal; a ring without the old key says which one is missing."""
    otpctl("add")
    site.world.host.restart_daemon()
    otpctl("rotate", code=75)
    site.world.host.restart_daemon()
    otpctl("rotate")
    assert directory("import", str(backup))["equal"] == ENTRIES
    ring = RING.read_text()
    Path("/etc/otpd/without").write_text("".join(line for line in ring.splitlines(True) if not line.startswith("k1 ")))
    Path("/etc/otpd/without").chmod(0o600)
    assert read_key_ring(Path("/etc/otpd/without")).ids == ("k2",)
    told = directory("import", str(backup), "--key-ring", "/etc/otpd/without", code=DOES_NOT_OPEN)
    assert "'k1'" in told["message"]


def test_a_name_that_differs_in_case_alone(site: Site, backup: Path) -> None:
    host, name = site.world.host, site.people[0].name
    host.ldap("ldapdelete", "-r", f"uid={name},ou=otpd")
    loud = f"dn: uid={name.upper()},ou=otpd\nobjectClass: otpdUser\nuid: {name.upper()}\noathFailureCount: 0\n"
    host.ldap("ldapadd", stdin=loud)
    found = directory("import", str(backup), "--overwrite", code=1)
    assert found["other_name"] == 22
    assert host.ldap("ldapsearch", "-LLL", "-b", f"uid={name},ou=otpd", "-s", "one", "1.1") == ""


def test_it_goes_on_after_it_was_killed(site: Site, backup: Path) -> None:
    host = site.world.host
    host.ldap("ldapdelete", "-r", *[f"uid={person.name},ou=otpd" for person in site.people])
    dice, halfway = random.Random(), 0
    for _ in range(KILLS):
        before = host_entries(host)
        with subprocess.Popen(["otpctl", "directory", "import", str(backup)], stdout=subprocess.DEVNULL) as process:
            eventually(lambda before=before: host_entries(host) > before or process.poll() is not None)
            time.sleep(dice.uniform(0, 0.02))
            process.kill()
        halfway += 0 < host_entries(host) < ENTRIES
    assert halfway, "else the moments were badly chosen"
    counts = directory("import", str(backup))
    assert counts["added"] + counts["equal"] == ENTRIES
    assert site.all_log_in()


def _relabel(host: Host, name: str) -> str:
    found = host.ldap("ldapsearch", "-LLL", "-b", f"uid={name},ou=otpd", "(objectClass=otpdAppPassword)", "1.1")
    return f"{found.splitlines()[0]}\nchangetype: modify\nreplace: otpdLabel\notpdLabel: other\n"


def test_the_process_is_root_to_nobody_but_itself(site: Site, backup: Path) -> None:
    """While it talks to the directory it is otpd; the file that it made is still root's."""
    assert backup.stat().st_uid == 0
    own(backup, "otpd")
    assert directory("import", str(backup))["equal"] == ENTRIES


def test_a_world_without_otpd(world: World) -> None:
    """It does without otpd itself."""
    world.host.stop_daemon()
    try:
        assert directory("export", "/root/without-otpd")["file"] == "/root/without-otpd"
    finally:
        world.host.start_daemon()


def test_what_is_good_for_a_while_is_in_no_backup(site: Site, tmp_path: Path) -> None:
    """A ticket or a mailed code that was used meanwhile must not be good again."""
    user, before = site.people[0].name, host_entries(site.world.host)
    made = json.loads(run("otpctl", "user", "ticket", user, "--json"))
    site.world.secrets.add(made["secret"])
    mailed_code(site.world, user)
    assert host_entries(site.world.host) == before + 2
    exported = directory("export", str(tmp_path / "backup"))
    assert sum(exported["entries"].values()) == before
    assert not {"otpdGrant", "otpdMailedCode"} & set(exported["entries"])
    site.world.host.ldap("ldapdelete", *(f"otpdId={name},uid={user},ou=otpd" for name in (made["id"], "mailed-code")))
