"""What downloads may do in tests, whose servers are on 127.0.0.1."""

from lightline.config.data import Fetch

FETCH = {"allow_http": True, "allow_private": True, "max_bytes": 10**9}
RULES = Fetch.model_validate(FETCH)
STRICT = Fetch(allow_http=False, allow_private=False, max_bytes=10**9)
