"""``otpctl directory check``, on servers that are well, and on servers that each lack one thing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otpd.adapters.ldap.indexes import look_at_indexes
from otpd.adapters.ldap.inspection import LdapInspector
from otpd.clock import Clock, SystemClock
from otpd.inspection import Finding
from otpd.secret import Secret

from .conftest import Two
from .samples import soon
from .servers import ACCOUNT, ADMIN_PASSWORD, BASE, SUFFIX, Server, Slapd, sample

PASSWORDS = "to attrs=userPassword by anonymous auth by * none"
OF_SUFFIX = f'to dn.base="{SUFFIX}" attrs=entry,contextCSN by dn.exact="{ACCOUNT}" read by * break'


class Ahead(SystemClock):
    """A host whose clock is wrong."""

    def wall(self) -> float:
        return super().wall() + 60


def inspect(server: Server, clock: Clock | None = None, *, named: bool = True, **other: object) -> list[Finding]:
    inspector = LdapInspector(server.servers(**other), BASE, clock or SystemClock(), provider_named=named)
    return list(inspector.inspect(soon(5)))


def indexes(server: Server, password: str = ADMIN_PASSWORD, uri: str = "", **other: object) -> Finding:
    given = {"bind_dn": server.config_admin, "bind_password": Secret(password.encode())} | other
    (finding,) = look_at_indexes([uri or server.uri], server.servers(**given), BASE, SystemClock())
    assert bool(finding.fault) == bool(finding.remedy)
    return finding


def set_access(server: Server, *rules: str, database: str = "{1}mdb") -> None:
    lines = "".join(f"olcAccess: {{{number}}}{rule}\n" for number, rule in enumerate(rules))
    server.apply(f"dn: olcDatabase={database},cn=config\nchangetype: modify\nreplace: olcAccess\n{lines}", config=True)


def faults(findings: list[Finding]) -> list[tuple[str, str]]:
    assert all(bool(one.fault) == bool(one.remedy) for one in findings)
    return [(one.what, one.fault) for one in findings if one.fault]


@contextmanager
def made(root: Path, name: str, **options: object) -> Iterator[Slapd]:
    server = Slapd(root, name, **options)
    server.start()
    yield server
    server.stop()


def test_well(server: Server) -> None:
    findings = inspect(server)
    assert faults(findings) == []
    what = [finding.what for finding in findings]
    if server.name != "389ds":
        assert what.pop(4) == "notifications"
    seen = ["bind", "base entry", "schema", "paged results"]
    assert what == [*seen, "write", "clock", "a code is spent once", "anonymous access", "remove"]
    assert "otpd-check" not in server.search(BASE), "nothing is left"


def test_clocks_that_differ(server: Server) -> None:
    found = faults(inspect(server, Ahead()))
    assert [what for what, _ in found] == ["clock"]
    assert "-59 seconds" in found[0][1] or "-60 seconds" in found[0][1], "the server's clock tells no parts of a second"


def test_no_account(server: Server) -> None:
    found = faults(inspect(server, bind_password=Secret(b"wrong")))
    assert [what for what, _ in found] == ["answer"]
    assert "invalidCredentials" in found[0][1]


def test_no_schema(bookworm: Path) -> None:
    with made(bookworm, "inspect-schema", schema=(), otp=False) as server:
        server.grow()
        found = faults(inspect(server))
    assert [what for what, _ in found] == ["schema"]
    assert "oathOTPLength" in found[0][1]
    assert "otpdToken" in found[0][1]


def test_no_base(bookworm: Path) -> None:
    with made(bookworm, "inspect-base") as server:
        server.grow()
        server.apply(f"dn: {BASE}\nchangetype: delete\n")
        assert [what for what, _ in faults(inspect(server))] == ["base entry"]


def test_no_right_to_write(bookworm: Path) -> None:
    with made(bookworm, "inspect-write") as server:
        server.grow()
        found = faults(inspect(server))
        assert [what for what, _ in found] == ["notifications", "write"]
        assert "syncprov" in found[0][1]
        assert "insufficientAccessRights" in found[1][1]
        assert ACCOUNT not in found[1][1]


def test_servers_that_do_not_replicate(pair: Two) -> None:
    found = inspect(pair.first, uris=(pair.first.uri, pair.second.uri))
    assert [what for what, _ in faults(found)] == ["replication"]
    assert next(one.server for one in found if one.fault) == pair.second.uri
    assert "otpd-check" not in pair.first.search(BASE)


def test_a_server_that_hangs(pair: Two) -> None:
    with pair.second.hanging():
        found = inspect(pair.first, uris=(pair.second.uri, pair.first.uri))
    assert [what for what, _ in faults(found)] == ["answer"]
    assert [one.what for one in found if one.server == pair.first.uri] == ["bind", "base entry", "schema"]


def test_several_servers_and_none_named_for_writes(pair: Two) -> None:
    """A host that has them in another order would write to the other."""
    found = faults(inspect(pair.first, named=False, uris=(pair.first.uri, pair.second.uri)))
    assert [what for what, _ in found] == ["provider", "replication"]
    assert faults(inspect(pair.first, named=False)) == [], "one server needs no name"


def test_replicas_named_as_provider(bookworm: Path) -> None:
    with made(bookworm, "inspect-replica") as server:
        server.set_up()
        database = "dn: olcDatabase={1}mdb,cn=config\nchangetype: modify\n"
        server.apply(f"{database}replace: olcReadOnly\nolcReadOnly: TRUE\n", config=True)
        assert faults(inspect(server))[0][1].startswith("it takes no writes (unwillingToPerform)")
        server.apply(f"{database}replace: olcReadOnly\nolcReadOnly: FALSE\n", config=True)
        assert faults(inspect(server)) == []
        follow = f'rid=001 provider=ldap://127.0.0.1:1 searchbase="{SUFFIX}" bindmethod=simple retry="60 +"'
        refer = "olcUpdateref: ldap://ldap1.example.org"
        server.apply(f"{database}add: olcSyncrepl\nolcSyncrepl: {follow}\n-\nadd: olcUpdateref\n{refer}\n", config=True)
        found = [one for one in inspect(server) if one.fault]
    assert [(one.what, one.fault) for one in found] == [
        ("write", "it takes no writes, and refers them to ldap://ldap1.example.org")
    ]
    assert "provider" in found[0].remedy


def test_a_backend_of_389_directory_server_that_is_read_only(directory_server_389: Server) -> None:
    change = "dn: cn=userroot,cn=ldbm database,cn=plugins,cn=config\nchangetype: modify\nreplace: nsslapd-readonly\n"
    directory_server_389.apply(f"{change}nsslapd-readonly: on\n", config=True)
    try:
        found = faults(inspect(directory_server_389))
    finally:
        directory_server_389.apply(f"{change}nsslapd-readonly: off\n", config=True)
    assert [what for what, _ in found] == ["write"]
    assert found[0][1].startswith("it takes no writes (unwillingToPerform)")


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("all", (f'to dn.subtree="{BASE}" by dn.exact="{ACCOUNT}" write by * read', "to * by users read")),
        (
            "below",
            (
                f'to dn.base="{BASE}" by dn.exact="{ACCOUNT}" write by * none',
                f'to * by dn.exact="{ACCOUNT}" write by * read',
            ),
        ),
    ],
)
def test_what_openldap_shows_to_strangers(bookworm: Path, name: str, rules: tuple[str, ...]) -> None:
    with made(bookworm, f"inspect-strangers-{name}") as server:
        server.set_up()
        set_access(server, PASSWORDS, OF_SUFFIX, *rules)
        found = inspect(server)
        assert faults(found) == [("anonymous access", "anybody can read what is below the base entry, without a bind")]
        assert "otpd-check" not in server.search(BASE)
        # A bind as nobody is refused; who does not bind is nobody still.
        server.apply("dn: cn=config\nchangetype: modify\nadd: olcDisallows\nolcDisallows: bind_anon\n", config=True)
        assert [what for what, _ in faults(inspect(server))] == ["anonymous access"]
        server.apply("dn: cn=config\nchangetype: modify\nadd: olcRequires\nolcRequires: authc\n", config=True)
        assert faults(inspect(server)) == []


def test_what_389_directory_server_shows_to_strangers(directory_server_389: Server) -> None:
    everybody = '(targetattr="*")(version 3.0; acl "all"; allow (all) userdn="ldap:///anyone";)'
    directory_server_389.apply(f"dn: {BASE}\nchangetype: modify\nreplace: aci\naci: {everybody}\n")
    try:
        assert [what for what, _ in faults(inspect(directory_server_389))] == ["anonymous access"]
    finally:
        as_sampled = sample("389ds").partition("\n\n")[0].replace("add: aci", "replace: aci")
        directory_server_389.apply(f"{as_sampled}\n")
    assert faults(inspect(directory_server_389)) == []


def test_controls_that_are_not_shown(bookworm: Path) -> None:
    with made(bookworm, "inspect-controls") as server:
        server.set_up()
        hidden = 'to dn.base="" attrs=supportedControl by * none'
        set_access(server, hidden, "to * by * read", database="{-1}frontend")
        found = inspect(server)
        assert [what for what, _ in faults(found)] == ["paged results", "notifications"]
        set_access(server, 'to dn.base="" by * read', "to * by * read", database="{-1}frontend")
        assert faults(inspect(server)) == [], "the remedy"


def test_indexes_that_are_there(server: Server) -> None:
    assert indexes(server) == Finding(server.uri, "indexes")


def test_indexes_that_are_missing(bookworm: Path, trixie: Path) -> None:
    for root in (bookworm, trixie):
        with made(root, "inspect-indexes") as server:
            server.grow()
            found = indexes(server)
            assert found.fault == (
                "olcDatabase={1}mdb,cn=config lacks otpdId eq, otpdSealedSeed subinitial, otpdSealedDigest subinitial,"
                " otpdSealedRecoveryCode subinitial"
            )
            assert "openldap.ldif.example" in found.remedy
            server.apply(sample("openldap"), config=True)
            assert indexes(server).fault == ""
            change = (
                "dn: olcDatabase={1}mdb,cn=config\nchangetype: modify\ndelete: olcDbIndex\nolcDbIndex: objectClass eq\n"
            )
            server.apply(change, config=True)
            assert indexes(server).fault.endswith("lacks objectClass eq")
            change = change.replace("delete: ", "add: ").replace(
                "objectClass eq", "default pres,eq\nolcDbIndex: objectClass"
            )
            server.apply(change, config=True)
            assert indexes(server).fault == "", "of the kinds that are the default"


def test_indexes_that_389_directory_server_lacks(directory_server_389: Server) -> None:
    [entry] = [part for part in sample("389ds").split("\n\n") if "dn: cn=otpdId" in part]
    where = entry.splitlines()[0]
    directory_server_389.apply(f"{where}\nchangetype: delete\n", config=True)
    try:
        found = indexes(directory_server_389)
    finally:
        directory_server_389.apply(f"{entry}\n", config=True)
    assert found.fault.endswith("lacks otpdId eq")
    assert "389ds.ldif.example" in found.remedy
    assert indexes(directory_server_389).fault == ""


def test_indexes_that_nobody_may_see(openldap_2_5: Server) -> None:
    refused = indexes(openldap_2_5, "wrong")
    assert "bind was refused" in refused.fault
    assert "wrong" not in repr(refused)
    assert "that this DN may read" in indexes(openldap_2_5, bind_dn=openldap_2_5.admin).fault
    for uri in (openldap_2_5.uri, "ldaps://ldap1.example.org"):
        unseen = indexes(openldap_2_5, uri=uri, bind_dn="", bind_password=None)
        assert (unseen.fault, "--admin-dn" in unseen.unseen) == ("", True)
