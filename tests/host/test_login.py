"""Logins through sshd, sudo and su, each the real program, and the answers that policy gives."""

from pathlib import Path

from module.pam_login import AUTH_ERR, MAXTRIES, SUCCESS
from rig.host import CODE_ONLY, ONE_ANSWER, PASSWORD_THEN_CODE, Host, Token, pam_service, run
from rig.people import Seen, converse, pamtester, ssh

from .conftest import PASSWORD, World


def came_in(seen: Seen) -> bool:
    return seen.succeeded and "let in" in seen.screen


def test_ssh_with_password_and_code(host: Host, alice: tuple[str, Token]) -> None:
    user, token = alice
    port = host.start_sshd()
    code = token.code()
    seen = ssh(port, user, [PASSWORD, code])
    assert came_in(seen), seen.screen
    assert [prompt.split(") ")[1] for prompt in seen.prompts] == ["Password: ", "Verification code: "]
    # Another code last: the app may have to make those of now usable again first.
    for answers in ([PASSWORD, code], [PASSWORD, token.wrong()], [PASSWORD, ""], [PASSWORD]):
        assert not came_in(ssh(port, user, answers))
    assert not came_in(ssh(port, user, ["wrong", token.code()]))
    host.stop("sshd")


def test_a_stranger_who_knows_a_name_cannot_slow_its_owner(host: Host, alice: tuple[str, Token]) -> None:
    user, token = alice
    port = host.start_sshd()
    for _ in range(3):
        assert not came_in(ssh(port, user, ["no idea", "000000"]))
    assert '"failures": 0' in run("otpctl", "status", "--user", user, "--json")
    assert came_in(ssh(port, user, [PASSWORD, token.code()]))
    host.stop("sshd")


def test_ssh_with_public_key_and_code(host: Host, alice: tuple[str, Token], tmp_path: Path) -> None:
    user, token = alice
    key = tmp_path / "key"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    keys = Path(f"/home/{user}/authorized_keys")
    keys.write_text(key.with_suffix(".pub").read_text())
    method = "AuthenticationMethods publickey,keyboard-interactive"
    port = host.start_sshd(method, f"AuthorizedKeysFile {keys}", "StrictModes no", pam=CODE_ONLY)
    seen = ssh(port, user, [token.code()], f"IdentityFile={key}")
    assert came_in(seen), seen.screen
    assert len(seen.prompts) == 1
    assert not came_in(ssh(port, user, [token.wrong()], f"IdentityFile={key}"))
    assert not came_in(ssh(port, user, [token.code()])), "a code without the key"
    host.stop("sshd")


def test_ssh_password_method_never_passes_for_a_code(host: Host, alice: tuple[str, Token]) -> None:
    """sshd gives its one password to every prompt: refused, and not counted as a guess."""
    user, _ = alice
    port = host.start_sshd("PasswordAuthentication yes", "KbdInteractiveAuthentication no")
    for _ in range(3):
        assert not came_in(ssh(port, user, [PASSWORD]))
    assert '"failures": 0' in run("otpctl", "status", "--user", user, "--json")
    host.stop("sshd")


def test_ssh_with_password_and_code_in_one_answer(host: Host, alice: tuple[str, Token]) -> None:
    user, token = alice
    host.configure(host.settings + '\n[service.sshd]\naccept = ["password+code"]\ntries = 1\n')
    host.stop_daemon()
    host.start_daemon()
    try:
        for settings in ((), ("PasswordAuthentication yes", "KbdInteractiveAuthentication no")):
            port = host.start_sshd(*settings, pam=ONE_ANSWER)
            code = token.code()
            assert not came_in(ssh(port, user, ["wrong" + code])), "a wrong password"
            assert came_in(ssh(port, user, [PASSWORD + code])), "which did not cost the code"
            assert not came_in(ssh(port, user, [PASSWORD + code])), "the code again"
            assert not came_in(ssh(port, user, [PASSWORD]))
            host.stop("sshd")
    finally:
        host.configure(host.settings.partition("\n[service.sshd]")[0])
        host.stop_daemon()
        host.start_daemon()


def test_sudo(host: Host, alice: tuple[str, Token]) -> None:
    user, token = alice
    Path("/etc/sudoers.d/rig").write_text(f"{user} ALL=(ALL) ALL\nDefaults:{user} timestamp_timeout=0\n")
    pam_service("sudo", PASSWORD_THEN_CODE)
    seen = converse(["sudo", "id", "-u"], [PASSWORD, token.code()], user)
    assert seen.succeeded, seen.screen
    assert seen.screen.splitlines()[-1].strip() == "0"
    # sudo asks again on the same handle: a wrong code first, then a right one.
    seen = converse(["sudo", "id", "-u"], [PASSWORD, token.wrong(), PASSWORD, token.code()], user)
    assert seen.succeeded, seen.screen
    assert "Sorry, try again" in seen.screen
    assert not converse(["sudo", "-n", "id"], [], user).succeeded
    assert not converse(["sudo", "id"], [PASSWORD, "", PASSWORD, "", PASSWORD, ""], user).succeeded


