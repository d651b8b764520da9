"""Imports point one way: a module imports from its own layer or from one below."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "otpd"

# From the bottom. A folder stands for all that is in it.
LAYERS = (
    ("otpd", "errors", "values", "clock", "secret"),
    (
        "symbols",
        "otp",
        "app_password",
        "recovery",
        "handout",
        "mailed_code",
        "policy",
        "throttle",
        "offline",
        "texts",
        "printable",
    ),
    ("protocol", "ring_text", "seal", "ticket", "qr", "audit", "entry", "backup"),
    ("directory", "identity", "factor", "inspection"),
    ("guesses", "grants", "remembered", "moving_factor", "factors"),
    ("enrolment",),
    ("enrol_at_login", "management"),
    ("dialogue",),
    ("adapters",),
    ("service", "daemon", "password_helper", "transfer", "cli"),
)
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}


def concept(module: str) -> str:
    """``otpd.adapters.ldap.directory`` is ``adapters``; ``otpd`` itself is ``otpd``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def modules() -> list[tuple[str, ast.Module]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        dotted = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        found.append((dotted, ast.parse(path.read_text())))
    return found


def imports(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def test_every_module_has_a_layer() -> None:
    assert {concept(name) for name, _ in modules()} == set(LEVELS)


def test_imports_point_down() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, tree in modules()
        for other in imports(tree)
        if other.split(".")[0] == "otpd" and concept(other) in LEVELS and LEVELS[concept(other)] > LEVELS[concept(name)]
    ]
    assert wrong == []


def test_one_importer_each() -> None:
    users: dict[str, set[str]] = {
        "ldap3": set(),
        "zmq": set(),
        "systemd": set(),
        "pam": set(),
        "pyotp": set(),
        "smtplib": set(),
        "time": set(),
    }
    for name, tree in modules():
        for other in imports(tree):
            users.get(other.split(".")[0], set()).add(name)
    assert users == {
        "ldap3": {
            "otpd.adapters.ldap.directory",
            "otpd.adapters.ldap.bulk",
            "otpd.adapters.ldap.operations",
            "otpd.adapters.ldap.connections",
            "otpd.adapters.ldap.indexes",
            "otpd.adapters.ldap.tryout",
            "otpd.adapters.ldap.watch",
            "otpd.adapters.slapd_config",
        },
        "zmq": {"otpd.adapters.zmq_server", "otpd.adapters.zmq_client"},
        "systemd": {"otpd.adapters.systemd"},
        "pam": {"otpd.password_helper"},
        "pyotp": {"otpd.otp"},
        "smtplib": {"otpd.adapters.smtp"},
        # The gate and the helper measure rates of their own process, and no rule of otpd's.
        "time": {"otpd.clock", "otpd.adapters.zmq_server", "otpd.password_helper"},
    }
