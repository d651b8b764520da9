"""An authenticator app whose codes are used up one after the other, over the whole of the fleet's wide window."""

import time
from dataclasses import dataclass
from typing import Final

import pyotp
from rig.host import PERIOD_SECONDS

WINDOW_STEPS: Final = 9
"""One less than the hosts' window, so that a code that is given now is still right when it is judged."""


@dataclass
class Phone:
    """Gives the code of each time step once, from the oldest that is accepted to the newest."""

    secret: str
    token_id: str = ""
    last_step: int = 0
    accepted_step: int = 0

    def code(self) -> str:
        """The next code."""
        return self.at(self.next_step())

    def next_step(self) -> int:
        """The time step of the next code; it is used up."""
        self.last_step = max(self.last_step + 1, now() - WINDOW_STEPS)
        assert self.last_step <= now() + WINDOW_STEPS, "all codes of now are used up"
        return self.last_step

    def left(self) -> int:
        """How many codes are left now."""
        return now() + WINDOW_STEPS - max(self.last_step, now() - WINDOW_STEPS - 1)

    def at(self, step: int) -> str:
        """The code of a time step."""
        return pyotp.TOTP(self.secret).generate_otp(step)


def now() -> int:
    """The time step of now."""
    return int(time.time()) // PERIOD_SECONDS
