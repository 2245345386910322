"""Keys and passwords that would reach a file by way of a command line, a config or an error: blacked out.

They belong into the environment, from where wandb and mlflow take them. What is known for one by its name, by standing
in a URL before the @, or as the value of an environment variable with such a name is written as ***.
"""

import os
import re
from typing import Any

HIDDEN = "***"
NAME = r"(?:password|passwd|passphrase|secret|token|credentials?|authorization|api_?key|(?:access|private|secret)_?key)"
# Words that a config has under such a name as well: class_token=true is no secret.
HARMLESS = r"(?!(?:true|false|null|None|[-+.\deE]+)(?![^\s,}\]&\"']))"
SETTING = re.compile(rf"(?i)(\b[\w.\-/]*{NAME}[\"']?\s*[=:]\s*){HARMLESS}(\"[^\"]*\"|'[^']*'|[^\s,}}\]&\"']+)")
# A path has one of the two slashes left.
IN_URL = re.compile(r"(\b[A-Za-z][\w+.\-]+:/{1,2})[^/\s@]+@")
SECRET_NAME = re.compile(rf"(?i){NAME}$")
# A shorter value would be found in ordinary words.
SHORTEST = 8


def without_secrets(value: Any) -> Any:
    """Return plain data, or a text, with what looks like a secret replaced by ***."""
    return _hidden(value, _known())


def _hidden(value: Any, known: list[str]) -> Any:
    match value:
        case str():
            return _hidden_in_text(value, known)
        case dict():
            return {
                key: HIDDEN if isinstance(item, str) and item and SECRET_NAME.search(str(key)) else _hidden(item, known)
                for key, item in value.items()
            }
        case list() | tuple():
            return [_hidden(item, known) for item in value]
    return value


def _hidden_in_text(text: str, known: list[str]) -> str:
    for secret in known:
        text = text.replace(secret, HIDDEN)
    return SETTING.sub(rf"\g<1>{HIDDEN}", IN_URL.sub(rf"\g<1>{HIDDEN}@", text))


def _known() -> list[str]:
    found = {value for name, value in os.environ.items() if SECRET_NAME.search(name) and len(value) >= SHORTEST}
    return sorted(found, key=len, reverse=True)
