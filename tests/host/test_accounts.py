"""Accounts on a server of their own, which nobody may write to: otpd asks NSS for them, whatever is behind it."""

import json
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest
from module.pam_login import AUTH_ERR, SUCCESS
from rig.host import Token, connects, free_port, own, run

from .conftest import World, eventually

FOLDER = Path("/srv/accounts")
SUFFIX = "ou=people,dc=accounts,dc=example"
CONFIG = """\
dn: cn=config
objectClass: olcGlobal
cn: config

dn: cn=module{{0}},cn=config
objectClass: olcModuleList
cn: module{{0}}
olcModulePath: /usr/lib/ldap
olcModuleLoad: back_mdb

dn: cn=schema,cn=config
objectClass: olcSchemaConfig
cn: schema

include: file:///etc/ldap/schema/core.ldif

include: file:///etc/ldap/schema/cosine.ldif

include: file:///etc/ldap/schema/nis.ldif

dn: olcDatabase={{1}}mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: {{1}}mdb
olcSuffix: {suffix}
olcDbDirectory: {folder}/data
olcReadOnly: TRUE
olcAccess: to * by * read
"""
PEOPLE = """\
dn: {suffix}
objectClass: organizationalUnit
ou: people

dn: uid=ldapuser,{suffix}
objectClass: account
objectClass: posixAccount
uid: ldapuser
cn: A user of the site
uidNumber: 40001
gidNumber: 40001
homeDirectory: /nonexistent
"""
NSLCD = """\
uid nslcd
gid nslcd
uri ldap://127.0.0.1:{port}/
base {suffix}
ignorecase yes
"""


@pytest.fixture
def site_account(world: World) -> Iterator[str]:
    """A user whom a read-only directory server knows, through nslcd."""
    for part in ("data", "slapd.d"):
        (FOLDER / part).mkdir(parents=True)
    tree = ["slapadd", "-F", str(FOLDER / "slapd.d")]
    run(*tree, "-n", "0", stdin=CONFIG.format(suffix=SUFFIX, folder=FOLDER))
    run(*tree, "-n", "1", stdin=PEOPLE.format(suffix=SUFFIX))
    port = free_port()
    uri = f"ldap://127.0.0.1:{port}"
    world.host.spawn("accounts", "/usr/sbin/slapd", "-d", "0", "-F", str(FOLDER / "slapd.d"), "-h", uri)
    world.host.wait(lambda: connects(("127.0.0.1", port)), "accounts")
    Path("/etc/nslcd.conf").write_text(NSLCD.format(port=port, suffix=SUFFIX))
    Path("/run/nslcd").mkdir(exist_ok=True)
    own("/run/nslcd", "nslcd")
    switch = Path("/etc/nsswitch.conf")
    before = switch.read_text()
    switch.write_text(before.replace("passwd:", "passwd: ldap"))
    world.host.spawn("nslcd", "/usr/sbin/nslcd", "-n")
    try:
        assert eventually(lambda: any(one.pw_name == "ldapuser" for one in pwd.getpwall())), world.host.log("nslcd")
        yield "ldapuser"
    finally:
        switch.write_text(before)
        world.host.stop("nslcd")
        world.host.stop("accounts")


def test_accounts_of_a_read_only_server(world: World, site_account: str) -> None:
    world_of_accounts = (FOLDER / "data/data.mdb").read_bytes()
    token: Token = world.host.enroll(site_account)
    world.secrets.add(token.secret)
    made = json.loads(run("otpctl", "app-password", "create", "--service", "imap", "--user", site_account, "--json"))
    assert world.outcome("anything", site_account, token.code()) == SUCCESS
    assert world.outcome("imap", site_account, made["password"]) == SUCCESS
    assert world.outcome("anything", site_account, token.wrong()) == AUTH_ERR
    # This name service compares without case: however it is typed, it is one user, with one throttle.
    assert pwd.getpwnam(site_account.upper()).pw_name == site_account
    assert world.outcome("anything", site_account.upper(), token.code()) == SUCCESS
    assert run("otpctl", "status", "--user", site_account.upper()).startswith(f"{site_account.upper()} has")
    assert f"uid={site_account},ou=otpd" in world.host.ldap("ldapsearch", "-LLL", "-b", "ou=otpd", "dn")
    assert (FOLDER / "data/data.mdb").read_bytes() == world_of_accounts
