"""The room of the stage `report`: what it alone uses."""

import lightline.runtime.interruption  # noqa: F401 (first, for `python -m`: Ctrl-C while the rest loads)
