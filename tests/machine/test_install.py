"""otpd on whole machines, as its README says, from ``make install`` to ``make uninstall``; the tests run in order."""

import json
import re
from collections.abc import Iterator
from typing import Final

import pytest
from directory.servers import ACCOUNT, ADMIN_PASSWORD, BASE, SLAPD_CONFIG, SUFFIX, SUFFIX_ENTRY, sample
from machine.world import FILES, PASSWORD, PREFIX, SETTINGS, World, installed, mended_at_the_end

# The doors are opened first, or nobody gets in afterwards.
UNINSTALL: Final = """\
rm /etc/ssh/sshd_config.d/otpd.conf
sed -i -e 's/^auth .*pam_unix.so$/@include common-auth/' -e '/pam_otpd.so/d' /etc/pam.d/sshd
systemctl reload ssh
systemctl disable --now otpd otpd-auth.socket otpd-control.socket otpd-password.socket otpd-directory
make uninstall
systemctl daemon-reload
"""

SOCKETS: Final = ("otpd-auth.socket", "otpd-control.socket", "otpd-password.socket")
MODULE_SECONDS: Final = 10  # timeout= of pam_otpd.so
DROP_IN: Final = "/etc/systemd/system/otpd.service.d/test.conf"
CONNECT: Final = """\
import socket, sys
kind = socket.SOCK_SEQPACKET if "password" in sys.argv[1] else socket.SOCK_STREAM
try:
    socket.socket(socket.AF_UNIX, kind).connect(sys.argv[1])
except OSError as error:
    print(type(error).__name__)
else:
    print("connected")
"""


@pytest.fixture(scope="module", params=list(PREFIX))
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with installed(request.param) as world:
        yield world


def test_everything_runs_and_is_enabled(world: World) -> None:
    for unit in ("otpd.service", "otpd-directory.service", *SOCKETS):
        assert world.state(unit) == "active"
        assert world.property(unit, "UnitFileState") == "enabled"
    assert world.state("otpd-control.service") == "active"
    assert world.state("otpd-closed@auth.target") == "inactive"
    assert world.property("otpd", "NRestarts") == "0"
    assert world.property("otpd", "FragmentPath") == f"{world.prefix}/lib/systemd/system/otpd.service"


def test_a_wrong_account_password_enrolls_nobody(world: World) -> None:
    _, answer = world.enroll("bob", "a wrong password")
    assert answer["error"] == "proof-refused"


def test_a_user_enrolls_with_the_account_password(world: World) -> None:
    world.token, answer = world.enroll("alice", PASSWORD)
    world.secrets.add(world.token.secret)
    assert answer["user"] == "alice"
    # The code that confirmed is used up; the next one opens the door.
    assert "let in" not in world.ssh([PASSWORD, world.token.at(world.token.last_step)]).screen
    assert "let in" in world.ssh([PASSWORD, world.shown_code()]).screen


def test_ssh_takes_password_and_code_and_nothing_less(world: World) -> None:
    world.login()
    assert "let in" not in world.ssh([PASSWORD, world.token.wrong()]).screen
    assert "let in" not in world.ssh(["a wrong password", world.code()]).screen
    assert "let in" not in world.ssh([PASSWORD, ""]).screen
    world.login()


@pytest.mark.parametrize("how", ["systemctl restart otpd", "systemctl kill --signal=KILL otpd"])
def test_a_login_outlives_a_restart_of_otpd(world: World, how: str) -> None:
    pid = world.pid()

    def code(_screen: str) -> str:
        world.machine.shell(how)
        return world.code()

    seen = world.ssh([PASSWORD, code])
    assert "let in" in seen.screen, world.machine.journal("-u", "otpd")
    assert len(seen.prompts) == 2
    world.wait_for_another(pid)


def test_a_stopped_otpd_starts_when_it_is_asked(world: World) -> None:
    world.machine.run("systemctl", "stop", "otpd")
    assert world.state("otpd-auth.socket") == "active"
    seen = world.ssh([PASSWORD, lambda _screen: world.code()])
    assert "let in" in seen.screen
    assert world.state("otpd") == "active"


def test_crashes_close_no_door(world: World) -> None:
    for _ in range(8):
        pid = world.pid()
        world.machine.run("systemctl", "kill", "--signal=KILL", "otpd")
        world.wait_for_another(pid)
    assert world.state("otpd-auth.socket") == "active"
    world.login()


def test_without_directory_logins_are_refused_in_time(world: World) -> None:
    code = world.code()
    world.machine.run("systemctl", "stop", "otpd-directory")
    assert world.refused(code) < MODULE_SECONDS
    world.machine.run("systemctl", "start", "otpd-directory")
    world.login()


