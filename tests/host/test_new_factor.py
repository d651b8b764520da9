"""docs/factors.md: a factor that is added is one file and one line; the module and the protocol know nothing of it."""

import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from module.pam_login import AUTH_ERR, SUCCESS
from rig.host import CREDENTIALS, connects

from .conftest import World

HERE = Path(__file__).parent


def test_a_new_factor_opens_a_door(world: World) -> None:
    host, (user, _) = world.host, world.person()
    host.stop("otpd")
    program = Path("/run/otpd-new-factor.py")
    shutil.copyfile(HERE / "new_factor.py", program)
    settings = Path("/run/otpd-new-factor.toml")
    settings.write_text(host.settings + '\n[service.calendar]\naccept = ["weekday"]\ntries = 1\n')
    environment = {"CREDENTIALS_DIRECTORY": str(CREDENTIALS), "PYTHONPATH": "/usr/lib/otpd"}
    command = (sys.executable, str(program), "--config", str(settings), "--serve", "auth")
    host.spawn("new-factor", *command, user="otpd", environment=environment)
    try:
        host.wait(lambda: connects("/run/otpd/auth.sock"), "new-factor")
        today, tomorrow = (f"{datetime.now(UTC) + timedelta(days=days):%A}" for days in (0, 1))
        assert world.outcome("calendar", user, today) == SUCCESS
        assert world.outcome("calendar", user, tomorrow) == AUTH_ERR
        assert world.outcome("anything", user, today) == AUTH_ERR, "another service does not accept it"
        login = world.login("calendar", user)
        login.type(f"text {today}")
        assert any(text == "Day of the week: " for _, text in login.finish().messages)
    finally:
        host.stop("new-factor")
        host.start_processes("otpd")
