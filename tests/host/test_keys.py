"""A new key takes over while people log in, whatever is killed on the way; and what is refused."""

import base64
import functools
import itertools
import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from socket import gethostname
from typing import Any, Final

import pytest
from module.pam_login import SUCCESS, Login
from rig.host import LDAPI, Token, pam_service, run
from rig.people import as_user, converse

from otpd import app_password, otp, recovery
from otpd.adapters.key_file import read_key_ring
from otpd.adapters.ldap.connections import Connections, Servers
from otpd.adapters.ldap.directory import LdapDirectory
from otpd.adapters.ldap.entries import SEALED
from otpd.clock import Deadline, SystemClock
from otpd.directory import AppPasswordRecord, SealedValue
from otpd.directory import Token as TokenRecord
from otpd.enrolment import first_token_id
from otpd.errors import SealError
from otpd.factors.app_password import DIGEST_PURPOSE
from otpd.factors.code import SEED_PURPOSE
from otpd.factors.mail import MAILED_PURPOSE
from otpd.factors.recovery_code import RECOVERY_PURPOSE
from otpd.mailed_code import Mailed, digest, generate
from otpd.management.keys import bound_to
from otpd.otp import DEFAULT_PARAMETERS
from otpd.seal import KeyRing
from otpd.values import ServiceName, TimeStep, UserName

from .conftest import MODULE_ONLY, World, eventually
from .test_control import AUTH, call, send
from .test_faults import restarted

RING: Final = Path("/etc/otpd/keyring")
USERS: Final = 10
APP_PASSWORDS_EACH: Final = 19
EACH: Final = 1 + APP_PASSWORDS_EACH + recovery.CODES
VALUES: Final = USERS * EACH
ATTRIBUTES: Final = dict(SEALED.values())
KILLS: Final = 22
DOES_NOT_OPEN, UNAVAILABLE, RESTART, NOT_PERMITTED, CONFIG = 65, 69, 75, 77, 78


@dataclass
class Person:
    """A user, with a token, app passwords and recovery codes."""

    name: str
    token: Token
    app_passwords: list[str]
    recovery_codes: list[str]


@dataclass
class Site:
    """A host whose directory holds VALUES sealed values and nothing else."""

    world: World
    people: list[Person]

    def logs_in(self, person: Person) -> bool:
        """By a code, by an app password, and by a recovery code."""
        typed = (person.token.code(), person.app_passwords[0], person.recovery_codes.pop())
        return {self.outcome(person, one) for one in typed} == {SUCCESS}

    def outcome(self, person: Person, typed: str) -> int:
        """The PAM return code of a login; several can go on at once."""
        service = "imap" if typed.startswith("otpd-") else "keys"
        login = Login([self.world.driver, "/etc/pam.d", service, person.name])
        login.type(f"text {typed}")
        return login.finish().code

    def all_log_in(self) -> bool:
        with ThreadPoolExecutor(4) as pool:
            return all(pool.map(self.logs_in, self.people))


