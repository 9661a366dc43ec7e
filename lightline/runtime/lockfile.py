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


def without(content: str, stage: str) -> str:
    """A dvc.lock without a stage and all that depends on it: what it has of them is of an earlier run."""
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    lock = parse_yaml_for_update(content, "dvc.lock")  # as DVC does it: its numbers are not PyYAML's
    stages, waiting = lock["stages"], [stage]
    while waiting:
        entry = stages.pop(waiting.pop(), {})
        made = {out["path"] for out in entry.get("outs", ())}
        waiting += [name for name, other in stages.items() if made & {dep["path"] for dep in other.get("deps", ())}]
    return dumps_yaml(lock)
