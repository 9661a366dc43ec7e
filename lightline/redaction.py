"""Keys and passwords: noticed where they do not belong, and taken out of what is shown.

A parameter is written to params.yaml, dvc.lock, the model file, W&B and Prefect, so that none may hold a key.
"""

import os
import re
from urllib.parse import parse_qsl, urlsplit

_NAME = re.compile(
    r"(?i)(^|[._-])(key|auth|sig|signature|pwd)$|api_?key|access_?key|secret|token|passw|credential|x-amz-|auth_string"
)
_SHORTEST = 8  # characters of an environment variable's value that is taken for a key
# What no person types: file names and versions in a query are shorter or made of words.
_RANDOM = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9_~+/=%.-]{20,}")
# Parts of a query that say which file is meant: Google Drive's id, S3's versionId, a checksum.
_NAMES_A_FILE = re.compile(
    r"(?i)((file|doc|item|record|dataset|resource|object|persistent|version|res)[_-]?)?id|[ug]uid|doi"
    r"|version|rev|revision|commit|hash|checksum|etag|md5|sha1|sha256"
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
_USER = re.compile(r"(?<=://)[^/@\s]+@")
_ENVIRONMENT = re.compile(r"oc\.env:\s*(\w+)")


def names_secret(name: str) -> bool:
    """Tell whether something of this name (a variable, a parameter, a part of a query) is likely to be a key."""
    return bool(_NAME.search(name))


def secret_in(text: str) -> str | None:
    """Tell what kind of key a text holds, in words that do not repeat it; None for none."""
    for value, name in _environment().items():
        if value in text:
            return f"the value of the environment variable {name}"
    for name in _ENVIRONMENT.findall(text):
        if names_secret(name):
            return f"the value of the environment variable {name}"
    return next(filter(None, map(_secret_in_url, _URL.findall(text))), None)


def redacted(text: str) -> str:
    """Take the environment's keys out of a text, and user, password and query values like keys out of its URLs."""
    for value in sorted(_environment(), key=len, reverse=True):
        text = text.replace(value, "…")
    return _URL.sub(_without_keys, text)


def _environment() -> dict[str, str]:
    """Find the environment's keys: value → name. Paths of files that hold keys, and numbers of tokens, are none."""
    return {
        value: name
        for name, value in os.environ.items()
        if names_secret(name) and len(value) >= _SHORTEST and not (value.startswith("/") or value.isdigit())
    }


def _secret_in_url(url: str) -> str | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a URL that cannot be read"
    if "@" in parts.netloc:
        return "a user name or password in a URL"
    for name, value in parse_qsl(parts.query, keep_blank_values=True) + parse_qsl(parts.fragment):
        if _RANDOM.fullmatch(name):
            return "a URL's query"
        if names_secret(name) or (_RANDOM.fullmatch(value) and not _NAMES_A_FILE.fullmatch(name)):
            return f"the part {name!r} of a URL's query"
    return None


def _without_keys(match: re.Match[str]) -> str:
    url = _USER.sub("", match[0])
    return re.split(r"[?#]", url)[0] + "?…" if _secret_in_url(url) else url