def test_a_killed_directory_comes_back(world: World) -> None:
    pid = world.pid("otpd-directory")
    world.machine.run("systemctl", "kill", "--signal=KILL", "otpd-directory")
    world.wait_for("otpd-directory", "active")
    assert world.pid("otpd-directory") != pid
    world.login()


def test_the_daemon_holds_no_power(world: World) -> None:
    units = {"otpd": "otpd", "otpd-control": "otpd", "otpd-directory": "otpd-directory"}
    for unit, user in units.items():
        status = dict(line.split(":", 1) for line in world.machine.read(f"/proc/{world.pid(unit)}/status").splitlines())
        uid = world.machine.run("id", "-u", user).strip()
        assert status["Uid"].split() == [uid] * 4
        assert {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {
            "CapInh": 0,
            "CapPrm": 0,
            "CapEff": 0,
            "CapBnd": 0,
            "CapAmb": 0,
        }
        assert status["NoNewPrivs"].strip() == "1"
        assert status["Seccomp"].strip() == "2"


def test_nothing_but_the_password_check_runs_as_root(world: World) -> None:
    world.enroll("bob", "a wrong password")  # so that it runs
    found = world.machine.run("ps", "-e", "-o", "user:20=,unit=")
    ours = {tuple(line.split()) for line in found.splitlines() if "otpd" in line}
    assert ours == {
        ("otpd", "otpd.service"),
        ("otpd", "otpd-control.service"),
        ("otpd-directory", "otpd-directory.service"),
        ("root", "otpd-password.service"),
    }


def test_sockets_and_secrets_belong_to_whom_they_should(world: World) -> None:
    paths = (
        "/run/otpd /run/otpd/*.sock /run/otpd-directory /var/lib/otpd-directory /var/lib/otpd-directory/* /etc/otpd/*"
    )
    found = world.machine.shell(f"stat --format '%A %U:%G %n' {paths}").splitlines()
    assert found == [
        "drwxr-xr-x root:root /run/otpd",
        "srw-rw---- root:otpd /run/otpd/auth.sock",
        "srw-rw-rw- root:otpd /run/otpd/control.sock",
        "srw------- otpd:otpd /run/otpd/password.sock",
        "drwxr-x--- otpd-directory:otpd-directory /run/otpd-directory",
        "drwxr-x--- otpd-directory:otpd-directory /var/lib/otpd-directory",
        "drwx------ otpd-directory:otpd-directory /var/lib/otpd-directory/data",
        "drwx------ otpd-directory:otpd-directory /var/lib/otpd-directory/slapd.d",
        "-rw------- root:root /etc/otpd/keyring",
        "-rw-r--r-- root:root /etc/otpd/otpd.toml",
        "drwxr-xr-x root:root /etc/otpd/schema",
    ]


@pytest.mark.parametrize(
    ("path", "users"),
    [
        ("/run/otpd/auth.sock", {"otpd"}),
        ("/run/otpd/control.sock", {"alice", "otpd", "otpd-directory"}),
        ("/run/otpd/password.sock", {"otpd"}),
        ("/run/otpd-directory/ldapi", {"otpd", "otpd-directory"}),
    ],
)
def test_who_may_connect(world: World, path: str, users: set[str]) -> None:
    for user in ("alice", "otpd", "otpd-directory"):
        answer = world.machine.run("python3", "-c", CONNECT, path, user=user).strip()
        assert answer == ("connected" if user in users else "PermissionError"), (path, user)


def test_a_daemon_that_hangs_is_replaced(world: World) -> None:
    world.machine.write(DROP_IN, "[Service]\nWatchdogSec=2\n")
    world.machine.shell("systemctl daemon-reload && systemctl restart otpd")
    pid = world.pid()
    world.machine.run("kill", "-STOP", str(pid))
    world.wait_for_another(pid)
    assert "Watchdog timeout" in world.machine.journal("-u", "otpd")
    world.machine.shell(f"rm {DROP_IN} && systemctl daemon-reload && systemctl restart otpd")
    world.login()


# As measured, with systemd 252 and with 257.
@pytest.mark.parametrize(
    ("unit", "most"),
    [
        ("otpd.service", 1.4),
        ("otpd-control.service", 1.4),
        ("otpd-directory.service", 0.4),
        ("otpd-password.service", 2.3),
    ],
)
def test_exposure(world: World, unit: str, most: float) -> None:
    told = world.machine.run("systemd-analyze", "security", "--no-pager", unit)
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)", told)
    assert exposure
    assert float(exposure[1]) <= most, "\n".join(line for line in told.splitlines() if "✗" in line)


