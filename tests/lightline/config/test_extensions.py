"""Names in extensions/: found without running anything there, and what is said of wrong ones."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lightline.config.extensions import registered
from lightline.config.load import check_params
from lightline.errors import ParameterError
from tests.support import ROOT

VALUES = yaml.safe_load((ROOT / "params.yaml").read_text())
USES = "from lightline.extensions import {kind}\nraise SystemExit('this has been run')\n"
NAMES = {
    "model": ("model", "name", "my_net"),
    "source": ("data", "source", "my_source"),
    "callback": ("trainer", "callbacks", ["my_callback"]),
    "augmentation": ("augment", "transforms", ["my_augmentation"]),
    "metric": ("evaluate", "metrics", ["my_metric"]),
}


@pytest.fixture(autouse=True)
def folder(own_folder: Path) -> Path:
    return own_folder / "extensions"


def write(kind: str, code: str, name: str = "mine.py") -> None:
    file = Path("extensions", f"{kind}s", name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"from lightline.extensions import {kind}\n\n\n{code}")


def chosen(kind: str, value: Any = None, **more: Any) -> dict[str, Any]:
    """params.yaml's values with an extension chosen; more: of its section."""
    section, key, name = NAMES[kind]
    values = copy.deepcopy(VALUES)
    values[section] |= {key: name if value is None else value, **more}
    return values


def complaint(values: dict[str, Any]) -> str:
    with pytest.raises(ParameterError) as caught:
        check_params(values, "params.yaml")
    return str(caught.value)


@pytest.mark.parametrize("kind", NAMES)
def test_a_name_is_found_without_running_its_file(kind):
    section, key, name = NAMES[kind]
    name = name if isinstance(name, str) else name[0]
    write(kind, f'raise SystemExit\n\n\n@{kind}("{name}")\nclass My:\n    pass\n')
    found = check_params(chosen(kind), "params.yaml").model_dump(mode="json")[section]
    expected = {"name": name, "settings": {}}
    assert found[key] == (name if kind in ("model", "source") else [expected])
    assert registered(kind) == {name: f"My of extensions/{kind}s/mine.py:8"}


@pytest.mark.parametrize("kind", NAMES)
def test_a_wrong_name_lists_what_there_is(kind):
    section, key, name = NAMES[kind]
    write(kind, f'@{kind}("near_{kind}")\ndef make():\n    pass\n')
    wrong = f"neer_{kind}"
    told = complaint(chosen(kind, [wrong] if isinstance(name, list) else wrong))
    start = f"  {section}.{key} = '{wrong}' is no known {kind}; did you mean near_{kind}? allowed: near_{kind}"
    line = told.splitlines()[1]
    assert line.startswith(start)
    assert line == start or kind in ("model", "source")


def test_where_there_is_none_the_folder_is_named():
    told = complaint(chosen("callback"))
    assert (
        "trainer.callbacks = 'my_callback' is no known callback; allowed: none, for extensions/callbacks/ reg" in told
    )


@pytest.mark.parametrize(
    "name",
    ["os.system", "extensions.models.mine", "mine.My", "models/mine", "../mine", "mine.py", "_target_", "My", ""],
)
def test_a_name_leads_nowhere_else(name):
    for kind in NAMES:
        write(kind, f'@{kind}("my_net")\nclass My:\n    pass\n')
        value = name if isinstance(NAMES[kind][2], str) else [name]
        assert f"= {name!r} is no known {kind}" in complaint(chosen(kind, value))
        if isinstance(value, list):
            assert "._target_ = 'os.system' is not a parameter" in complaint(
                chosen(kind, [{"name": "my_net", "_target_": "os.system"}])
            )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def (", "extensions/models/mine.py:4: this is no Python: invalid syntax"),
        ("\0", "extensions/models/mine.py:"),
        (
            "@model(NAME)\nclass My:\n    pass\n",
            "My of extensions/models/mine.py:5: the name must stand there as a plain ",
        ),
        ("@model('a.b')\nclass My:\n    pass\n", 'as in @model("my_model")'),
        ("@model\nclass My:\n    pass\n", 'as in @model("my_model")'),
        ("@model()\nclass My:\n    pass\n", 'as in @model("my_model")'),
        (
            "@model('a')\nclass My:\n    pass\n\n\n@model('a')\ndef other():\n    pass\n",
            "other of extensions/models/mine.py:10: there is a model 'a' already: My of extensions/models/mine.py:5.",
        ),
        ("@model('cnn')\nclass My:\n    pass\n", "there is a model 'cnn' already: built in. Rename one."),
        ("@model('resnet18')\nclass My:\n    pass\n", "there is a model 'resnet18' already: built in. Rename one."),
    ],
)
def test_what_cannot_be_registered_is_named_with_its_line_whatever_is_chosen(code, said):
    write("model", code)
    assert said in complaint(VALUES)


