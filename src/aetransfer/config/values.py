"""A wrong value in words. Hydra is not imported here: an encoder is loaded, and its file refused, without it."""

import json
import re
from typing import Any

# Of a value in a sentence.
LONGEST = 200


def wrong_value(place: str, value: Any, message: str) -> str:
    """Put a key, its value and what pydantic says of it into a sentence without a period."""
    requirement = re.sub(
        r"^(Input|List|String) |, (unable|got) .*| or (instance|object) .*| after validation.*", "", message
    )
    requirement = requirement.replace("a valid dictionary", "a group of keys")
    shown = "" if isinstance(value, dict) else f"={_shortened(_yaml(value))}"
    return f"{place}{shown} {requirement}"


def _shortened(text: str) -> str:
    """Cut what somebody else's file may have made a book of."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _yaml(value: Any) -> str:
    """Write a value as one would on the command line."""
    if isinstance(value, list):
        return f"[{','.join(_yaml(item) for item in value)}]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
