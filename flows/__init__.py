"""The Prefect flow and what it needs; imports only lightline.params from the library."""

import os

# Prefect reports its use as soon as it is imported: by this process, and by those that a worker starts.
os.environ.setdefault("DO_NOT_TRACK", "1")
