"""What a value may be, refused with its name and number."""

import math


def whole(config: object, *names: str, least: int = 1) -> None:
    """Each named value is a whole number, at least `least`."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name}={value!r} must be a whole number, at least {least}")


def not_negative(config: object, *names: str) -> None:
    """Each named value is a finite number, at least 0."""
    for name in names:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ValueError(f"{name}={value!r} must be a finite number, at least 0")


def yes_or_no(config: object, *names: str) -> None:
    """Each named value is True or False."""
    for name in names:
        if not isinstance(value := getattr(config, name), bool):
            raise ValueError(f"{name}={value!r} must be True or False")


def one_of(config: object, name: str, known: tuple[str, ...]) -> None:
    """The named value is one of the known words."""
    value = getattr(config, name)
    if value not in known:
        raise ValueError(f"{name}={value!r} must be one of {', '.join(known)}")
