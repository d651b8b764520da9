"""Arguments that are not understood stop the login, and the log names them."""

import pam_login as login
import pytest
from fake_daemons import Serve, done
from pam_login import Stack


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("nullok", '"nullok": unknown argument'),
        ("debug=yes", '"debug=yes": unknown argument'),
        ("debug debug", '"debug": given twice'),
        ("timeout=0", '"timeout=0": less than 1 second'),
        ("timeout=61", '"timeout=61": more than 60 seconds'),
        ("timeout=5s", '"timeout=5s": not a whole number of seconds'),
        ("[timeout= 5]", '"timeout= 5": not a whole number of seconds'),
        ("timeout=", '"timeout=": less than 1 second'),
        ("try_first_pass use_first_pass", '"use_first_pass": contradicts try_first_pass'),
        ("debug socket=/run/other.sock", '"socket=/run/other.sock": given twice'),
    ],
)
def test_what_is_not_understood_is_a_service_error(stack: Stack, serve: Serve, arguments: str, named: str) -> None:
    daemon = serve(done())
    result = stack.run(arguments, before="set=hunter2")
    assert (result.code, daemon.requests) == (login.SERVICE_ERR, [])
    assert f"argument {named}" in result.log


@pytest.mark.parametrize("path", ["run/otpd/auth.sock", "", "/" + "x" * 107])
def test_a_socket_is_an_absolute_path_that_fits(stack: Stack, path: str) -> None:
    result = stack.run(f"socket={path}")
    assert result.code == login.SERVICE_ERR
    assert f'argument "socket={path}"' in result.log


def test_all_that_are_understood(stack: Stack, serve: Serve) -> None:
    serve(done())
    assert stack.run("timeout=60 try_first_pass forward_pass debug").code == login.SUCCESS
