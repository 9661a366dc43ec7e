"""Read params.yaml, check all of it, and say in sentences what is wrong with it."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from lightline.config.composition import CONF, compose
from lightline.config.params import Params
from lightline.errors import LightlineError, ParameterError
from lightline.redaction import names_secret, redacted, secret_in

PARAMS_FILE = Path("params.yaml")
PARAMS_VARIABLE = "LIGHTLINE_PARAMS"  # of a node that has joined another one's training: where those lie
ADVICE = (  # the last line of what is said of wrong parameters
    "Edit conf/ and type `make params`, or give a value for one run: `-S KEY=VALUE`. "
    "`make params` also takes back what a run that failed has left in params.yaml."
)
_SHOWN = 200  # characters of a wrong value

# The discriminators of the sections that come in variants; pydantic puts the variant's tag into an error's location.
_VARIANT_KEYS = {"data": "source", "split": "strategy", "model": "name", "optimizer": "name", "schedule": "name"}

# pydantic's kinds of errors in the words of someone who edits YAML; its own messages do for the rest.
_ALLOWED = {
    "int_type": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "float_type": "it must be a number",
    "finite_number": "it must be a finite number",
    "bool_type": "it must be true or false",
    "string_type": "it must be a text",
    "list_type": "it must be a list",
    "model_type": "it must be a section with keys of its own",
    "dict_type": "it must be a section with keys of its own",
    "greater_than": "it must be above {gt}",
    "greater_than_equal": "it must be at least {ge}",
    "less_than": "it must be below {lt}",
    "less_than_equal": "it must be at most {le}",
    "literal_error": "allowed: {expected}",
    "too_short": "it must have {min_length} items",
    "too_long": "it must have at most {max_length} items",
    "string_too_long": "it must have at most {max_length} characters",
    "string_pattern_mismatch": "it must match {pattern}",
}

# Values for which pydantic has an error for each of the types that they could have had, or the pattern of a text.
_SHA256 = "64 hexadecimal digits, as `sha256sum FILE` prints them"
_BATCHES = "a number of batches from 1 on, or a share of them, above 0.0 and at most 1.0"
_IN_WORDS = {
    "checkpoint.store": "a path, s3://BUCKET/PREFIX, or null",
    "data.bit_depth": "'auto' or a number from 8 to 16",
    "data.mirror": "an http://, https:// or s3:// address, or null",
    "data.sha256": f"{_SHA256}, or null",
    "hardware.devices": "'auto', a number from 1 to 1024, or a list of up to 1024 numbers from 0 to 1023",
    "hardware.master_addr": "a host's name or address, or null",
    "hardware.num_threads": "'auto' or a number from 1 to 1024",
    "hardware.strategy": "a name that Lightning knows, as auto, ddp or fsdp, or ddp_gloo",
    "model.weights_sha256": f"{_SHA256}, or null",
    "trainer.limit_train_batches": f"{_BATCHES}, or null",
    "trainer.limit_val_batches": f"{_BATCHES}, or null: without validation no epoch would be the best",
    "trainer.overfit_batches": f"{_BATCHES}, or 0",
    "trainer.fast_dev_run": "true, false or a number of batches",
    "trainer.val_check_interval": _BATCHES,
}


def is_conf_right() -> bool:
    """Tell whether conf/ by itself composes to parameters that can be used: what is wrong then came by an override."""
    try:
        check_params(compose(), str(CONF))
    except LightlineError:
        return False
    return True


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read all parameters, and check them.

    Raises:
        ParameterError: the file is missing or no YAML, or a key, type or value in it is not allowed; the message lists
            everything that is wrong, each with its dotted key, its value and what is allowed.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParameterError(f"{path} is missing in {Path.cwd()}. `make params` writes it from conf/.") from None
    except yaml.YAMLError as error:
        raise ParameterError(f"{path} is not valid YAML: {error}. `make params` writes it anew from conf/.") from None
    return check_params(values, path.name)


def check_params(values: Any, where: str) -> Params:
    """Check values that are already read, as `load_params` does; `where` names their origin in the message."""
    if not isinstance(values, dict):
        raise ParameterError(f"{where} holds no sections. `make params` writes it anew from conf/.")
    lines = [_secret_sentence(key, kind) for key, kind in _secrets(values)]
    try:
        params = Params.model_validate(values)
    except ValidationError as error:
        # A value that fits none of several types is one mistake, not one for each type.
        lines += dict.fromkeys(_sentence(item, values) for item in error.errors())
    else:
        if not lines:
            return params
    raise ParameterError(
        f"{where} holds {len(lines)} parameter{'s' * (len(lines) > 1)} that cannot be used:\n"
        + "\n".join(f"  {line}" for line in lines)
        + f"\n{ADVICE}"
    )


def _secrets(values: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Find the dotted key of each value that holds a key or password, and of what kind it is."""
    if isinstance(values, dict | list):
        items = values.items() if isinstance(values, dict) else enumerate(values)
        for name, value in items:
            yield from _secrets(value, f"{key}.{name}".lstrip("."))
    elif isinstance(values, str) and (kind := secret_in(values)):
        yield key, kind


