"""The command otpctl."""

from pathlib import Path

import click

from otpd import __version__
from otpd.adapters import config
from otpd.adapters.process import keep_secrets_out_of_cores
from otpd.cli import app_password, device, directory, enroll, keys, recovery_codes, report, token, user, users
from otpd.cli.help import translate
from otpd.cli.session import PATH, Session
from otpd.texts import preferred, speak


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="otpctl")
@click.option(
    "--config",
    "path",
    type=PATH,
    default=config.DEFAULT_PATH,
    show_default=True,
    metavar="FILE",
)
@click.pass_context
def otpctl(context: click.Context, path: Path) -> None:
    """Manage your second factor and the passwords of your programs.

    \b
    Example:
      otpctl enroll                                    set up your phone
      otpctl recovery-codes                            for when it is gone
      otpctl app-password create --service imap        a password for your mail program
    """
    context.obj = Session(config_path=path)


for command in (
    enroll.enroll,
    users.status,
    token.token,
    token.resync,
    recovery_codes.recovery_codes,
    app_password.app_password,
    device.device,
    user.user,
    report.report,
    directory.directory,
    keys.keys,
):
    otpctl.add_command(command)


def main() -> None:
    """Run otpctl."""
    keep_secrets_out_of_cores()
    speak(preferred())
    translate(otpctl)
    otpctl(prog_name="otpctl")


if __name__ == "__main__":
    main()
