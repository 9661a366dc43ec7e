"""conf/ as Hydra composes it, and how values that differ from it are written: as choices of groups, and values beside.

Hydra takes a second to load, so it is loaded where it is used.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lightline.errors import LightlineError

CONF = Path("conf")
RECIPE = "recipe"  # the group whose choices set values of all the others
WITHOUT_RECIPE = f"{RECIPE}=none"
CONFIG = "config.yaml"
RECIPE_LINE = re.compile(
    rf"(?m)^(\s*-\s*{RECIPE}\s*:\s*)([^\s#]+)"
)  # in config.yaml: what stands before, and the choice

Change = tuple[str, Any, Any]  # dotted key, value before, value now; None where there is none


class CompositionError(LightlineError):
    """conf/ does not compose, or never to the values that are wanted."""


@dataclass(frozen=True)
class Explanation:
    """How conf/ composes to certain values.

    Attributes:
        choices: by group, the one to take instead.
        values: nested as in params.yaml, what is different then.
    """

    choices: dict[str, str]
    values: dict[str, Any]

    def overrides(self, known: dict[str, Any]) -> list[str]:
        """Write the choices and values in Hydra's grammar, one an item; with ++ what is not among the known values."""
        there = flat(known)
        return [
            *(f"{group}={choice}" for group, choice in self.choices.items()),
            *(f"{'' if key in there else '++'}{key}={_grammar(value)}" for key, value in _assignments(self.values)),
        ]


def compose(overrides: Sequence[str] = (), conf: Path = CONF) -> dict[str, Any]:
    """Compose the values that `dvc exp run` would write into params.yaml.

    Raises:
        CompositionError: Hydra cannot; the message is its own.
    """
    return yaml.safe_load(composed_text(overrides, conf))


def composed_text(overrides: Sequence[str] = (), conf: Path = CONF) -> str:
    """Compose the text that `dvc exp run` would write into params.yaml."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(conf.resolve()), version_base=None):
            config = hydra_compose("config", list(overrides))
        OmegaConf.resolve(config)
        return OmegaConf.to_yaml(config)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise CompositionError(f"{conf} cannot be composed: {' '.join(str(error).split())}") from None


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[Change]:
    """List what changed, by dotted key."""
    old, new = flat(before), flat(now)
    return [(key, old.get(key), new.get(key)) for key in {**old, **new} if not _same(old, new, key)]


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Give values by dotted key; a list is one value, as is a section without keys."""
    if not isinstance(values, dict) or not values:
        return {prefix: values} if prefix else {}
    return {
        name: value
        for key, item in values.items()
        for name, value in flat(item, f"{prefix}.{key}" if prefix else str(key)).items()
    }


def explain(values: dict[str, Any], basis: Sequence[str] = (), conf: Path = CONF) -> Explanation:
    """Explain how conf/, composed with the overrides `basis`, comes to these values, in as few lines as it can."""
    composed = compose(basis, conf)
    choices = {}
    for group in [group for group in composed if (conf / group).is_dir()]:
        wanted = values.get(group)
        sections = {path.stem: _load(path) for path in sorted((conf / group).glob("*.yaml"))}
        # A choice costs a line, as a value does; between two that cost the same, the one that leaves no value.
        costs = {choice: _cost(section, wanted, 1) for choice, section in sections.items()}
        best = min(costs, key=lambda choice: costs[choice], default=None)
        if best is not None and costs[best] < _cost(composed[group], wanted, 0):
            choices[group] = best
            composed[group] = sections[best]
    return Explanation(choices, _changed(composed, values))


def overrides_for(values: dict[str, Any], conf: Path = CONF) -> list[str]:
    """Find the overrides with which `dvc exp run -S …` composes conf/ to these values; none where it does so by itself.

    Raises:
        CompositionError: there are none.
    """
    bases = [[], [f"{RECIPE}={nearest_recipe(values, conf)}"], [WITHOUT_RECIPE]]
    distances = [len(differences(compose(basis, conf), values)) for basis in bases]
    if distances[0] == 0:
        return []
    for _, basis in sorted(zip(distances, bases, strict=True), key=lambda pair: pair[0]):
        explained = explain(values, basis, conf)
        chosen = [f"{group}={choice}" for group, choice in explained.choices.items()]
        overrides = [*basis, *explained.overrides(compose([*basis, *chosen], conf))]
        if not differences(compose(overrides, conf), values):
            return overrides
    raise CompositionError(f"{conf}/ cannot compose to params.yaml as it stands: they are of different versions.")


