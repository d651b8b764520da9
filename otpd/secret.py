"""Values that must not be seen."""

import hmac


class Secret:
    """Bytes that never show in a ``repr``, a format string, a pickle or a comparison's timing.

    ``reveal()`` is the only way to the bytes, so that a search for it finds every place where one leaves.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The bytes themselves."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(...)"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    # Deliberately unhashable: a secret as a key of a dict would be compared by its hash.
    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self._value)

    def __len__(self) -> int:
        return len(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not to be serialised")
