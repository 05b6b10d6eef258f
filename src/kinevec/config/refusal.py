"""How a configuration is refused: a sentence with the value in it, or the known key that is nearest to an unknown one."""

import difflib
from collections.abc import Iterable

from kinevec.errors import ConfigError


def check(condition: bool, message: str) -> None:
    """Raises `ConfigError(message)` unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def nearest(key: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown key or preset."""
    close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"
