"""control.sock and auth.sock, attacked by another local user; and what otpctl makes of it for people and programs."""

import json
import pwd
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import zmq
from module.pam_login import SUCCESS
from rig.host import Token, run
from rig.people import as_user, converse

from otpd.management import VERBS
from otpd.management.verb import Field, Verb
from otpd.protocol import Answer, Ask, Begin, Done, decode_management, decode_reply, encode_management, encode_request
from otpd.secret import Secret

from .conftest import PASSWORD, World

CONTROL = "/run/otpd/control.sock"
AUTH = "/run/otpd/auth.sock"
AT_ONCE = 4


def send(path: str, *messages: list[bytes], seconds: float = 10) -> list[list[bytes]]:
    """Send messages as the program that runs; the reply to each."""
    replies = []
    with zmq.Context() as context, context.socket(zmq.DEALER) as link:
        link.linger = 0
        link.rcvtimeo = int(seconds * 1000)
        link.connect(f"ipc://{path}")
        for message in messages:
            link.send_multipart(message)
            replies.append(link.recv_multipart())
    return replies


def send_together(path: str, messages: list[list[bytes]]) -> list[tuple[str, dict[str, Any]]]:
    """What is answered, in any order; each refusal takes a while, so as many are sent as one user may."""
    replies = []
    with zmq.Context() as context, context.socket(zmq.DEALER) as link:
        link.linger, link.rcvtimeo = 0, 10_000
        link.connect(f"ipc://{path}")
        for at in range(0, len(messages), AT_ONCE):
            for message in messages[at : at + AT_ONCE]:
                link.send_multipart(message)
            replies += [decode_management(link.recv_multipart()) for _ in messages[at : at + AT_ONCE]]
    return replies


def call(peer: str, verb: str, /, **body: str) -> tuple[str, dict[str, Any]]:
    """What otpd answers ``peer`` who speaks to control.sock without otpctl."""
    return decode_management(as_user(peer, send, CONTROL, encode_management(verb, body))[0])


BODIES: dict[str, dict[str, str]] = {
    "status": {},
    "enrol-begin": {"label": "mine"},
    "enrol-confirm": {"ticket": "k1.AAAA", "code": "123456"},
    "app-password-list": {},
    "app-password-create": {"services": "imap"},
    "app-password-rename": {"id": "00000000", "label": "new"},
    "app-password-revoke": {"id": "00000000"},
    "app-password-revoke-all": {},
    "device-list": {},
    "device-forget": {},
    "token-rename": {"id": "TOKEN", "label": "new"},
    "token-disable": {"id": "TOKEN"},
    "token-enable": {"id": "TOKEN"},
    "token-remove": {"id": "TOKEN"},
    "recovery-codes": {},
    "resync": {"code": "123456", "next": "654321"},
    "disable": {},
    "enable": {},
    "unlock": {},
    "reset": {},
    "ticket": {"hours": "24"},
    "bypass": {"minutes": "15", "hosts": "web1"},
    "user-list": {},
    "key-ring": {},
    "key-usage": {"key": "k1"},
    "key-reseal": {"key": "k1"},
    "key-strays": {},
    "directory-check": {},
}


@pytest.fixture(scope="module")
def victim(world: World) -> tuple[str, Token]:
    """One for many attacks, none of which changes what another counts on."""
    return world.person(enrolled=True)


@pytest.fixture(scope="module")
def attacker(world: World) -> tuple[str, Token]:
    return world.person(enrolled=True)


def test_every_verb_is_attacked() -> None:
    assert set(BODIES) == set(VERBS)


@pytest.mark.parametrize("verb", BODIES)
def test_nobody_touches_what_is_another_users(
    world: World, victim: tuple[str, Token], attacker: tuple[str, Token], verb: str
) -> None:
    (user, token), (mallory, own_token) = victim, attacker
    before = run("otpctl", "status", "--user", user, "--json")
    # A proof of her own, the right proof of the victim, and none.
    for proof in ({"proof": own_token.code()}, {"proof": token.code()}, {}):
        status, reply = call(mallory, verb, user=user, **BODIES[verb], **proof)
        assert (status, reply["reason"]) == ("error", "not-permitted")
    assert run("otpctl", "status", "--user", user, "--json") == before
    refused = f"refused peer=uid:{pwd.getpwnam(mallory).pw_uid} verb={verb} user={user} reason=not-permitted\n"
    assert world.host.log("otpd").count(refused) == 3, "each of them"


