"""params.yaml is read and checked as a whole: what is needed, bounded, and said of a file that cannot be read."""

from typing import Any

import pytest

from lightline.config.load import check_params, load_params
from lightline.config.params import Params
from lightline.errors import ParameterError
from tests.support import ROOT
from tests.support.params import MISSING, RESNET18, VALUES, changed, complaint


def test_the_name_alone_of_another_variant_says_how_to_get_all_of_its_keys():
    line = complaint(changed(model__name="resnet18")).splitlines()[1]
    needs = "  model.stem is missing; model.name = 'resnet18' needs it, and `-S model=NAME` takes all that one of "
    assert line == f"{needs}conf/model/ has"


def test_everything_that_is_wrong_is_told_at_once():
    message = complaint(changed(seed=-1, trainer__max_epochs=0, typo=1, model__normalize="big"))
    assert message.startswith("params.yaml holds 4 parameters that cannot be used:\n")
    for key in ("seed = -1", "trainer.max_epochs = 0", "typo = 1", "model.normalize = 'big'"):
        assert f"\n  {key} " in message


def test_every_parameter_is_needed_and_no_other_is_taken():
    def leaves(values: dict, prefix: tuple = ()):
        for key, value in values.items():
            yield (*prefix, key)
            if isinstance(value, dict):
                yield from leaves(value, (*prefix, key))

    for path in leaves(VALUES):
        assert f"{'.'.join(path)} is missing" in complaint(changed(**{"__".join(path): MISSING}))
        renamed = "__".join((*path[:-1], f"{path[-1]}_"))
        assert "is not a parameter" in complaint(changed(**{renamed: 1}))


def test_every_number_text_and_list_has_an_upper_bound():
    """A bound is one that the schema tells of: of a number, of a text's or list's length, or a choice."""
    bounds = {
        "integer": {"maximum", "exclusiveMaximum"},
        "string": {"maxLength", "pattern", "enum", "const"},
        "array": {"maxItems"},
        "object": {"properties", "maxProperties"},
    }
    unbounded, seen = [], set()

    def look(node: Any, path: str) -> None:
        if isinstance(node, dict):
            if (kind := node.get("type")) in bounds:
                seen.add(kind)
                if not bounds[kind] & set(node):
                    unbounded.append(path)
            for key, value in node.items():
                look(value, f"{path}.{key}")
        elif isinstance(node, list):
            for number, value in enumerate(node):
                look(value, f"{path}.{number}")

    look(Params.model_json_schema(), "")
    assert unbounded == []
    assert seen == set(bounds)


def test_params_yaml_is_right_and_cannot_be_changed_afterwards(monkeypatch):
    monkeypatch.chdir(ROOT)
    params = load_params()
    assert params.model_dump(mode="json") == VALUES
    with pytest.raises(ValueError, match="frozen"):
        params.trainer.max_epochs = 3


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(ParameterError, match=r"params\.yaml is missing .*`make params` writes it from conf/"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: [1,", "is not valid YAML"),
        ("\tseed: 1", "is not valid YAML"),
        ("", "holds no sections"),
        ("- seed", "holds no sections"),
        ("just words", "holds no sections"),
    ],
)
def test_a_file_that_holds_no_parameters(text, said, tmp_path):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParameterError) as caught:
        load_params(tmp_path / "params.yaml")
    assert said in str(caught.value)
    assert "`make params` writes it anew" in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "sha256", "file"),
    [
        (None, None, None),
        ("DEFAULT", None, None),
        ("IMAGENET1K_V1", None, None),
        ("weights.pth", None, "weights.pth"),
        ("./weights", None, "./weights"),
        ("~/a b/weights", None, "~/a b/weights"),
        ("weights", "0" * 64, "weights"),
        ("s3://bucket/weights.safetensors", "0" * 64, "s3://bucket/weights.safetensors"),
        ("https://host/weights", f"sha256:{'A' * 64}", "https://host/weights"),
    ],
)
def test_weights_are_a_name_or_a_file(weights, sha256, file):
    model = RESNET18 | {"weights": weights, "weights_sha256": sha256}
    assert check_params(changed(model=model), "params.yaml").model.weights_file == file
