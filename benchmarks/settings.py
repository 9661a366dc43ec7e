"""Parameters to measure with: params.yaml with changes."""

from typing import Any

import yaml

from lightline.params import Params
from lightline.params_file import PARAMS_FILE, check_params


def with_changes(changes: dict[str, Any]) -> Params:
    """changes: values by dotted key, nothing tracked by W&B."""
    values = yaml.safe_load(PARAMS_FILE.read_text(encoding="utf-8"))
    for key, value in {"tracking.mode": "disabled", **changes}.items():
        *sections, name = key.split(".")
        section = values
        for part in sections:
            section = section[part]
        section[name] = value
    return check_params(values, "a benchmark")