@pytest.mark.parametrize("verb", [verb for verb, known in VERBS.items() if known.proof])
def test_no_verb_that_needs_a_proof_works_without(alice: tuple[str, Token], verb: str) -> None:
    user, token = alice
    made = json.loads(run("otpctl", "app-password", "create", "--service", "imap", "--user", user, "--json"))
    first = enrol_another(user, token)
    one_of_them = verb in ("app-password-revoke", "app-password-rename")
    body = {**BODIES[verb], **({"id": made["id"]} if one_of_them else {})}
    body |= {"id": first} if body.get("id") == "TOKEN" else {}
    assert call(user, verb, **body)[1]["reason"] == "proof-required"
    for wrong in ("", token.wrong(), PASSWORD, made["password"], "x" * 500):
        assert call(user, verb, **body, proof=wrong)[1]["reason"] == "proof-refused"
    code = token.code()
    assert call(user, verb, **body, proof=code)[0] == "ok"
    assert call(user, "recovery-codes", proof=code)[1]["reason"] == "proof-refused", "the same code again"


def enrol_another(user: str, token: Token) -> str:
    """Give the user a second token; the id of the first."""
    first = call(user, "status")[1]["tokens"][0]["id"]
    begun = call(user, "enrol-begin", proof=token.code(), label="tablet")[1]
    assert call(user, "enrol-confirm", ticket=begun["ticket"], code=Token(begun["secret"]).code())[0] == "ok"
    return str(first)


@pytest.mark.parametrize("verb", [verb for verb, known in VERBS.items() if known.root_only])
def test_root_only(world: World, victim: tuple[str, Token], verb: str) -> None:
    user, token = victim
    assert call(user, verb, **BODIES[verb], proof=token.code())[1]["reason"] == "not-permitted"
    uid = pwd.getpwnam(user).pw_uid
    assert f"refused peer=uid:{uid} verb={verb} user={user} reason=not-permitted\n" in world.host.log("otpd")


def test_a_first_enrolment_needs_the_account_password(world: World) -> None:
    user, _ = world.person()
    for wrong in ("", "wrong", "123456"):
        assert call(user, "enrol-begin", proof=wrong)[1]["reason"] == "proof-refused"
    status, reply = call(user, "enrol-begin", proof=PASSWORD)
    assert status == "ok"
    # Who is enrolled cannot fall back on the password.
    token = Token(reply["secret"])
    assert call(user, "enrol-confirm", ticket=reply["ticket"], code=token.code())[0] == "ok"
    assert call(user, "enrol-begin", proof=PASSWORD)[1]["reason"] == "proof-refused"
    assert call(user, "enrol-begin")[1]["kind"] == "code"


def test_guessing_the_account_password_is_slowed(world: World) -> None:
    user, _ = world.person()
    for _ in range(6):
        assert call(user, "enrol-begin", proof="wrong")[1]["reason"] == "proof-refused"
    assert call(user, "enrol-begin", proof=PASSWORD)[1]["reason"] == "proof-refused", "the right one, too soon"
    assert "too many wrong passwords" in world.host.log("otpd-password")


