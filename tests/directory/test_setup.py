"""What docs/directory.md says to do on a server: its schema, loaded while it runs, and who may do what afterwards."""

import re
from pathlib import Path

import pytest

from otpd.values import UserName

from .samples import soon, token
from .servers import ACCOUNT, BASE, CONF, PASSWORD, SUFFIX, Server, Slapd

LOAD_OTP = "dn: cn=module{0},cn=config\nchangetype: modify\nadd: olcModuleLoad\nolcModuleLoad: otp\n"
OTHER = f"cn=other,ou=services,{SUFFIX}"


@pytest.fixture(params=["bookworm", "trixie"])
def openldap(request: pytest.FixtureRequest) -> Path:
    root: Path = request.getfixturevalue(request.param)
    return root


@pytest.mark.parametrize("otp", [True, False], ids=["module otp", "oath.ldif"])
def test_schema_is_added_while_openldap_runs(openldap: Path, otp: bool) -> None:
    server = Slapd(openldap, f"schema-{'otp' if otp else 'oath'}", schema=(), otp=False)
    server.start()
    try:
        server.apply(LOAD_OTP if otp else (CONF / "oath.ldif").read_text(), config=True)
        server.apply((CONF / "otpd.ldif").read_text(), config=True)
        server.stop()
        server.set_up()
        directory = server.directory()
        directory.ensure_user(UserName("alice"), soon())
        assert directory.add_token(UserName("alice"), token(), soon())
    finally:
        server.stop()


def test_our_attribute_types_are_those_of_openldap(openldap_2_5: Server, openldap_2_6: Server) -> None:
    """All but the descriptions: object identifiers, what they derive from, syntaxes and matching rules."""
    theirs, ours = attribute_types(openldap_2_5), attribute_types(openldap_2_6)
    assert len(ours) == 10
    assert ours == {name: theirs[name] for name in ours}


def attribute_types(server: Server) -> dict[str, str]:
    """OATH-LDAP's, by name, as the server gives them."""
    found = server.search("cn=subschema", "-s", "base", "attributeTypes")
    types = re.findall(r"attributeTypes: (\( \S+ NAME '(oath\w+)' .*\))", found)
    return {name: re.sub(r" (DESC|X-ORIGIN) '[^']*'", "", text) for text, name in types}


def test_nobody_else_sees_or_changes_what_is_otpds(server: Server) -> None:
    directory = server.directory()
    directory.ensure_user(UserName("seen"), soon())
    server.apply(
        f"dn: {OTHER}\nobjectClass: applicationProcess\nobjectClass: simpleSecurityObject\ncn: other\nuserPassword: x\n"
    )
    assert "uid=seen" in server.search_as(ACCOUNT, PASSWORD, BASE)
    assert "dn:" in server.search_as(OTHER, "x", OTHER) or server.name == "389ds", "others may look elsewhere"
    for who, password in ((OTHER, "x"), ("", "")):
        assert "seen" not in server.search_as(who, password, BASE)
        assert "seen" not in server.search_as(who, password, SUFFIX)
    with pytest.raises(RuntimeError, match=r"(?i)insufficient access"):
        server.apply_as(OTHER, "x", f"dn: uid=seen,{BASE}\nchangetype: delete\n")
    with pytest.raises(RuntimeError, match=r"(?i)insufficient access"):
        server.apply_as(ACCOUNT, PASSWORD, f"dn: {OTHER}\nchangetype: delete\n")
    assert directory.user(UserName("seen"), soon())
