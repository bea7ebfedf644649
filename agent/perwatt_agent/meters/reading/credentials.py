"""Secrets in files, and the Authorization header made from them. No error ever quotes a secret."""

import base64
import os
import re
from pathlib import Path

_MAX_BYTES = 4096
_EXPECTED = "a file with `username:` and `password:`, or with one line USER:PASSWORD"


def basic(path: Path) -> str:
    """
    Return the header for the user and password in *path* (Basic, RFC 7617).

    Raises ValueError if the file has another form, or if everybody may read it.
    """
    user, password = _user_and_password(_read(path))
    if ":" in user:
        raise ValueError("a user's name without a colon")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def bearer(path: Path) -> str:
    """
    Return the header for the token in *path* (Bearer, RFC 6750).

    Raises ValueError if the file has another form, or if everybody may read it.
    """
    token = _read(path).strip()
    if not (token and token.isascii() and token.isprintable()):
        raise ValueError("a file with a token on one line")
    return f"Bearer {token}"


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o007:
                raise ValueError(f"a file that is not readable by everybody (chmod o= {path})")
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"a file that can be read ({error.strerror})") from None
    try:
        if len(text) <= _MAX_BYTES:
            return text.decode("utf-8")
    except UnicodeDecodeError:
        pass
    raise ValueError("a short text in UTF-8")


def _user_and_password(text: str) -> tuple[str, str]:
    if not re.match(r"\s*(#|---|username\s*:|password\s*:)", text):
        user, colon, password = text.strip().partition(":")
        if colon and user and password and len(text.strip().splitlines()) == 1:
            return user, password
        raise ValueError(_EXPECTED)
    import yaml  # only for a file of this form: see configfile/loading.py

    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(_EXPECTED) from None
    if not isinstance(given, dict) or set(given) != {"username", "password"}:
        raise ValueError(_EXPECTED)
    return _text(given["username"]), _text(given["password"])


def _text(value: object) -> str:
    """Refuse anything but text: YAML reads 0123 as a number and `no` as a boolean."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{_EXPECTED}, each in quotes")
    return value