def test_an_enrolments_ticket_is_no_use_to_others(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    mallory, _ = world.person()
    _, begun = call(user, "enrol-begin", proof=token.code())
    code = Token(begun["secret"]).code()
    for body in ({}, {"user": mallory}, {"user": user}):
        assert call(mallory, "enrol-confirm", ticket=begun["ticket"], code=code, **body)[0] == "error"
    # Root confirms nobody's enrolment in another user's name.
    assert call("root", "enrol-confirm", ticket=begun["ticket"], code=code, user=mallory)[0] == "error"
    assert call(user, "enrol-confirm", ticket=begun["ticket"] + "A", code=code)[1]["reason"] == "expired"
    assert call(user, "enrol-confirm", ticket=begun["ticket"], code=code)[0] == "ok"


def test_control_sock_begins_dialogues_for_the_peer_alone(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    mallory, _ = world.person()

    def begin(as_whom: str, for_whom: str) -> Any:
        return decode_reply(as_user(as_whom, send, CONTROL, encode_request(Begin(user=for_whom, service="lock")))[0])

    assert begin(mallory, user) == Done(verdict="refuse")
    asked = begin(user, user)
    assert isinstance(asked, Ask)
    answer = encode_request(Answer(dialogue=asked.dialogue, text=Secret(token.code().encode())))
    # Another user with the victim's ticket and the victim's code gets nothing, and spends nothing.
    assert decode_reply(as_user(mallory, send, CONTROL, answer)[0]) == Done(verdict="refuse")
    assert decode_reply(as_user(user, send, CONTROL, answer)[0]) == Done(verdict="accept")
    assert decode_reply(as_user(user, send, CONTROL, answer)[0]) != Done(verdict="accept")
    # It is the user's own word that the service is called so, and the log says whose word it is.
    said = f"accepted user={user} service=lock peer=uid:{pwd.getpwnam(user).pw_uid} reason=accepted"
    assert said in world.host.log("otpd-control")


def test_auth_sock_is_closed_to_users(alice: tuple[str, Token]) -> None:
    with pytest.raises(RuntimeError, match="PermissionError"):
        as_user(alice[0], lambda: open_socket(AUTH))
    with pytest.raises(RuntimeError, match="PermissionError"):
        as_user(alice[0], lambda: open_socket("/run/otpd/password.sock"))


def open_socket(path: str) -> None:
    kind = socket.SOCK_SEQPACKET if "password" in path else socket.SOCK_STREAM
    with socket.socket(socket.AF_UNIX, kind) as link:
        link.connect(path)


@pytest.mark.parametrize(
    "frames",
    [
        [b"otpd/1", b"status"],
        [b"otpd/1", b"status", b"[]"],
        [b"otpd/1", b"status", b"{"],
        [b"otpd/1", b"status", b'{"user": 1}'],
        [b"otpd/1", b"status", b'{"uid": "0"}'],
        [b"otpd/1", b"status", b'{"user": "' + b"x" * 300 + b'"}'],
        [b"otpd/1", b"status", b'{"user": "a\\u0000b"}'],
        [b"otpd/1", b"status", b"{}", b"{}"],
        [b"otpd/1", b"nonsense", b"{}"],
        [b"otpd/2", b"status", b"{}"],
        [b"otpd/1", b"status", b'{"user": "\\ud800"}'],
        [b"otpd/1", b"enrol-begin", b'{"label": "\\ud800"}'],
        [b"otpd/1", b"enrol-begin", b'{"label": "\\u001b[2J"}'],
        [b"otpd/1", b"status", b"[" * 8000],
        [b"otpd/1", b"begin", b"user=root"],
        [b"otpd/1", b"\xff\xfe", b"{}"],
        [b"otpd/1"],
        [b""],
        [b"x"] * 40,
        [b"x" * 9000],
    ],
)
def test_malformed_messages_are_told_why(alice: tuple[str, Token], frames: list[bytes]) -> None:
    reply = as_user(alice[0], send, CONTROL, frames)[0]
    assert reply[1] == b"error", reply
    assert b"reason" in reply[2]


def not_its_values(known: Verb) -> Iterator[dict[str, object]]:
    """Bodies that are not the verb's, for each field that it has, and each that every verb has."""
    fields = {"user": Field(256), "proof": Field(512), **known.fields}
    for name, rule in fields.items():
        for value in (None, True, 7, ["x"], {"a": "b"}, "x" * (rule.limit_bytes + 1), "a\0b", "\ud800"):
            yield {name: value}
        if name not in ("proof", "code", "next", "before"):
            yield from ({name: value} for value in ("\x1b[2J", "a\u202eb"))
    yield {"uid": "0"}


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_not_a_verbs_body_is_told_why(victim: tuple[str, Token], verb: str) -> None:
    user, _ = victim
    bodies = [{**BODIES[verb], "user": user, **wrong} for wrong in not_its_values(VERBS[verb])]
    bodies += [
        {name: value for name, value in BODIES[verb].items() if name != left_out}
        for left_out, rule in VERBS[verb].fields.items()
        if rule.required
    ]
    messages = [[b"otpd/1", verb.encode(), json.dumps(body).encode()] for body in bodies]
    replies = as_user(user, send_together, CONTROL, messages)
    assert [reply["reason"] for _, reply in replies] == ["malformed"] * len(bodies)


@pytest.mark.parametrize("verb", VERBS)
def test_values_without_sense_break_nothing(world: World, victim: tuple[str, Token], verb: str) -> None:
    """Each field of each verb, in turn, by who may do anything."""
    user, _ = victim
    before = len(world.host.log("otpd"))
    values = ("", " ", "*", "a,b=c+d", "\\", ")(", "0", "-1", "99", "\u00b2", "k1.AAAA", "x" * 16)
    messages = [
        encode_management(verb, {**BODIES[verb], "user": user, name: value[: rule.limit_bytes // 2]})
        for name, rule in VERBS[verb].fields.items()
        for value in values
    ]
    for _, reply in as_user("root", send_together, CONTROL, messages):
        assert reply.get("reason") != "unavailable", reply
    assert "a step broke" not in world.host.log("otpd")[before:]


def test_a_frame_beyond_the_limit_ends_the_connection_and_nothing_else(world: World, alice: tuple[str, Token]) -> None:
    with pytest.raises(RuntimeError, match="Again"):
        as_user(alice[0], lambda: send(CONTROL, [b"otpd/1", b"status", b"x" * 40_000], seconds=1))
    assert call(alice[0], "status")[0] == "ok"


class TestOtpctl:
    """The command, as people and programs see it."""

    def test_a_whole_life_in_json(self, world: World) -> None:
        user, _ = world.person()

        def otpctl(*arguments: str, stdin: str = "", code: int = 0) -> Any:
            done = subprocess.run(
                ["otpctl", *arguments, "--json"], input=stdin, text=True, capture_output=True, user=user, check=False
            )
            assert done.returncode == code, (done.stdout, done.stderr)
            return [json.loads(line) for line in done.stdout.splitlines()]

        assert otpctl("status")[0]["enrolled"] is False
        token = world.enroll_self(user)
        assert otpctl("status")[0]["tokens"][0]["label"] == "phone"
        assert otpctl("app-password", "create", "--service", "imap", code=1)[0]["error"] == "proof-refused"
        assert otpctl("app-password", "create", "--service", "sshd", code=1)[0]["error"] == "no-such-service"
        made = otpctl("app-password", "create", "--service", "imap", "--label", "mail", stdin=token.code() + "\n")[0]
        world.secrets.add(made["password"])
        listed = otpctl("app-password", "list")[0]["app_passwords"]
        assert [(one["id"], one["label"], one["services"]) for one in listed] == [(made["id"], "mail", ["imap"])]
        assert "password" not in json.dumps(listed).replace("app_password", "")
        assert world.outcome("imap", user, made["password"]) == SUCCESS
        assert otpctl("app-password", "revoke", "00000000", code=1)[0]["error"] == "no-such-app-password"
        otpctl("app-password", "revoke", made["id"], stdin=token.code() + "\n")
        assert world.outcome("imap", user, made["password"]) != SUCCESS
        assert otpctl("status", "--user", "root", code=77)[0]["error"] == "not-permitted"
        assert otpctl("user", "disable", user, code=77)[0]["error"] == "not-permitted"

    def test_exit_codes(self, world: World, alice: tuple[str, Token]) -> None:
        def code(*arguments: str) -> int:
            return subprocess.run(["otpctl", *arguments], capture_output=True, check=False).returncode

        assert code("status", "--user", alice[0]) == 0
        assert code("status", "--user", "nobody-of-that-name") == 67
        assert code("app-password", "revoke", "--user", alice[0], "00000000") == 1
        assert code("nonsense") == 2
        assert code("--config", "/nowhere", "status") == 78
        assert code("keys", "init") == 73
        assert code("directory", "init") == 73
        world.host.stop_daemon()
        try:
            assert code("status", "--user", alice[0]) == 69
        finally:
            world.host.start_daemon()

    def test_secrets_are_not_written_into_pipes_unasked(self, alice: tuple[str, Token]) -> None:
        for command in (["enroll"], ["app-password", "create", "--service", "imap"]):
            done = subprocess.run(["otpctl", *command, "--user", alice[0]], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout) == (2, "")
            assert "--show-secret" in done.stderr

    def test_at_a_terminal(self, world: World, alice: tuple[str, Token]) -> None:
        user, token = alice
        seen = converse(
            ["otpctl", "app-password", "create", "--service", "imap"], [token.wrong(), token.code(), ""], user
        )
        assert seen.succeeded, seen.screen
        assert "Wrong code." in seen.screen
        assert token.last_step
        seen = converse(["otpctl", "status"], [], user)
        assert "You have a second factor." in seen.screen
        assert "App passwords: 1." in seen.screen

    def test_a_request_that_cannot_be_met_costs_no_code(self, world: World, alice: tuple[str, Token]) -> None:
        user, token = alice
        code = token.code()
        assert call(user, "app-password-create", services="sshd", proof=code)[1]["reason"] == "no-such-service"
        assert call(user, "app-password-revoke", id="00000000", proof=code)[1]["reason"] == "no-such-app-password"
        assert world.outcome("anything", user, code) == SUCCESS

    def test_as_many_app_passwords_as_there_may_be(self, alice: tuple[str, Token]) -> None:
        user, _ = alice
        create = ("otpctl", "app-password", "create", "--user", user, "--json")
        create += ("--service", "imap", "--service", "smtp")
        for _ in range(30):
            run(*create, "--label", '"' * 64)
        assert len(call(user, "app-password-list")[1]["app_passwords"]) == 30
        assert call("root", "app-password-create", user=user, services="imap")[1]["reason"] == "too-many"

    def test_labels_are_no_markup(self, alice: tuple[str, Token]) -> None:
        create = ("otpctl", "app-password", "create", "--service", "imap", "--json")
        run(*create, "--user", alice[0], "--label", "[/x] [bold]")
        assert "[/x] [bold]" in run("otpctl", "app-password", "list", "--user", alice[0])

    def test_disable_and_enable(self, world: World, alice: tuple[str, Token]) -> None:
        user, token = alice
        password = json.loads(run("otpctl", "app-password", "create", "--service", "imap", "--user", user, "--json"))
        world.secrets.add(password["password"])
        run("otpctl", "user", "disable", user)
        assert world.outcome("anything", user, token.code()) != SUCCESS
        assert world.outcome("imap", user, password["password"]) != SUCCESS
        assert call(user, "enrol-begin", proof=PASSWORD)[1]["reason"] == "disabled"
        assert call("root", "enrol-begin", user=user)[1]["reason"] == "disabled"
        run("otpctl", "user", "enable", user)
        assert world.outcome("anything", user, token.code()) == SUCCESS
        assert world.outcome("imap", user, password["password"]) == SUCCESS

    def test_a_socket_that_somebody_else_put_there_is_not_used(self, alice: tuple[str, Token], tmp_path: Any) -> None:
        config = tmp_path / "otpd.toml"
        path = f"/tmp/{alice[0]}.sock"
        config.write_text(f'[sockets]\ncontrol = "{path}"\n')
        listen = "import socket, sys, time; s = socket.socket(1); s.bind(sys.argv[1]); s.listen(); print(flush=True)"
        listen += "; time.sleep(9)"
        with subprocess.Popen(["python3", "-c", listen, path], user=alice[0], stdout=subprocess.PIPE) as impostor:
            assert impostor.stdout
            impostor.stdout.readline()
            done = subprocess.run(["otpctl", "--config", config, "status"], capture_output=True, text=True, check=False)
            impostor.kill()
        assert done.returncode == 69
        assert "belongs to neither root nor otpd" in done.stderr
