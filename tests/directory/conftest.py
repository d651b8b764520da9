"""Each kind of server that otpd is to work with, started once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .servers import DirectoryServer389, Server, Slapd, debian, folders

ROOTS = Path("/run/otpd-directories")


@pytest.fixture(scope="session")
def bookworm() -> Iterator[Path]:
    with debian(folders("machine/build", "bookworm"), ROOTS / "bookworm") as root:
        yield root


@pytest.fixture(scope="session")
def trixie() -> Iterator[Path]:
    with debian(folders("machine/build", "trixie"), ROOTS / "trixie") as root:
        yield root


@pytest.fixture(scope="session")
def openldap_2_5(bookworm: Path) -> Iterator[Server]:
    """Debian 12's, with its module otp."""
    server = Slapd(bookworm, "openldap-2.5")
    server.set_up()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def openldap_2_6(trixie: Path) -> Iterator[Server]:
    """Debian 13's, with the attribute types of conf/oath.ldif."""
    server = Slapd(trixie, "openldap-2.6", schema=("oath", "otpd"), otp=False)
    server.set_up()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def directory_server_389() -> Iterator[Server]:
    """Debian 12's 389 Directory Server, with conf/99otpd.ldif."""
    with debian(folders("directory/root-389ds"), ROOTS / "389ds") as root:
        server = DirectoryServer389(root, "389ds")
        server.set_up()
        yield server
        server.stop()


@pytest.fixture(params=["openldap_2_5", "openldap_2_6", "directory_server_389"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found
