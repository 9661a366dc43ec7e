"""The Prefect flow and what it needs; of the library it imports config, runtime, errors and redaction."""

import os

import lightline.runtime.interruption  # noqa: F401 (first, for `python -m`)

# Prefect reports its use as soon as it is imported: by this process, and by those that a worker starts.
os.environ.setdefault("DO_NOT_TRACK", "1")
