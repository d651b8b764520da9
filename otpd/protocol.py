"""The messages on otpd's sockets: ``docs/protocol.md`` as code.

Everything here is pure: frames in, values out. A message that breaks a rule raises :class:`ProtocolError`; nothing is
truncated or guessed.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from otpd.errors import ProtocolError
from otpd.secret import Secret

VERSION: Final = b"otpd/1"

MAX_FRAMES: Final = 32
MAX_FRAME_BYTES: Final = 8192
MAX_MESSAGE_BYTES: Final = 32768
MAX_REPLY_BYTES: Final = 4 * 2**20  # of a management reply: a list of all users is one
MAX_NAME_BYTES: Final = 256
MAX_TEXT_BYTES: Final = 512  # PAM_MAX_RESP_SIZE
MAX_DIALOGUE_BYTES: Final = 2048
DIALOGUE_SECONDS: Final = 300

VERDICTS: Final = ("accept", "refuse", "exhausted", "unavailable", "ignore")
FLAGS: Final = ("use-first-pass", "forward-pass", "silent")
STYLES: Final = ("echo-off", "echo-on")

_FIELD_NAME = re.compile(rb"[a-z][a-z-]*")


class _Rule(NamedTuple):
    """What one field of a message may hold."""

    limit: int
    required: bool = False
    repeated: bool = False
    values: tuple[str, ...] | None = None
    text: bool = True
    opaque: bool = False


_SHAPES: Final[dict[str, dict[str, _Rule]]] = {
    "begin": {
        "user": _Rule(MAX_NAME_BYTES, required=True),
        "service": _Rule(MAX_NAME_BYTES, required=True),
        "rhost": _Rule(MAX_NAME_BYTES),
        "tty": _Rule(MAX_NAME_BYTES),
        "ruser": _Rule(MAX_NAME_BYTES),
        "authtok": _Rule(MAX_TEXT_BYTES, text=False),
        "flag": _Rule(MAX_NAME_BYTES, repeated=True, values=FLAGS),
    },
    "answer": {
        "dialogue": _Rule(MAX_DIALOGUE_BYTES, required=True, text=False, opaque=True),
        "text": _Rule(MAX_TEXT_BYTES, required=True, text=False),
    },
    "cancel": {
        "dialogue": _Rule(MAX_DIALOGUE_BYTES, required=True, text=False, opaque=True),
    },
    "ask": {
        "dialogue": _Rule(MAX_DIALOGUE_BYTES, required=True, text=False, opaque=True),
        "style": _Rule(MAX_NAME_BYTES, required=True, values=STYLES),
        "prompt": _Rule(MAX_FRAME_BYTES, required=True),
        "info": _Rule(MAX_FRAME_BYTES, repeated=True),
    },
    "done": {
        "verdict": _Rule(MAX_NAME_BYTES, required=True, values=VERDICTS),
        "info": _Rule(MAX_FRAME_BYTES, repeated=True),
        "authtok": _Rule(MAX_TEXT_BYTES, text=False),
    },
    "error": {
        "reason": _Rule(MAX_FRAME_BYTES, required=True),
    },
}


@dataclass(frozen=True, kw_only=True)
class Begin:
    """A login wants a verdict."""

    user: str
    service: str
    rhost: str = ""
    tty: str = ""
    ruser: str = ""
    authtok: Secret | None = None
    use_first_pass: bool = False
    forward_pass: bool = False
    silent: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a person typed at the prompt of ``ask``."""

    dialogue: bytes = field(repr=False)
    text: Secret