def test_su_asks_for_the_targets_code(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    other, other_token = world.person(enrolled=True)
    pam_service("su", PASSWORD_THEN_CODE)
    seen = converse(["su", other, "-c", "id -un"], [PASSWORD, other_token.code()], user)
    assert seen.succeeded, seen.screen
    assert other in seen.screen.splitlines()[-1]
    seen = converse(["su", other, "-c", "id -un"], [PASSWORD, token.code()], user)
    assert not seen.succeeded, "the caller's own code"


def test_code_before_password(host: Host, alice: tuple[str, Token]) -> None:
    user, token = alice
    pam_service("reverse", "auth required pam_otpd.so\nauth required pam_unix.so\naccount required pam_unix.so\n")
    assert pamtester("reverse", user, [token.code(), PASSWORD]).succeeded
    assert not pamtester("reverse", user, [token.code(), "wrong"]).succeeded
    assert "accepted user=" + user in host.log("otpd")


def test_a_code_in_the_stacks_password(world: World, alice: tuple[str, Token]) -> None:
    """try_first_pass offers what the stack holds, and asks when it does not do; use_first_pass never asks."""
    user, token = alice
    stack = "auth optional pam_unix.so\nauth required pam_otpd.so {}\naccount required pam_unix.so\n"
    pam_service("first", stack.format("try_first_pass"))
    seen = pamtester("first", user, [token.code()])
    assert (seen.succeeded, len(seen.prompts)) == (True, 1), seen.screen
    seen = pamtester("first", user, [PASSWORD, token.code()])
    assert (seen.succeeded, len(seen.prompts)) == (True, 2), seen.screen
    pam_service("first", stack.format("use_first_pass"))
    assert pamtester("first", user, [token.code()]).succeeded
    seen = pamtester("first", user, [PASSWORD])
    assert (seen.succeeded, len(seen.prompts)) == (False, 1), seen.screen


def test_several_tries_in_one_dialogue(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    assert world.outcome("patient", user, token.wrong(), "nonsense", token.code()) == SUCCESS
    login = world.login("patient", user)
    for answer in ("text nonsense", "text nonsense", "text nonsense"):
        login.type(answer)
    result = login.finish()
    assert result.code == MAXTRIES
    assert ("info", "This was not accepted.") in [(style, text) for style, text in result.messages]


def test_a_used_code_is_told_as_such(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    code = token.code()
    assert world.outcome("patient", user, code) == SUCCESS
    login = world.login("patient", user)
    login.type(f"text {code}")
    login.type("text ")
    login.type("text ")
    result = login.finish()
    assert result.code == MAXTRIES
    assert any("already used" in text for _, text in result.messages)


def test_who_is_not_enrolled_is_refused(world: World) -> None:
    user, _ = world.person()
    assert world.outcome("anything", user, "123456") == AUTH_ERR
    assert f'refused user={user} service=anything reason="not enrolled"' in world.host.log("otpd")


def test_ignore_alone_opens_nothing(world: World) -> None:
    """A stack in which the module is alone, and ignored: libpam itself then refuses."""
    user, _ = world.person()
    pam_service("lenient", CODE_ONLY)
    seen = pamtester("lenient", user, [])
    assert (seen.succeeded, seen.prompts) == (False, ())
    pam_service("lenient", PASSWORD_THEN_CODE)
    assert pamtester("lenient", user, [PASSWORD]).succeeded
    assert not pamtester("lenient", user, ["wrong"]).succeeded


def test_lenient_asks_who_is_enrolled(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    assert world.outcome("lenient", user, token.code()) == SUCCESS
    run("otpctl", "user", "disable", user)
    assert world.outcome("lenient", user, token.code(), "", "") == MAXTRIES, "disabled is not unenrolled"


def test_unknown_unenrolled_and_enrolled_users_look_the_same(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    unenrolled, _ = world.person()
    seen = {}
    for name in (user, unenrolled, "nobody-of-that-name", "root"):
        seconds = []
        for _ in range(3):
            login = world.login("anything", name)
            login.type(f"text {token.wrong()}")
            result = login.finish()
            assert result.code == AUTH_ERR
            seconds.append(result.seconds)
            messages = result.messages
        seen[name] = (messages, min(seconds))
    assert len({str(messages) for messages, _ in seen.values()}) == 1
    times = [seconds for _, seconds in seen.values()]
    assert max(times) - min(times) < 0.03, times


def test_a_typo_is_told_of_unknown_users_too(world: World, alice: tuple[str, Token]) -> None:
    seen = []
    for name in (alice[0], world.person()[0], "nobody-of-that-name"):
        login = world.login("patient", name)
        for _ in range(3):
            login.type("text aaaa-aaaa-aaaa")
        result = login.finish()
        assert result.code == MAXTRIES
        seen.append(result.messages)
    assert ("info", "There is a typo in it.") in seen[0]
    assert seen[0] == seen[1] == seen[2]


def test_a_directory_entry_does_not_make_a_user(world: World, alice: tuple[str, Token]) -> None:
    """Users are those that NSS knows."""
    user, token = alice
    run("userdel", user)
    code = token.code()
    assert world.outcome("anything", user, code) == AUTH_ERR
    assert 'reason="unknown user"' in world.host.log("otpd")


def test_names_that_are_no_names(world: World) -> None:
    for name in ("*", "a*", ")(uid=*", "a,ou=otpd", "\u00e5sa", "x" * 255, "root ", "#root", "\\2a", "a\tb"):
        assert world.outcome("anything", name, "123456") == AUTH_ERR
