"""The module and its driver, built once with the flags that ship and once with sanitizers."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the tests are no package, yet these two files are shared

from fake_daemons import Serve, ZmqDaemon
from pam_login import Builds, Stack

HELPER = Path(__file__).parents[2] / "pam_helper"


def _build(directory: Path, *variables: str) -> None:
    subprocess.run(
        ["make", "-C", HELPER, f"BUILD={directory}", f"MODULE={directory}/pam_otpd.so", *variables, "all", "driver"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


@pytest.fixture(scope="session")
def builds() -> Iterator[Builds]:
    """Where both builds are; readable by every user, since some tests become nobody."""
    assert os.geteuid() == 0, "these tests change users and mount: run them as root"
    root = Path(tempfile.mkdtemp(prefix="otpd-build-"))
    root.chmod(0o755)
    _build(root / "hardened")
    _build(root / "sanitized", "SANITIZE=1")
    yield Builds(hardened=root / "hardened", sanitized=root / "sanitized")
    shutil.rmtree(root)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a path short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="otpd-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=["hardened", "sanitized"])
def stack(request: pytest.FixtureRequest, builds: Builds, directory: Path) -> Stack:
    """A PAM stack that holds the module, in each build; its socket does not exist yet."""
    return Stack(build=getattr(builds, request.param), directory=directory)


@pytest.fixture
def fast_stack(builds: Builds, directory: Path) -> Stack:
    """A PAM stack that holds the module as it ships, for tests that count or take time."""
    return Stack(build=builds.hardened, directory=directory)


@pytest.fixture
def serve(directory: Path) -> Iterator[Serve]:
    """Starts a :class:`ZmqDaemon` on the socket of the stack."""
    started = []

    def start(*replies: object) -> ZmqDaemon:
        daemon = ZmqDaemon(directory / "auth.sock", replies)
        started.append(daemon)
        return daemon

    yield start
    for daemon in started:
        daemon.stop()
