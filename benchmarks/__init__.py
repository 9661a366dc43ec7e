"""What Lightline costs, beside a reference: one file a question, `python -m benchmarks` runs all of them."""

import lightline.runtime.interruption  # noqa: F401 (first, for `python -m`)