def test_systemd_has_nothing_to_say_about_the_units(world: World) -> None:
    units = f"{world.prefix}/lib/systemd/system/otpd*"
    assert world.machine.shell(f"systemd-analyze verify --man=no {units} 2>&1") == ""


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("printf '[totp]\\nwindow = 1\\nissuer = 7\\n' >/etc/otpd/otpd.toml", ("totp.window: ", "totp.issuer: ")),
        ("mv /etc/otpd/keyring /root/keyring", ("holds no key; make one with: otpctl keys init",)),
        ("echo nonsense >/etc/otpd/keyring", ("line 1: expected",)),
    ],
)
def test_with_a_fault_logins_are_refused_at_once_until_it_is_mended(
    world: World, fault: str, told: tuple[str, ...]
) -> None:
    code = world.code()
    with mended_at_the_end(world):
        world.machine.shell(fault)
        world.machine.run("systemctl", "restart", "otpd", check=False)
        assert world.state("otpd") == "failed"
        assert world.property("otpd", "ExecMainStatus") == "78"
        journal = world.machine.journal("-u", "otpd", "--lines=20")
        assert all(sentence in journal for sentence in told), journal
        world.wait_for("otpd-closed@auth.target", "active")
        world.wait_for("otpd-auth.socket", "inactive")
        # There is nobody to wait for; what it takes is the pause that pam_unix asks for, one to three seconds.
        assert world.refused(code) < 5
    assert world.state("otpd-closed@auth.target") == "inactive"
    world.login()


def test_a_fault_that_is_found_by_a_login_refuses_it_in_time(world: World) -> None:
    code = world.code()
    with mended_at_the_end(world):
        world.machine.shell(f"systemctl stop otpd; echo nonsense >{SETTINGS}")
        assert world.refused(code) < 5
        assert world.state("otpd-auth.socket") == "inactive"
    world.login()


def test_a_daemon_that_cannot_start_is_tried_until_it_can(world: World) -> None:
    code, program = world.code(), f"{world.prefix}/lib/otpd/otpd"
    world.machine.shell(f"mv {program} {program}.away; systemctl kill --signal=KILL otpd")
    # Nobody says that otpd will not come: the module's patience, and the pause of pam_unix.
    assert world.refused(code) < MODULE_SECONDS + 4
    world.machine.shell(f"mv {program}.away {program}")
    world.wait_for("otpd", "active")
    world.login()


def test_the_key_ring_may_be_encrypted(world: World) -> None:
    world.machine.shell("systemd-creds encrypt --with-key=host --name=keyring /etc/otpd/keyring /etc/otpd/keyring.cred")
    drop_ins = (DROP_IN, DROP_IN.replace("otpd.service.d", "otpd-control.service.d"))
    for drop_in in drop_ins:
        encrypted = "LoadCredentialEncrypted=keyring:/etc/otpd/keyring.cred"
        world.machine.write(drop_in, f"[Service]\nLoadCredential=\n{encrypted}\n")
    with mended_at_the_end(world):
        world.machine.shell("rm /etc/otpd/keyring && systemctl daemon-reload && systemctl restart otpd")
        world.login()
        world.code()
    away = f"rm {' '.join(drop_ins)} /etc/otpd/keyring.cred"
    world.machine.shell(f"{away} && systemctl daemon-reload && systemctl restart otpd")
    world.login()


def test_an_app_password_opens_its_service_until_it_is_revoked(world: World) -> None:
    made = world.machine.run(
        "otpctl", "app-password", "create", "--service", "imap", "--json", user="alice", stdin=f"{world.code()}\n"
    )
    password, app_id = json.loads(made)["password"], json.loads(made)["id"]
    world.secrets |= {password, password.replace("-", "")}
    assert world.imap(password).succeeded
    assert world.imap(password.replace("-", "").upper()).succeeded
    assert not world.imap(world.code()).succeeded
    assert "let in" not in world.ssh([PASSWORD, password]).screen
    world.machine.run("otpctl", "app-password", "revoke", app_id, user="alice", stdin=f"{world.code()}\n")
    assert not world.imap(password).succeeded


def test_a_rebooted_machine_lets_in_as_before(world: World) -> None:
    world.machine.reboot()
    assert world.machine.run("systemctl", "is-system-running", check=False).strip() == "running"
    world.login()