@dataclass(frozen=True, kw_only=True)
class Cancel:
    """The person went away."""

    dialogue: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Show ``infos``, then ask ``prompt``."""

    dialogue: bytes = field(repr=False)
    prompt: str
    infos: tuple[str, ...] = field(default=(), repr=False)
    echo: bool = False


@dataclass(frozen=True, kw_only=True)
class Done:
    """The verdict: one of :data:`VERDICTS`."""

    verdict: str
    infos: tuple[str, ...] = field(default=(), repr=False)
    authtok: Secret | None = None


@dataclass(frozen=True, kw_only=True)
class Error:
    """The request was not understood."""

    reason: str


Request = Begin | Answer | Cancel
Reply = Ask | Done | Error
Fields = dict[str, list[bytes]]


def check_limits(
    frames: Sequence[bytes], frame_bytes: int = MAX_FRAME_BYTES, message_bytes: int = MAX_MESSAGE_BYTES
) -> None:
    """Raise :class:`ProtocolError` when ``frames`` go beyond a limit or do not start with the version.

    ``frame_bytes`` is the limit of one frame, ``message_bytes`` that of all of them.
    """
    if len(frames) > MAX_FRAMES:
        raise ProtocolError(f"more than {MAX_FRAMES} frames in a message")
    if any(len(frame) > frame_bytes for frame in frames):
        raise ProtocolError(f"a frame of more than {frame_bytes} bytes")
    if sum(len(frame) for frame in frames) > message_bytes:
        raise ProtocolError(f"a message of more than {message_bytes} bytes")
    if len(frames) < 2:  # noqa: PLR2004 - the envelope: version and verb
        raise ProtocolError("a message needs a version and a verb")
    if frames[0] != VERSION:
        raise ProtocolError("the first frame is not otpd/1")


def decode_request(frames: Sequence[bytes]) -> Request:
    """The request that ``frames`` carry; raises :class:`ProtocolError`."""
    verb, fields = _decode(frames, ("begin", "answer", "cancel"))
    match verb:
        case "begin":
            flags = _texts(fields, "flag")
            return Begin(
                user=_text(fields, "user"),
                service=_text(fields, "service"),
                rhost=_text(fields, "rhost"),
                tty=_text(fields, "tty"),
                ruser=_text(fields, "ruser"),
                authtok=_secret(fields, "authtok"),
                use_first_pass="use-first-pass" in flags,
                forward_pass="forward-pass" in flags,
                silent="silent" in flags,
            )
        case "answer":
            return Answer(dialogue=fields["dialogue"][0], text=Secret(fields["text"][0]))
        case _:
            return Cancel(dialogue=fields["dialogue"][0])


def encode_request(request: Request) -> list[bytes]:
    """``request`` as frames; raises :class:`ProtocolError` when it goes beyond a limit."""
    match request:
        case Begin():
            given = (request.use_first_pass, request.forward_pass, request.silent)
            flags = tuple(name for name, is_set in zip(FLAGS, given, strict=True) if is_set)
            return _encode(
                "begin",
                user=request.user,
                service=request.service,
                rhost=request.rhost or None,
                tty=request.tty or None,
                ruser=request.ruser or None,
                authtok=request.authtok,
                flag=flags,
            )
        case Answer():
            return _encode("answer", dialogue=request.dialogue, text=request.text)
        case Cancel():
            return _encode("cancel", dialogue=request.dialogue)


def decode_reply(frames: Sequence[bytes]) -> Reply:
    """The reply that ``frames`` carry; raises :class:`ProtocolError`."""
    verb, fields = _decode(frames, ("ask", "done", "error"))
    match verb:
        case "ask":
            return Ask(
                dialogue=fields["dialogue"][0],
                prompt=_text(fields, "prompt"),
                infos=_texts(fields, "info"),
                echo=_text(fields, "style") == "echo-on",
            )
        case "done":
            verdict, authtok = _text(fields, "verdict"), _secret(fields, "authtok")
            if authtok is not None and verdict != "accept":
                raise ProtocolError("authtok in a done that does not accept")
            return Done(verdict=verdict, infos=_texts(fields, "info"), authtok=authtok)
        case _:
            return Error(reason=_text(fields, "reason"))


def encode_reply(reply: Reply) -> list[bytes]:
    """``reply`` as frames; raises :class:`ProtocolError` when it goes beyond a limit."""
    match reply:
        case Ask():
            style = "echo-on" if reply.echo else "echo-off"
            return _encode("ask", dialogue=reply.dialogue, style=style, prompt=reply.prompt, info=reply.infos)
        case Done():
            return _encode("done", verdict=reply.verdict, info=reply.infos, authtok=reply.authtok)
        case Error():
            return _encode("error", reason=reply.reason)


def encode_management(verb: str, body: dict[str, Any], limit: int = MAX_MESSAGE_BYTES) -> list[bytes]:
    """A message of control.sock: a verb or ``ok`` or ``error``, and its JSON object.

    ``limit`` is in bytes; a reply may have :data:`MAX_REPLY_BYTES`.
    """
    frames = [VERSION, verb.encode(), json.dumps(body, ensure_ascii=False).encode()]
    check_limits(frames, limit, limit)
    return frames


def decode_management(frames: Sequence[bytes], limit: int = MAX_MESSAGE_BYTES) -> tuple[str, dict[str, Any]]:
    """The verb and the object of a message of control.sock; raises :class:`ProtocolError`."""
    check_limits(frames, limit, limit)
    if len(frames) != 3:  # noqa: PLR2004 - version, verb, body
        raise ProtocolError("expected a version, a verb and one JSON object")
    try:
        body = json.loads(frames[2])
    except (ValueError, RecursionError):
        raise ProtocolError("the body is not JSON") from None
    if not isinstance(body, dict):
        raise ProtocolError("the body is not a JSON object")
    return frames[1].decode("ascii", "replace"), body


def _encode(verb: str, **fields: str | bytes | Secret | tuple[str, ...] | None) -> list[bytes]:
    frames = [VERSION, verb.encode()]
    for name, value in fields.items():
        if value is not None:
            values = value if isinstance(value, tuple) else (value,)
            frames += [name.encode() + b"=" + _as_bytes(one) for one in values]
    _decode(frames, (verb,))
    return frames


def _as_bytes(value: str | bytes | Secret) -> bytes:
    if isinstance(value, Secret):
        return value.reveal()
    return value.encode() if isinstance(value, str) else value


def _decode(frames: Sequence[bytes], verbs: tuple[str, ...]) -> tuple[str, Fields]:
    check_limits(frames)
    verb = frames[1].decode("ascii", "replace")
    if verb not in verbs:
        raise ProtocolError("an unknown verb")
    shape = _SHAPES[verb]
    fields: Fields = {}
    for frame in frames[2:]:
        raw_name, separator, value = frame.partition(b"=")
        if not separator or not _FIELD_NAME.fullmatch(raw_name):
            raise ProtocolError(f"{verb}: a frame that is not name=value")
        name = raw_name.decode("ascii")
        if name not in shape:
            raise ProtocolError(f"{verb}: an unknown field")
        if name in fields and not shape[name].repeated:
            raise ProtocolError(f"{verb}: {name} appears twice")
        _check_value(verb, name, shape[name], value)
        fields.setdefault(name, []).append(value)
    for name, rule in shape.items():
        if rule.required and name not in fields:
            raise ProtocolError(f"{verb}: {name} is missing")
    return verb, fields


def _check_value(verb: str, name: str, rule: _Rule, value: bytes) -> None:
    if len(value) > rule.limit:
        raise ProtocolError(f"{verb}: {name} has more than {rule.limit} bytes")
    if b"\0" in value and not rule.opaque:
        raise ProtocolError(f"{verb}: {name} holds a NUL")
    if rule.values is not None and value.decode("ascii", "replace") not in rule.values:
        raise ProtocolError(f"{verb}: {name} has an unknown value")
    if rule.text:
        try:
            value.decode("utf-8")
        except UnicodeDecodeError:
            raise ProtocolError(f"{verb}: {name} is not UTF-8") from None


def _text(fields: Fields, name: str) -> str:
    return fields[name][0].decode() if name in fields else ""


def _texts(fields: Fields, name: str) -> tuple[str, ...]:
    return tuple(value.decode() for value in fields.get(name, []))


def _secret(fields: Fields, name: str) -> Secret | None:
    return Secret(fields[name][0]) if name in fields else None
