"""What is said of a download that fails: never the keys that may be part of its URL."""

from urllib.parse import urlsplit

from lightline.errors import DataError


class FetchError(DataError):
    """A file cannot be downloaded. `passing`: whether another attempt may succeed."""

    def __init__(self, message: str, passing: bool = False):
        super().__init__(message)
        self.may_pass = passing


def without_secrets(url: str) -> str:
    """Keep scheme, host, port and path: neither user nor password, neither query nor fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def too_large(shown: str, max_bytes: int) -> FetchError:
    """Make the error for a file of more bytes than data.fetch.max_bytes."""
    return FetchError(f"{shown} has more bytes than data.fetch.max_bytes = {max_bytes}; raise that if it is right.")
