"""What a shell offers after TAB where a word is a value: names and ids as they stand now, or nothing."""

from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from otpd.adapters import config
from otpd.adapters.config import Config
from otpd.adapters.zmq_client import ControlClient, Unreachable
from otpd.cli.session import daemon_uid
from otpd.errors import ConfigError
from otpd.policy import APP_PASSWORD
from otpd.printable import printable


def services(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """The PAM services that otpd.toml names and that accept app passwords."""
    settings = _settings(context)
    names = settings.policy().named(APP_PASSWORD) if settings else []
    return [CompletionItem(name) for name in names if name.startswith(begun)]


def token_ids(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """The ids of the user's tokens, with their labels."""
    return _ids(context, begun, "status", "tokens")


def app_password_ids(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """The ids of the user's app passwords, with their labels."""
    return _ids(context, begun, "app-password-list", "app_passwords")


def device_ids(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """The ids of the user's remembered devices, with their addresses."""
    return _ids(context, begun, "device-list", "devices", "address")


def _ids(context: click.Context, begun: str, verb: str, field: str, label: str = "label") -> list[CompletionItem]:
    settings, user = _settings(context), context.params.get("user")
    if settings is None:
        return []
    client = ControlClient(Path(settings.sockets.control), daemon_uid())
    with suppress(Unreachable):
        done, reply = client.call(verb, {"user": user} if user else {})
        found = reply[field] if done else []
        return [CompletionItem(one["id"], help=printable(one[label])) for one in found if one["id"].startswith(begun)]
    return []


def _settings(context: click.Context) -> Config | None:
    with suppress(ConfigError):
        return config.load(context.find_root().params.get("path") or config.DEFAULT_PATH)
    return None