def otpctl(*arguments: str, code: int = 0) -> dict[str, Any]:
    """``otpctl keys ... --json``, and its exit code."""
    done = subprocess.run(
        ["otpctl", "keys", *arguments, "--json"], text=True, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def directory() -> LdapDirectory:
    return LdapDirectory(Connections(Servers((LDAPI,), LDAPI), SystemClock()), "ou=otpd")


def soon() -> Deadline:
    return Deadline.after(SystemClock(), 30)


def fill(ring: KeyRing, names: list[str]) -> list[tuple[str, str, list[str], list[str]]]:
    """Give each user a token, app passwords and recovery codes, as otpd itself would; run as the user otpd."""
    made = []
    for name in map(UserName, names):
        directory().ensure_user(name, soon())
        seed, token_id = otp.new_seed("sha1"), first_token_id(name)
        sealed = ring.seal(SEED_PURPOSE, (name, token_id), seed)
        token = TokenRecord(token_id, "", "active", DEFAULT_PARAMETERS, TimeStep(0), time.time(), sealed)
        assert directory().add_token(name, token, soon())
        passwords = [add_app_password(ring, name) for _ in range(APP_PASSWORDS_EACH)]
        codes = recovery.generate()
        digests = [ring.seal(RECOVERY_PURPOSE, (name,), recovery.digest(code.reveal())) for code in codes]
        directory().set_recovery_codes(name, digests, time.time(), soon())
        made.append((name, otp.base32(seed), passwords, [code.reveal().decode() for code in codes]))
    return made


def add_app_password(ring: KeyRing, name: UserName) -> str:
    password = app_password.generate()
    digest = ring.seal(DIGEST_PURPOSE, (name, password.id), app_password.digest(password, ["service=imap"]))
    record = AppPasswordRecord(password.id, "", frozenset([ServiceName("imap")]), time.time(), digest)
    assert directory().add_app_password(name, record, soon())
    return app_password.to_text(password).reveal().decode()


def everything() -> list[SealedValue]:
    """All sealed values, whatever key they name."""
    return list(as_user("otpd", lambda: directory().sealed_without(("nobodys",), 500, soon())).values)


def key_of(value: SealedValue) -> str:
    return value.sealed.partition(b".")[0].decode()


def opens(ring: KeyRing, value: SealedValue) -> bool:
    try:
        return bool(ring.open(*bound_to(value), value.sealed))
    except SealError:
        return False


def put(values: Iterable[SealedValue]) -> None:
    """Write the sealed values of entries as they are given, as a host would that still seals with another key."""
    changes: dict[tuple[str, str], list[str]] = {}
    for value in values:
        changes.setdefault((value.place, ATTRIBUTES[value.kind]), []).append(value.sealed.decode())
    text = "".join(
        f"dn: {place}\nchangetype: modify\nreplace: {attribute}\n"
        + "".join(f"{attribute}: {sealed}\n" for sealed in given)
        + "\n"
        for (place, attribute), given in changes.items()
    )
    run("ldapmodify", "-Q", "-Y", "EXTERNAL", "-H", LDAPI, stdin=text, user="otpd", group="otpd", extra_groups=[])


def note_secrets(world: World) -> None:
    world.secrets |= {word for line in RING.read_text().splitlines() for word in line.split()[1:2]}


def new_ring(world: World) -> None:
    """An empty directory, and a ring with one key that nobody has seen before."""
    found = world.host.ldap("ldapsearch", "-LLL", "-b", "ou=otpd", "-s", "one", "dn").split("\n\n")
    dns = [entry[4:] if entry[3] == " " else base64.b64decode(entry[5:]).decode() for entry in found if entry.strip()]
    if dns:
        world.host.ldap("ldapdelete", "-r", *dns)
    note_secrets(world)
    RING.unlink()
    run("otpctl", "keys", "init")
    note_secrets(world)
    world.host.restart_daemon()


@pytest.fixture(scope="module")
def names(world: World) -> Iterator[list[str]]:
    """Users of the system; and afterwards, nothing is left that another test could trip over."""
    for service in ("imap", "keys"):
        pam_service(service, MODULE_ONLY)
    yield [world.person()[0] for _ in range(USERS)]
    new_ring(world)


@pytest.fixture
def site(world: World, names: list[str]) -> Site:
    new_ring(world)
    made = as_user("otpd", fill, read_ring(), names)
    people = [
        Person(name, Token(secret, renew=functools.partial(world.host.forget_steps, name)), passwords, codes)
        for name, secret, passwords, codes in made
    ]
    world.secrets |= {secret for _, seed, *others in made for secret in (seed, *itertools.chain(*others))}
    return Site(world, people)


def read_ring() -> KeyRing:
    return read_key_ring(RING)


def add_and_let_seal(site: Site) -> str:
    """The steps up to where values are sealed anew; the new key's id."""
    key = otpctl("add")["key"]
    note_secrets(site.world)
    site.world.host.restart_daemon()
    assert otpctl("rotate", code=RESTART)["error"] == "restart-needed"
    site.world.host.restart_daemon()
    return str(key)


@contextmanager
def logins_going_on(site: Site) -> Iterator[list[int]]:
    """Two people log in, over and over, and others by their recovery codes; the PAM return codes of all."""
    codes: list[int] = []
    ended = threading.Event()

    def log_in(person: Person) -> None:
        for password in person.app_passwords * 100:
            if ended.is_set():
                return
            codes.append(site.outcome(person, password))
            codes.append(site.outcome(person, person.token.code()))

    def recover() -> None:
        for person in site.people[2:]:
            for _ in range(recovery.CODES - 2):
                if ended.is_set():
                    return
                codes.append(site.outcome(person, person.recovery_codes.pop()))

    with ThreadPoolExecutor(3) as pool:
        going = [*(pool.submit(log_in, person) for person in site.people[:2]), pool.submit(recover)]
        try:
            yield codes
        finally:
            ended.set()
        for one in going:
            one.result()


def test_a_new_key_takes_over_while_people_log_in(site: Site) -> None:
    old = read_ring()
    assert otpctl("add")["key"] == "k2"
    assert otpctl("rotate", code=RESTART)["message"].startswith(
        "the key k2 of /etc/otpd/keyring is not yet in otpd and"
    )
    assert read_ring().current == "k1", "nothing half-done"
    site.world.host.restart_daemon()
    assert otpctl("rotate", code=RESTART)["message"].startswith(
        "k2 is the current key in /etc/otpd/keyring, and not yet"
    )
    assert (read_ring().ids, read_ring().current) == (("k2", "k1"), "k2")
    assert otpctl("retire", "k1", code=RESTART)["error"] == "restart-needed"
    site.world.host.restart_daemon()
    assert otpctl("retire", "k1", code=1)["error"] == "key-in-use"
    with logins_going_on(site) as codes:
        assert eventually(lambda: len(codes) > 3)
        before = len(codes)
        rotated = otpctl("rotate")
        assert (rotated["failed"], rotated["left"], rotated["faults"]) == (0, 0, [])
        assert rotated["resealed"] > VALUES - USERS * recovery.CODES
        assert len(codes) > before + 3
        assert eventually(lambda: len(codes) > before + 20)
    assert set(codes) == {SUCCESS}
    values = everything()
    assert {key_of(value) for value in values} == {"k2"}
    left = sum(len(person.recovery_codes) for person in site.people)
    assert len(values) == VALUES - USERS * recovery.CODES + left
    assert not any(opens(old, value) for value in values)
    assert otpctl("rotate")["resealed"] == 0, "once more changes nothing"
    listed = otpctl("list")
    assert [(one["id"], one["file"], one["otpd"], one["values"]) for one in listed["keys"]] == [
        ("k2", "current", "current", len(values)),
        ("k1", "opens", "opens", 0),
    ]
    assert otpctl("retire", "k2", code=1)["error"] == "current-key"
    assert otpctl("retire", "k1")["key"] == "k1"
    assert read_ring().ids == ("k2",)
    assert [one["otpd"] for one in otpctl("list")["keys"]] == ["current", "opens"], "until otpd is restarted"
    site.world.host.restart_daemon()
    assert [one["id"] for one in otpctl("list")["keys"]] == ["k2"]
    assert site.all_log_in()


def test_whatever_is_killed_is_taken_up_again(site: Site) -> None:
    """SIGKILL for otpctl, or for both processes of otpd, at random moments; values with the old key keep coming."""
    new = add_and_let_seal(site)
    originals = everything()
    host, dice, ring = site.world.host, random.Random(), read_ring()
    interrupted = 0

    def left() -> int:
        return sum(key_of(value) != new for value in everything())

    for number in range(KILLS):
        if left() < VALUES // 2:
            put(originals)
        before = left()
        with subprocess.Popen(
            ["otpctl", "keys", "rotate"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as rotation:
            eventually(lambda before=before: left() != before)
            time.sleep(dice.uniform(0, 0.1))
            if number % 2:
                host.stop_daemon(signal.SIGKILL)
            rotation.kill()
        values = everything()
        assert len(values) == VALUES
        assert all(opens(ring, value) for value in values), number
        interrupted += {key_of(value) for value in values} == {"k1", new}
        if number % 2:
            host.start_daemon()
    print(f"{interrupted} of {KILLS} rotations were interrupted halfway")
    assert interrupted >= KILLS // 3, "else the moments were badly chosen"
    assert otpctl("rotate")["left"] == 0
    values = everything()
    assert {key_of(value) for value in values} == {new}
    assert all(opens(ring, value) for value in values)
    assert site.all_log_in()


def test_otpctl_tells_when_otpd_goes_away(site: Site) -> None:
    site.world.host.stop_daemon()
    try:
        assert otpctl("rotate", code=UNAVAILABLE)["error"] == "unavailable"
        assert otpctl("list", code=UNAVAILABLE)["error"] == "unavailable"
    finally:
        site.world.host.start_daemon()


def test_what_does_not_open_is_reported_and_left(site: Site) -> None:
    new = add_and_let_seal(site)
    values = [value for value in everything() if value.kind != "recovery code"]
    sealed = [b"k1.AAAA", b"k9." + values[1].sealed[3:], b"rubbish"]
    # More than a batch of them, so that what can be opened is behind all that cannot.
    sealed += [values[-1].sealed] * (150 - len(sealed))
    damaged = [replace(value, sealed=other) for value, other in zip(values, sealed, strict=False)]
    put(damaged)
    reply = otpctl("rotate", code=DOES_NOT_OPEN)
    assert (reply["resealed"], reply["failed"], reply["left"]) == (VALUES - 150, 150, 0)
    assert {(fault["user"], fault["id"]) for fault in reply["faults"]} <= {(value.user, value.id) for value in damaged}
    log = site.world.host.log("otpd")
    assert all(f"does not open user={value.user} id={value.id}" in log for value in damaged)
    done = subprocess.run(["otpctl", "keys", "rotate"], capture_output=True, text=True, check=False)
    assert done.returncode == DOES_NOT_OPEN
    assert "150 do not open" in done.stderr
    assert values[0].sealed.decode() not in done.stdout + done.stderr + log
    after = everything()
    assert set(damaged) <= set(after)
    assert sum(key_of(value) == new for value in after) == VALUES - 150
    assert otpctl("retire", "k1", code=1)["error"] == "key-in-use"
    assert otpctl("list")["strays"] == 2


def test_a_ring_without_the_key_opens_nothing(site: Site) -> None:
    """A host that the new file was not brought to: its logins are unavailable, and it says which key it lacks."""
    old = RING.read_text()
    add_and_let_seal(site)
    otpctl("rotate")
    new = RING.read_text()
    RING.write_text(old)
    site.world.host.restart_daemon()
    person = site.people[0]
    assert site.outcome(person, person.app_passwords[0]) != SUCCESS
    assert "needs the key k2, which is not in the key ring" in site.world.host.log("otpd")
    assert [one["otpd"] for one in otpctl("list")["keys"]] == ["current"]
    assert otpctl("list")["strays"] == VALUES
    RING.write_text(new)
    assert [one["otpd"] for one in otpctl("list")["keys"]] == ["missing", "current"]
    site.world.host.restart_daemon()
    assert site.all_log_in()


def test_another_key_of_the_same_id_is_noticed(site: Site) -> None:
    """Somebody ran ``keys add`` on two hosts."""
    before = RING.read_text()
    otpctl("add")
    site.world.host.restart_daemon()
    RING.write_text(before)
    otpctl("add")
    note_secrets(site.world)
    assert [one["otpd"] for one in otpctl("list")["keys"]] == ["current", "other"]
    assert otpctl("rotate", code=RESTART)["error"] == "restart-needed"
    assert read_ring().current == "k1"


def test_one_process_with_the_old_ring_is_enough_to_wait(site: Site) -> None:
    """What otpd-control would seal, otpd could not open."""
    otpctl("add")
    site.world.host.stop("otpd-control")
    site.world.host.start_processes("otpd-control")
    assert otpctl("rotate", code=RESTART)["message"].startswith("the key k2 of /etc/otpd/keyring is not yet in otpd. ")
    assert {key_of(value) for value in everything()} == {"k1"}


def test_an_enrolment_under_way_is_finished_with_the_new_key(site: Site) -> None:
    user, _ = site.world.person()
    _, begun = call("root", "enrol-begin", user=user)
    site.world.secrets.add(begun["secret"])
    new = add_and_let_seal(site)
    otpctl("rotate")
    code = Token(begun["secret"]).code()
    assert call("root", "enrol-confirm", user=user, ticket=begun["ticket"], code=code)[0] == "ok"
    assert {key_of(value) for value in everything()} == {new}


OTHERS = """
[service.remembering]
remember_hours = 1
tries = 1

[service.posting]
accept = ["mail"]
tries = 1

[mail]
server = "smtp://localhost:25"
sender = "otpd@example.org"
to = "{user}@example.org"
"""


def mailed_code(world: World, user: str) -> str:
    """A code as otpd would have mailed it."""
    code = generate()
    world.secrets.add(code.reveal().decode())
    keys = KeyRing.from_text(Path("/etc/otpd/keyring").read_text(), "test")
    known = Mailed(int(time.time()), int(time.time()) + 600, 1, digest(code.reveal()))
    sealed = keys.seal(MAILED_PURPOSE, (user, "mailed-code"), known.to_plain()).decode()
    entry = f"objectClass: otpdMailedCode\notpdState: active\notpdSealedDigest: {sealed}\n"
    world.host.ldap("ldapadd", stdin=f"dn: otpdId=mailed-code,uid={user},ou=otpd\n{entry}")
    return code.reveal().decode()


def test_what_was_handed_out_or_remembered_is_sealed_anew(site: Site) -> None:
    """Ticket, bypass code, remembered address, mailed code: good under the new key, and the old one can go."""
    world, person = site.world, site.people[0]
    ticket = json.loads(run("otpctl", "user", "ticket", person.name, "--json"))["secret"]
    code = json.loads(run("otpctl", "user", "bypass", person.name, "--host", gethostname(), "--json"))["secret"]
    world.secrets |= {ticket, code}
    remembering = world.host.settings + OTHERS
    mailed = mailed_code(world, person.name)
    with restarted(world.host, remembering):
        pam_service("remembering", MODULE_ONLY)

        def log_in(*typed: str) -> int:
            login = Login([world.driver, "-r", "192.0.2.7", "/etc/pam.d", "remembering", person.name])
            for answer in typed:
                login.type(f"text {answer}")
            return login.finish().code

        assert log_in(person.token.code()) == SUCCESS
        assert eventually(lambda: log_in() == SUCCESS), "without a code"
        otpctl("add")
        note_secrets(world)
        world.host.restart_daemon()
        otpctl("rotate", code=RESTART)
        world.host.restart_daemon()
        otpctl("rotate")
        assert {key_of(value) for value in everything()} == {"k2"}
        otpctl("retire", "k1")
        world.host.restart_daemon()
        assert log_in() == SUCCESS, "still without a code"
        assert world.outcome("posting", person.name, mailed) == SUCCESS
    assert world.outcome("keys", person.name, code) == SUCCESS
    assert call(person.name, "enrol-begin", proof=ticket)[0] == "ok"


def test_a_schema_without_substring_rules_is_not_taken_for_a_key_without_use(site: Site) -> None:
    """There, a search for what begins with the key's id finds nothing, whatever is there."""
    host = site.world.host
    otpctl("add")
    host.restart_daemon()
    assert otpctl("rotate", code=RESTART)
    host.restart_daemon()
    schema = host.ldap("ldapsearch", "-LLL", "-b", "cn=schema,cn=config", "(cn=*otpd)", user="root").splitlines()
    types = [line.partition(": ")[2] for line in schema if "SUBSTR caseExactIA5SubstringsMatch" in line]
    plain = [kind.replace(" SUBSTR caseExactIA5SubstringsMatch", "") for kind in types]

    def exchange(old: str, new: str) -> None:
        changes = (("delete", old), ("add", new))
        change = "-\n".join(f"{verb}: olcAttributeTypes\nolcAttributeTypes: {kind}\n" for verb, kind in changes)
        host.ldap("ldapmodify", stdin=f"{schema[0]}\nchangetype: modify\n{change}", user="root")

    assert len(types) == len(set(ATTRIBUTES.values()))
    for old, new in zip(types, plain, strict=True):
        exchange(old, new)
        try:
            assert otpctl("rotate", code=UNAVAILABLE)
            assert otpctl("retire", "k1", code=UNAVAILABLE)
        finally:
            exchange(new, old)
    assert "the directory's schema has no substring rule" in host.log("otpd")
    assert otpctl("rotate")["resealed"] == VALUES


def test_names_with_special_characters(world: World, names: list[str]) -> None:
    """A name that a DN escapes is found again below that DN."""
    new_ring(world)
    special = ["a,b", "c+d=e", '"f"\\g', " h ", "#i", "j\u00e9", "k\\2cl", "m;n<o>"]
    as_user("otpd", fill, read_ring(), special)
    new = add_and_let_seal(Site(world, []))
    assert otpctl("rotate")["resealed"] == len(special) * EACH
    values = everything()
    assert {value.user for value in values} == set(special)
    assert all(opens(read_ring(), value) and key_of(value) == new for value in values)


@pytest.mark.parametrize("command", [["add"], ["list"], ["rotate"], ["retire", "k1"]])
def test_for_root_alone(world: World, alice: tuple[str, Token], command: list[str]) -> None:
    before = RING.read_text()
    done = subprocess.run(["otpctl", "keys", *command], user=alice[0], capture_output=True, check=False)
    assert done.returncode == NOT_PERMITTED
    assert RING.read_text() == before


@pytest.mark.parametrize("path", [AUTH, "/run/otpd/control.sock"])
def test_the_group_otpd_is_not_told(world: World, path: str) -> None:
    assert b"not-permitted" in as_user("otpd", send, path, [b"otpd/1", b"key-ring", b"{}"])[0][2]
    assert send(path, [b"otpd/1", b"key-ring", b"{}"])[0][1] == b"ok"


def test_auth_sock_manages_nothing(world: World, alice: tuple[str, Token]) -> None:
    for verb in (b"key-usage", b"key-reseal", b"key-strays", b"status"):
        assert send(AUTH, [b"otpd/1", verb, b"{}"])[0][1] == b"error"


def test_what_makes_no_sense(site: Site) -> None:
    assert call("root", "key-usage", key="k1*")[1]["reason"] == "no-such-key"
    assert call("root", "key-reseal", key="k9")[1]["reason"] == "no-such-key"
    assert call("root", "key-reseal", key="k1")[1]["reason"] == "current-key"
    otpctl("add")
    site.world.host.restart_daemon()
    assert call("root", "key-reseal", key="k2", skip="many")[1]["reason"] == "malformed"
    assert call("root", "key-reseal", key="k2")[1]["resealed"] == 0
    assert otpctl("retire", "k9", code=1)["error"] == "no-such-key"
    assert otpctl("retire", "k2")["key"] == "k2", "a key that was never used"


def test_a_file_that_others_may_read_is_not_used(site: Site) -> None:
    before = RING.read_text()
    RING.chmod(0o640)
    try:
        for command in (["add"], ["list"], ["rotate"], ["retire", "k1"]):
            assert "chmod 600" in otpctl(*command, code=CONFIG)["message"]
    finally:
        RING.chmod(0o600)
    assert RING.read_text() == before


def test_at_a_terminal_and_in_a_pipe(site: Site) -> None:
    """People see a bar and a table, a pipe gets the result."""
    new = add_and_let_seal(site)
    originals = everything()
    assert run("otpctl", "keys", "rotate") == f"Sealed anew: {VALUES}. Everything is sealed with {new} now.\n"
    put(originals)
    seen = converse(["otpctl", "keys", "rotate"], [])
    assert seen.succeeded, seen.screen
    assert "sealed with k1" in seen.screen
    assert f"{VALUES}/{VALUES}" in seen.screen
    table = converse(["otpctl", "keys", "list"], []).screen
    assert read_ring().fingerprint(new) in table
    assert str(VALUES) in table
    assert RING.stat().st_mode & 0o777 == 0o600