def _secret_sentence(key: str, kind: str) -> str:
    return (
        f"{key} holds {kind}, and would be written to params.yaml, dvc.lock, the model and W&B; a key for downloads "
        "belongs into ~/.netrc or AWS's own settings"
    )


def _shown(key: str, value: Any) -> str:
    """Show a wrong value in a message, or its beginning, unless it is likely to be a key."""
    shown = "…" if names_secret(key) and isinstance(value, str) else redacted(repr(value))
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def _sentence(error: Any, values: dict[str, Any]) -> str:
    if error["type"] == "value_error":
        return redacted(str(error["ctx"]["error"]))
    location = [str(part) for part in error["loc"]]
    section, tag = location[0], None
    if location[1:2] == ["built-in"]:  # of data, which has a tag for which of these, too
        del location[1]
    if section in _VARIANT_KEYS and len(location) > 1 and _VARIANT_KEYS[section] != location[1]:
        tag = location.pop(1)
    if error["type"] == "union_tag_invalid":
        location.append(_VARIANT_KEYS[section])
        allowed = error["ctx"]["expected_tags"]
        return f"{'.'.join(location)} = {redacted(repr(error['ctx']['tag']))} is not allowed; allowed: {allowed}"
    if error["type"] == "union_tag_not_found":
        return f"{'.'.join([*location, _VARIANT_KEYS[section]])} is missing; choose one of conf/{section}/"
    if error["type"] == "model_attributes_type" or (error["type"] == "model_type" and section in _VARIANT_KEYS):
        found = _shown(section, error["input"])
        return f"{section} = {found} is no section; choose one of conf/{section}/, as in `-S {section}=NAME`"
    if (allowed := _IN_WORDS.get(".".join(location[:2]))) and error["type"] != "missing":
        shown = _shown(location[1], values[section][location[1]])
        return f"{section}.{location[1]} = {shown} is not allowed; it must be {allowed}"
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        return f"{key} = {_shown(key, error['input'])} is not a parameter{_nearest(location, tag)}"
    if error["type"] == "missing":
        return f"{key} is missing{_other_file(section, values) if len(location) > 1 else ''}"
    template = _ALLOWED.get(error["type"])
    allowed = template.format(**error.get("ctx", {})) if template else error["msg"]
    return f"{key} = {_shown(key, error['input'])} is not allowed; {allowed}"


def _other_file(section: str, values: dict[str, Any]) -> str:
    """Say how a section of several variants gets all keys that belong to the one it names."""
    if section not in _VARIANT_KEYS:
        return ""
    key = _VARIANT_KEYS[section]
    named = redacted(repr(values[section][key]))
    return f"; {section}.{key} = {named} needs it, and `-S {section}=NAME` takes all that one of conf/{section}/ has"


def _nearest(location: list[str], tag: str | None) -> str:
    """Name the known keys beside a wrong one, or the one that was meant, if it is clear."""
    model: Any = Params
    for part in location[:-1]:
        if not part.isdecimal():  # a place in a list
            annotation = model.model_fields[part].annotation
            model = _section(annotation, tag) if get_args(annotation) else annotation
    known = list(model.model_fields)
    near = difflib.get_close_matches(location[-1], known, n=1)
    return f"; did you mean {'.'.join([*location[:-1], near[0]])}?" if near else f"; allowed: {', '.join(known)}"


def _section(annotation: Any, tag: str | None) -> type[BaseModel] | None:
    """Find the class of a list's entries, or of several variants that of pydantic's tag: a Tag, or a name."""
    for variant in get_args(annotation):
        kind, *marks = get_args(variant) or (variant,)
        tags = [getattr(mark, "tag", None) for mark in marks]
        if get_args(kind) and (found := _section(kind, tag)):
            return found
        if not get_args(kind):
            names = [name for field in kind.model_fields.values() for name in get_args(field.annotation)]
            if tag is None or tag in (tags or names):
                return kind
    return None
