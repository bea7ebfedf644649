"""Text of others, made safe to print: no control characters, no secrets of a URL."""

import json
import re
from collections.abc import Mapping
from typing import Any

_USER_INFO = r"(?<=://)\S*@"
_SECRET_NAME = "token|key|secret|passw|pwd|auth|sig|credential|session|jwt"
_SECRET_VALUE = rf"(?i)([?&][^=&\s]*(?:{_SECRET_NAME})[^=&\s]*=)[^&#\s'\"]*"
_HIDDEN = "***"


def escaped(text: str) -> str:
    """
    Return *text* with visible escapes for whatever is not printable, such as `\\x1b` or `\\n`.

    Names of models, jobs and processes come from others, and a terminal obeys what it is sent.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escape(one) for one in text)


def escaped_items(value: Any) -> Any:
    """Return a JSON value with all of its texts escaped."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, Mapping):
        return {escaped_items(name): escaped_items(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [escaped_items(one) for one in value]
    return value


def escaped_json(value: Any, indent: int | None = None) -> str:
    """Return *value* as JSON that means the same and has nothing unprintable but its own line ends."""
    document = json.dumps(value, indent=indent, ensure_ascii=False)
    if document.isprintable():
        return document
    return "".join(one if one.isprintable() or one == "\n" else _json_escape(one) for one in document)


def without_secrets(text: str) -> str:
    """Return *text* with the user information and the secret parameters of its URLs hidden."""
    return re.sub(_SECRET_VALUE, rf"\g<1>{_HIDDEN}", re.sub(_USER_INFO, f"{_HIDDEN}@", text))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _json_escape(character: str) -> str:
    # JSON may hold a DEL as it is, and Python's does.
    return "\\u007f" if character == "\x7f" else json.dumps(character)[1:-1]
