"""What the module brings into the programs that load it."""

import re
import subprocess
from pathlib import Path

from pam_login import Builds


def output(*command: object) -> str:
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def test_it_links_libc_and_libpam_alone(builds: Builds) -> None:
    needed = re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "-d", builds.hardened / "pam_otpd.so"))
    assert sorted(needed) == ["libc.so.6", "libpam.so.0"]


def test_it_brings_what_libpam_brings_and_nothing_else(builds: Builds) -> None:
    def libraries(path: Path | str) -> set[str]:
        return set(re.findall(r"^\s*(\S+?)(?:\s|$)", output("ldd", path), re.MULTILINE))

    libpam = re.search(r"libpam\.so\.0 => (\S+)", output("ldd", builds.hardened / "pam_otpd.so")).group(1)
    assert libraries(builds.hardened / "pam_otpd.so") == libraries(libpam) | {"libpam.so.0"}


def test_it_exports_its_entry_points_alone(builds: Builds) -> None:
    symbols = output("nm", "-D", "--defined-only", builds.hardened / "pam_otpd.so")
    assert sorted(line.split()[-1] for line in symbols.splitlines()) == ["pam_sm_authenticate", "pam_sm_setcred"]


def test_it_calls_nothing_that_disturbs_its_host(builds: Builds) -> None:
    symbols = output("nm", "-D", "--undefined-only", builds.hardened / "pam_otpd.so")
    used = {re.sub(r"@.*", "", line.split()[-1]) for line in symbols.splitlines()}
    assert "pam_syslog" in used
    forbidden = "exit|_exit|abort|fork|vfork|pthread_\\w+|signal|sigaction|alarm|setlocale|(secure_)?getenv|setenv"
    forbidden += "|openlog|syslog|closelog|chdir|umask|set\\w*[ug]id|pam_fail_delay|pam_get_authtok|strtok"
    assert [name for name in used if re.fullmatch(forbidden, name)] == []


def test_it_has_no_state(builds: Builds) -> None:
    """Nothing of ours may be written to: only what the linker and libc's start-up code put into .data and .bss."""
    symbols = output("nm", builds.hardened / "pam_otpd.so")
    writable = {line.split()[-1] for line in symbols.splitlines() if re.search(r" [bBdDcC] ", line)}
    assert {re.sub(r"\.\d+$", "", name) for name in writable} <= {
        "_DYNAMIC", "_GLOBAL_OFFSET_TABLE_", "__TMC_END__", "__dso_handle", "completed",
        "__do_global_dtors_aux_fini_array_entry", "__frame_dummy_init_array_entry", "verdict_names", "rules", "shapes",
    }  # fmt: skip
    data = output("readelf", "-SW", builds.hardened / "pam_otpd.so")
    sizes = {name: int(size, 16) for name, size in re.findall(r"\] (\.data|\.bss)\s+\S+ +\S+ +\S+ +(\S+)", data)}
    assert sizes[".data"] <= 8
    assert sizes[".bss"] <= 8


def test_it_is_hardened(builds: Builds) -> None:
    program = output("readelf", "-lW", builds.hardened / "pam_otpd.so")
    dynamic = output("readelf", "-d", builds.hardened / "pam_otpd.so")
    assert "GNU_RELRO" in program
    assert "BIND_NOW" in dynamic
    assert re.search(r"GNU_STACK.* RW ", program)
    assert "TEXTREL" not in dynamic
    assert "__stack_chk_fail" in output("nm", "-D", builds.hardened / "pam_otpd.so")


def test_it_wipes_what_was_secret(builds: Builds) -> None:
    symbols = output("nm", "-D", "--undefined-only", builds.hardened / "pam_otpd.so")
    assert re.search(r"explicit_bzero", symbols)