def setting_file(section: str, choice: str, key: str, conf: Path = CONF) -> Path:
    """Find the file of conf/ to edit a value in: the chosen recipe's, where that sets it, else the group's."""
    config = conf / CONFIG
    chosen = RECIPE_LINE.search(config.read_text(encoding="utf-8")) if config.exists() else None
    if chosen:
        recipe = conf / RECIPE / f"{chosen[2]}.yaml"
        if recipe.exists() and key in (_load(recipe).get(section) or {}):
            return recipe
    return conf / section / f"{choice}.yaml"


def nearest_recipe(values: dict[str, Any], conf: Path = CONF) -> str:
    """Find the recipe that sets the most of these values as they are, less those that it sets otherwise."""
    wanted = flat(values)

    def agreeing(path: Path) -> int:
        own = flat(_load(path))
        return sum(1 if _same(own, wanted, key) else -1 for key in own)

    recipes = sorted((conf / RECIPE).glob("*.yaml"), key=lambda path: path.stem != WITHOUT_RECIPE.partition("=")[2])
    return max(recipes, key=agreeing).stem if recipes else "none"


def _load(path: Path) -> dict[str, Any]:
    """Read what a file of conf/ and those of its group it builds on hold; not what it chooses from other groups."""
    from omegaconf import OmegaConf

    own: Any = OmegaConf.to_container(OmegaConf.load(path)) or {}
    for name in own.pop("defaults", []):
        if isinstance(name, str) and (path.parent / f"{name}.yaml").exists():
            own = _merged(_load(path.parent / f"{name}.yaml"), own)
    return own


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    return below | {
        key: _merged(below[key], value) if isinstance(value, dict) and isinstance(below.get(key), dict) else value
        for key, value in above.items()
    }


def _cost(section: Any, wanted: Any, lines: int) -> tuple[int, int, int]:
    """Count keys too many, for a section is merged into and never loses one; lines to write; values among them."""
    here, there = flat(section), flat(wanted)
    values = sum(not _same(here, there, key) for key in there)
    too_many = sum(not any(_is_part(key, other) or _is_part(other, key) for other in there) for key in here)
    return too_many, lines + values, values


def _is_part(key: str, other: str) -> bool:
    return f"{key}.".startswith(f"{other}.")


def _same(old: dict[str, Any], new: dict[str, Any], key: str) -> bool:
    return key in old and key in new and not _differ(old[key], new[key])


def _differ(one: Any, other: Any) -> bool:
    """Tell whether two values differ: 1, 1.0 and true are three values."""
    return one != other or repr(one) != repr(other)


def _changed(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return the part of `now` that is not so in `before`, nested as it is."""
    found = {}
    for key, value in now.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := _changed(old, value):
                found[key] = inner
        elif key not in before or _differ(old, value):
            found[key] = value
    return found


def _assignments(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """List dotted keys with what to assign; a section in which a key could not be part of one is assigned whole."""
    found = []
    for key, value in values.items():
        if isinstance(value, dict) and value and all(re.fullmatch(r"[A-Za-z_]\w*", str(name)) for name in value):
            found += _assignments(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found


def _grammar(value: Any) -> str:
    """Write a value as Hydra's overrides have it."""
    from hydra.core.override_parser.types import Quote, QuotedString

    if isinstance(value, dict):
        return "{" + ",".join(f"{_grammar(key)}:{_grammar(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{','.join(map(_grammar, value))}]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if not isinstance(value, str):
        return repr(value)
    if re.fullmatch(r"[A-Za-z_/][\w./-]*", value, re.ASCII) and value.lower() not in (
        "null",
        "true",
        "false",
        "nan",
        "inf",
    ):
        return value
    return QuotedString(value.replace("${", r"\${"), Quote.double).with_quotes()
