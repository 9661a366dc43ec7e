"""dvc.lock, which a kill or a full disk can leave behind empty or cut off: DVC then does nothing at all any more."""

import yaml


def is_lock(content: bytes) -> bool:
    """Whether DVC will read it."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(content))
    except (yaml.YAMLError, Invalid):
        return False
    return True