def test_over_to_the_sites_directory(world: World) -> None:
    """``otpctl directory migrate`` on a host that people use: otpd goes on with the other directory."""
    machine, uri = world.machine, "ldapi://%2Frun%2Fsite"
    schema = "include: file:///etc/otpd/schema/otpd.ldif\n\n"
    config = SLAPD_CONFIG.format(
        tls="", otp="olcModuleLoad: otp\n", schema=schema, password=ADMIN_PASSWORD, suffix=SUFFIX, folder="/srv/site"
    )
    machine.write("/srv/site/config.ldif", config)
    machine.shell("mkdir /srv/site/data /srv/site/slapd.d; slapadd -F /srv/site/slapd.d -n 0 -l /srv/site/config.ldif")
    machine.run("systemd-run", "--unit=site", "slapd", "-d", "0", "-F", "/srv/site/slapd.d", "-h", uri)
    machine.shell("until test -S /run/site; do sleep 0.1; done")
    admin = ["-x", "-H", uri, "-w", ADMIN_PASSWORD, "-D"]
    machine.run("ldapadd", *admin, f"cn=admin,{SUFFIX}", stdin=f"{SUFFIX_ENTRY}\n{sample('tree')}")
    machine.run("ldappasswd", *admin, f"cn=admin,{SUFFIX}", "-s", PASSWORD, ACCOUNT)
    machine.run("ldapmodify", *admin, "cn=admin,cn=config", "-a", stdin=sample("openldap"))
    machine.write("/etc/otpd/site-password", PASSWORD)
    machine.shell("chmod 600 /etc/otpd/site-password")
    site = (
        f'uris = ["{uri}"]\nbase_dn = "{BASE}"\nbind_dn = "{ACCOUNT}"\nbind_password_file = "/etc/otpd/site-password"'
    )
    machine.shell(f"cp {SETTINGS} /etc/otpd/site.toml")
    machine.shell("sed -i '/^\\[directory\\]/,/^\\[/{/^[a-z]/d}' /etc/otpd/site.toml")
    machine.write("/srv/site/directory", site + "\n")
    machine.shell("sed -i '/^\\[directory\\]/r /srv/site/directory' /etc/otpd/site.toml")
    code, pid = world.code(), world.pid()
    migrate = ("otpctl", "directory", "migrate", "--to", "/etc/otpd/site.toml", "--json")
    refused = json.loads(machine.run(*migrate, check=False).splitlines()[0])
    assert "chown otpd /etc/otpd/site-password" in refused["message"], "only root could read it"
    machine.shell("chown otpd /etc/otpd/site-password")
    done = json.loads(machine.run(*migrate).splitlines()[-1])
    assert done["restarted"]
    assert done["verified"] == done["copied"] > 1
    world.wait_for_another(pid)
    machine.run("systemctl", "stop", "otpd-directory")  # nobody needs it any more
    assert "let in" in world.ssh([PASSWORD, code]).screen
    assert "let in" not in world.ssh([PASSWORD, code]).screen
    assert json.loads(machine.run("otpctl", "status", "--json", user="alice"))["enrolled"]
    assert machine.read(SETTINGS) == machine.read("/etc/otpd/site.toml")
    # The way back is for this test alone: what was spent at the new directory, the old one does not know.
    machine.shell(f"mv {SETTINGS}.embedded {SETTINGS}; systemctl start otpd-directory")
    machine.shell("otpctl directory migrate --abort; systemctl restart otpd")
    machine.shell(
        "systemctl stop site; rm -r /srv/site /etc/otpd/site.toml /etc/otpd/site-password /var/lib/otpd-migration"
    )
    world.login()


def test_the_journal_tells_who_and_never_what(world: World) -> None:
    decided = [json.loads(line) for line in world.machine.journal("OTPD_USER=alice", "--output=json").splitlines()]
    accepted = [one for one in decided if one.get("OTPD_REASON") == "accepted" and one.get("OTPD_SERVICE") == "sshd"]
    assert accepted
    assert {one["_SYSTEMD_UNIT"] for one in decided} == {"otpd.service", "otpd-control.service"}
    journal = world.machine.journal()
    assert "pam_otpd(sshd:auth)" in journal
    # A code is six digits: alone, and not as part of some longer number.
    for secret in world.secrets:
        assert not re.search(rf"(?<![0-9A-Za-z.]){re.escape(secret)}(?![0-9A-Za-z])", journal), secret


def test_uninstall_leaves_settings_and_data_alone(world: World) -> None:
    world.administer(UNINSTALL)
    left = set(world.machine.shell(FILES).splitlines()) - world.before
    made_by_others = ("/etc/otpd/", "/var/lib/otpd-directory/", "/var/lib/systemd/", "/etc/pam.d/imap")
    assert [path for path in sorted(left) if not path.startswith(made_by_others)] == []
    assert world.machine.shell("ls /etc/otpd").split() == ["keyring", "otpd.toml", "schema"]
    assert world.machine.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "otpd*") == ""
    assert world.machine.shell("ls /run/otpd") == ""
    assert "let in" in world.ssh([PASSWORD]).screen
