"""The names of otpd's entries (RFC 4514): how they are written, and whose entry a name is of."""

import re
from typing import Final

from otpd.errors import EntryError
from otpd.values import EntryId, UserName

_UNNAMEABLE: Final = re.compile("[\0\ud800-\udfff]")  # what is not UTF-8 comes in as surrogates
_RDN: Final = re.compile(r"(?:[^\\,]|\\.)+", re.DOTALL)
_ESCAPED_PAIR: Final = re.compile(r"\\.", re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\([0-9A-Fa-f]{2}|.)", re.DOTALL)


def user_dn(name: UserName, base_dn: str) -> str:
    """The DN of a user's entry; raises :class:`EntryError` for what no entry is named by."""
    return f"uid={escape_rdn_value(name)},{base_dn}"


def child_dn(name: UserName, entry_id: EntryId, base_dn: str) -> str:
    """The DN of an entry below a user's; raises :class:`EntryError` likewise."""
    return f"otpdId={escape_rdn_value(entry_id)},{user_dn(name, base_dn)}"


def escape_rdn_value(value: str) -> str:
    r"""``value`` for a DN: every byte that is not a letter or digit as ``\XX`` (RFC 4514 section 2.4).

    Raises :class:`EntryError` for what no entry is named by.
    """
    if not value or _UNNAMEABLE.search(value):
        raise EntryError("a name that is empty, or that holds a NUL or a byte that is not UTF-8")
    return "".join(
        chr(byte) if chr(byte).isalnum() and byte < 0x80 else f"\\{byte:02x}"  # noqa: PLR2004 - ASCII
        for byte in value.encode()
    )


def unescape_rdn_value(value: str) -> str:
    r"""What ``value`` stands for in a DN, whether its bytes are escaped as ``\XX`` or as ``\`` and themselves."""

    def plain(escaped: re.Match[bytes]) -> bytes:
        return bytes.fromhex(escaped[1].decode()) if len(escaped[1]) == 2 else escaped[1]  # noqa: PLR2004 - XX

    return _ESCAPED.sub(plain, value.encode()).decode("utf-8", "replace")


def user_above(dn: str) -> UserName:
    """The user below whose entry the one named ``dn`` is; empty where it is below no user's."""
    rdns = _RDN.findall(dn)
    kind, _, value = rdns[1].partition("=") if len(rdns) > 1 else ("", "", "")
    return UserName(unescape_rdn_value(value.lstrip()) if kind.strip().lower() == "uid" else "")


def depth(dn: str) -> int:
    """Of how many names ``dn`` is made."""
    return len(_RDN.findall(dn))


def place_of(dn: str, base_dn: str) -> tuple[UserName, EntryId] | None:
    """Whose entry ``dn`` names below ``base_dn``, and its id (empty for the user's own); None for none of otpd's."""
    own = _RDN.findall(dn)[: depth(dn) - depth(base_dn)]
    parts = [rdn.strip().partition("=") for rdn in own]
    if [kind.lower() for kind, _, _ in parts] not in (["uid"], ["otpdid", "uid"]) or any("+" in rdn for rdn in own):
        return None
    *entry_id, user = [unescape_rdn_value(value) for _, _, value in parts]
    return UserName(user), EntryId(entry_id[0] if entry_id else "")


def parent_of(dn: str) -> str:
    """The DN without its first RDN; empty at the top."""
    first = _RDN.match(dn)
    return dn[first.end() + 1 :].lstrip() if first else ""


def user_of(dn: str) -> UserName | None:
    """The user whose entry ``dn`` names, or one below it; None where the name does not show it."""
    for kind, _, value in (rdn.partition("=") for rdn in _RDN.findall(dn)[:2]):
        if kind.strip().lower() == "uid":
            plain = _ESCAPED_PAIR.sub("", value)
            unclear = "+" in plain or plain.lstrip().startswith(("#", '"'))
            return None if unclear else UserName(unescape_rdn_value(value.lstrip()))
    return None
