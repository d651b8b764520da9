"""What bash, zsh and fish offer after TAB, each as it is installed, asked as its own users ask."""

import os
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest
from rig.host import Token, run

from .conftest import World
from .test_control import call


def bash(line: str) -> str:
    words = line.split(" ")
    script = f"""
        . /usr/share/bash-completion/bash_completion
        _comp_load otpctl 2>/dev/null || _completion_loader otpctl
        COMP_WORDS=({" ".join(f"'{word}'" for word in words)})
        COMP_CWORD={len(words) - 1}
        _otpctl_completion otpctl
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    return run("bash", "-c", script)


def fish(line: str) -> str:
    return run("fish", "-c", f"complete -C '{line}'")


def zsh(line: str) -> str:
    """What is on the screen one second after TAB."""
    child = pexpect.spawn("zsh", ["-f", "-i"], env=os.environ | {"TERM": "dumb", "PS1": "ready> "}, encoding="utf-8")
    child.setwinsize(60, 200)
    try:
        child.expect("ready> ", 20)
        child.sendline("autoload -Uz compinit && compinit -u && PS1='set''> '")
        child.expect("set> ", 20)
        child.send(f"{line}\t")
        child.expect("\n.*[a-z]", 20)
        first = child.after
        child.expect(pexpect.TIMEOUT, 1)
        return f"{first}{child.before}"
    finally:
        child.close(force=True)


SHELLS = [bash, zsh, fish]


@pytest.mark.parametrize("complete", SHELLS)
def test_commands_are_offered(world: World, complete: Callable[[str], str]) -> None:
    offered = complete("otpctl app-password ")
    assert all(verb in offered for verb in ("create", "list", "revoke"))


@pytest.mark.parametrize("complete", SHELLS)
def test_services_are_those_that_accept_app_passwords(world: World, complete: Callable[[str], str]) -> None:
    offered = complete("otpctl app-password create --service ")
    assert "imap" in offered
    assert "smtp" in offered
    assert "patient" not in offered


def test_ids_are_the_users_own(world: World, alice: tuple[str, Token]) -> None:
    user, token = alice
    made = call(user, "app-password-create", services="imap", label="mail", proof=token.code())[1]["id"]
    token_id = call(user, "status")[1]["tokens"][0]["id"]
    for words, offered in (("otpctl app-password revoke --user", made), ("otpctl token rename --user", token_id)):
        assert offered in bash(f"{words} {user} ")


def test_nobody_is_offered_what_is_another_users(world: World, alice: tuple[str, Token]) -> None:
    """TAB asks otpd as whoever presses it."""
    user, token = alice
    mallory, _ = world.person()
    call(user, "app-password-create", services="imap", proof=token.code())
    for line in ("app-password revoke", "token rename"):
        words = f"otpctl {line} --user {user}".split()
        asked = {
            "_OTPCTL_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(words) + " ",
            "COMP_CWORD": str(len(words)),
        }
        assert run("otpctl", user=user, env=os.environ | asked).strip()
        assert not run("otpctl", user=mallory, env=os.environ | asked).strip()
    assert f"verb=status user={user} reason=not-permitted\n" in world.host.log("otpd")


def test_after_tab_at_a_prompt_of_bash(world: World, alice: tuple[str, Token]) -> None:
    """As its user presses it, with the completion that is loaded by itself."""
    user, _ = alice
    token_id = call(user, "status")[1]["tokens"][0]["id"]
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "bash", "--norc", "-i"]
    child = pexpect.spawn(become[0], become[1:], env=os.environ | {"TERM": "dumb", "PS1": "ready> "}, encoding="utf-8")
    try:
        child.expect("ready> ", 20)
        child.sendline(". /usr/share/bash-completion/bash_completion; PS1='set''> '")
        child.expect("set> ", 20)
        child.send("otpctl token rename \t")
        child.expect(token_id, 20)
        child.send("\x15otpctl app-password revoke-a\t")
        child.expect("revoke-all", 20)
    finally:
        child.close(force=True)


def test_without_otpd_nothing_is_offered_and_nothing_said(world: World) -> None:
    settings = Path("/etc/otpd/otpd.toml")
    kept = settings.read_text()
    settings.write_text(kept + '\n[sockets]\ncontrol = "/run/nobody.sock"\n')
    try:
        assert bash("otpctl token rename ").strip() == ""
    finally:
        settings.write_text(kept)
