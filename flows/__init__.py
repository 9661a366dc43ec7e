"""The Prefect flow and what it needs; imports only lightline.params from the library."""

import lightline.interruption  # noqa: F401 (first, for `python -m`)