def test_two_files_of_one_name():
    write("source", "@source('a')\nclass My:\n    pass\n")
    write("source", "@source('a')\nclass My:\n    pass\n", "inner/other.py")
    said = (
        "My of extensions/sources/mine.py:5: there is a source 'a' already: My of extensions/sources/inner/other.py:5"
    )
    assert said in complaint(VALUES)


def test_another_decorator_and_a_hidden_file_are_none_of_ours():
    write(
        "model",
        "@model.setter\ndef a():\n    pass\n\n@models('a')\ndef b():\n    pass\n\n@a.model('b')\nclass C:\n    pass\n",
    )
    write("model", "def (", ".ipynb_checkpoints/mine-checkpoint.py")
    assert registered("model") == {"b": "C of extensions/models/mine.py:13"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"width": {"a": 1}},
            "settings.width = {'a': 1} is not allowed; it must be a number, a text, true, false, null or",
        ),
        (
            {"width": [[1]]},
            "settings.width = [[1]] is not allowed; it must be a number, a text, true, false, null or a li",
        ),
        ({"width": float("nan")}, "settings.width = nan is not allowed; it must be a number"),
        ({"width": "x" * 5000}, "is not allowed; it must be a number, a text, "),
        ({"width": [1] * 2000}, "is not allowed; it must be a number, a text, "),
        ({"_target_": "os.system"}, "is not allowed; it must match ^[A-Za-z]"),
        ({"a.b": 1}, "is not allowed; it must match ^[A-Za-z]"),
        ({f"a{number}": 1 for number in range(101)}, "it must have at most 100 items"),
        ([1], "settings = [1] is not allowed; it must be a section with keys of its own"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["model", "source", "callback"])
def test_settings_are_plain(settings, said, kind):
    write(kind, f'@{kind}("{NAMES[kind][2] if kind != "callback" else "my_callback"}")\nclass My:\n    pass\n')
    values = (
        chosen(kind, settings=settings)
        if kind != "callback"
        else chosen(kind, [{"name": "my_callback", "settings": settings}])
    )
    told = complaint(values)
    assert said in told
    assert len(told.splitlines()) == 3
    assert told.splitlines()[1].startswith(
        {"model": "  model.settings", "source": "  data.settings", "callback": "  trainer.callbacks.0.settings"}[kind]
    )


def test_settings_are_kept_as_they_are():
    write("model", '@model("my_net")\nclass My:\n    pass\n')
    settings = {"a": 1, "b": 1.0, "c": True, "d": None, "e": "x", "f": [1, 2.5, "y", None]}
    found = check_params(chosen("model", settings=settings), "params.yaml").model_dump(mode="json")["model"]["settings"]
    assert repr(found) == repr(settings)


def test_a_key_too_many_is_named_beside_those_of_an_extension():
    write("model", '@model("my_net")\nclass My:\n    pass\n')
    told = complaint(chosen("model", setings={}))
    assert "model.setings = {} is not a parameter; did you mean model.settings?" in told


def test_what_is_edited_while_a_process_runs_is_not_looked_at():
    write("model", '@model("my_net")\nclass My:\n    pass\n')
    params = check_params(chosen("model"), "params.yaml")
    write("model", "def (")
    assert params.model_dump(mode="json")["model"]["name"] == "my_net"
    assert check_params(chosen("model"), "params.yaml") == params


def test_config_loads_no_torch_to_find_a_name():
    write("model", 'import torch\n\n\n@model("my_net")\nclass My:\n    pass\n')
    Path("params.yaml").write_text(yaml.safe_dump(chosen("model")))
    code = "from lightline.config.load import load_params; load_params(); import sys; print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
