"""The demonstration: a directory, otpd, sshd and an IMAP service, and what each attempt to get in leads to."""

import re
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rig.host import CODE_ONLY, PERIOD_SECONDS, Host, Token, pam_service, running_host
from rig.people import Seen, converse, pamtester, ssh

PASSWORD = "correct horse battery staple"
KEY = Path("/home/alice/demo_key")
PUBLIC_KEY_AND_CODE = "AuthenticationMethods publickey,keyboard-interactive"
SETTINGS = """\
[totp]
issuer = "otpd demo"

[service.sshd]
accept = ["code"]
tries = 1

[service.imap]
accept = ["app-password"]
tries = 1
"""

broken_promises: list[str] = []


def attempt(what: str, promise: str, kept: bool, seen: Seen | None = None) -> None:
    """One line for one attempt."""
    print(f"  {'ok  ' if kept else 'FAIL'}  {what}: {promise}", flush=True)
    if not kept:
        broken_promises.append(what)
        print(seen.screen if seen else "")


def token_of(screen: str) -> Token:
    """The token that otpctl shows."""
    shown = re.search(r"type the secret:\s+([A-Z2-7 ]+)", screen)
    return Token(shown[1].replace(" ", "").strip()) if shown else Token("")


def enroll() -> Token:
    """Alice enrols at her shell: her account password, then the code that her app shows."""
    print("\nalice$ otpctl enroll --label phone")
    answers = [PASSWORD, lambda screen: token_of(screen).code(), ""]
    seen = converse(["otpctl", "enroll", "--label", "phone"], answers, "alice")
    print(seen.screen, end="\n\n")
    shown = "\u2580" in seen.screen
    attempt("enrolment", "the QR code is shown, and a code activates it", seen.succeeded and shown, seen)
    token = token_of(seen.screen)
    token.code()  # which was typed above
    return token


def by_ssh(host: Host, token: Token) -> None:
    """What ssh makes of passwords, codes and keys."""
    port = host.start_sshd()
    code = token.code()
    seen = ssh(port, "alice", [PASSWORD, code])
    attempt("password and right code", "in", "let in" in seen.screen, seen)
    seen = ssh(port, "alice", [PASSWORD, code])
    attempt("the same code again", "refused", refused(seen), seen)
    seen = ssh(port, "alice", [PASSWORD, token.wrong()])
    attempt("wrong code", "refused", refused(seen), seen)
    seen = ssh(port, "alice", [PASSWORD, ""])
    attempt("password alone", "refused", refused(seen), seen)
    host.stop("sshd")

    converse(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(KEY)], [])
    keys = Path("/home/alice/authorized_keys")
    keys.write_text(KEY.with_suffix(".pub").read_text())
    port = host.start_sshd(PUBLIC_KEY_AND_CODE, f"AuthorizedKeysFile {keys}", "StrictModes no", pam=CODE_ONLY)
    seen = ssh(port, "alice", [token.code()], f"IdentityFile={KEY}")
    attempt("public key and code", "in", "let in" in seen.screen, seen)
    host.stop("sshd")


def by_app_password() -> None:
    """An app password opens the service it was made for, and nothing else, until it is revoked."""
    pam_service("imap", CODE_ONLY)
    made = converse(["otpctl", "app-password", "create", "--user", "alice", "--service", "imap"], [""])
    found = re.search(r"otpd-[0-9a-z-]+", made.screen)
    password = found[0] if found else ""
    seen = pamtester("imap", "alice", [password])
    kept = seen.succeeded and seen.prompts == ("Password: ",)
    attempt("app password at imap", "accepted, with no further prompt", kept, seen)
    port = demo_host.start_sshd(pam=CODE_ONLY)
    seen = ssh(port, "alice", [password])
    attempt("the same app password at ssh", "refused", refused(seen), seen)
    demo_host.stop("sshd")
    converse(["otpctl", "app-password", "revoke", "--user", "alice", password.replace("-", "")[4:12]], [])
    seen = pamtester("imap", "alice", [password])
    attempt("the app password after revoke", "refused", not seen.succeeded and bool(seen.prompts), seen)


def without_otpd(host: Host) -> None:
    """A login while otpd is stopped is refused at once, and the host's log says why."""
    port = host.start_sshd(pam=CODE_ONLY)
    host.stop_daemon()
    started = time.monotonic()
    seen = ssh(port, "alice", ["123456"])
    seconds = time.monotonic() - started
    reason = reason_in_log(host)
    print(f"        {reason}")
    attempt("otpd stopped", "refused within a second, with the reason in the log", bool(reason) and seconds < 1, seen)
    host.stop("sshd")


def refused(seen: Seen) -> bool:
    """Whether ssh asked, and did not let in."""
    return bool(seen.prompts) and not seen.succeeded and "let in" not in seen.screen


def reason_in_log(host: Host) -> str:
    """What pam_otpd.so wrote to the system log about a daemon that is not there."""
    lines = [line for line in host.log("syslog").splitlines() if "pam_otpd" in line]
    return lines[-1].partition(">")[2] if lines else ""


def keep(host: Host, token: Token) -> None:
    """Leave it running until the person has seen enough, and be the person's authenticator app."""
    host.start_daemon()
    port = host.start_sshd()
    print(f"""
It is still running. Log in from another terminal:

    ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -p {port} alice@127.0.0.1
    password: {PASSWORD}
    secret:   {token.secret}

Ctrl-C ends it; nothing stays behind. The code to type, once each:
""")
    wait: set[signal.Signals] = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, wait)
    ended = None
    while not ended:
        step = int(time.time()) // PERIOD_SECONDS
        if step > token.last_step:
            print(f"    {token.at(step)}", flush=True)
        ended = signal.sigtimedwait(wait, (step + 1) * PERIOD_SECONDS - time.time() + 0.1)


with running_host("/usr/bin/python3", SETTINGS) as demo_host:
    demo_host.add_user("alice", PASSWORD)
    demo_token = enroll()
    by_ssh(demo_host, demo_token)
    by_app_password()
    without_otpd(demo_host)
    if broken_promises:
        print(f"\n{len(broken_promises)} promise(s) broken: {', '.join(broken_promises)}\n{demo_host.log('otpd')}")
        sys.exit(1)
    print("\nEvery attempt came out as promised.")
    if "--keep" in sys.argv:
        keep(demo_host, demo_token)
