"""Looking at the directory, for root."""

from dataclasses import asdict
from typing import Any

from otpd import audit
from otpd.management.verb import Call, Context
from otpd.texts import _


def check(context: Context, call: Call) -> dict[str, Any]:
    """Every server of the directory, what was looked at, and what is wrong."""
    audit.record("directory check", peer=call.peer)
    findings = context.inspector.inspect(call.deadline)
    return {
        "well": not any(finding.fault for finding in findings),
        "findings": [asdict(finding) | {"remedy": _(finding.remedy)} for finding in findings],
    }
