"""What training starts from: files of weights, where they lie, and what of them stands in results."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lightline.config.params import Params
from lightline.errors import DataError
from lightline.models.build import build_network
from lightline.models.checkpoint import BEST, load_checkpoint
from lightline.models.weights import weights_configuration
from lightline.runtime.fetch.fetch import FetchError
from stages.source.__main__ import main as look_at_source
from stages.train.fingerprint import fingerprint, ingredients
from stages.train.fit import prepare
from stages.train.start import Start, start
from tests.support.serving import Server
from tests.support.source_settings import FETCH, STRICT
from tests.support.tiny import tiny_params, tiny_task, train

RESNET = {
    "name": "timm/test_resnet",
    "weights": None,
    "weights_sha256": None,
    "input_size": 32,
    "crop_pct": 1.0,
    "normalize": "dataset",
    "stem": "standard",
    "test_time_augmentation": "none",
}


@pytest.fixture(autouse=True)
def repository(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LIGHTLINE_ORIGIN", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return own_folder


def save_weights(path: Path, seed: int = 1) -> str:
    """Weights of test_resnet for seven classes; gives the SHA-256 of the file."""
    torch.manual_seed(seed)
    network = build_network(tiny_params(model=RESNET).model, 7)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def params_with(weights: str | Path, sha256: str | None = None, **changes: Any) -> Params:
    return tiny_params(model=RESNET | {"weights": str(weights), "weights_sha256": sha256}, **changes)


def begun(weights: str | Path, sha256: str | None = None) -> Start:
    return start(params_with(weights, sha256), 3)


def test_a_path_is_the_user_s_repository_s_and_results_know_its_name_and_digest(repository: Path, monkeypatch):
    sha256 = save_weights(repository / "kept/weights.pth")
    copy = repository / "copy"
    copy.mkdir()
    monkeypatch.chdir(copy)  # as in a queued experiment
    monkeypatch.setenv("DVC_ROOT", str(repository))
    found = begun("kept/weights.pth")
    assert found.params.model.weights == "weights.pth"
    assert found.params.model.weights_sha256 == sha256
    assert begun(repository / "kept/weights.pth").weights == found.weights


def test_a_finished_training_holds_no_path_and_is_found_again(repository: Path):
    save_weights(repository / "kept/weights.pth")
    train(params_with(repository / "kept/weights.pth", trainer__max_epochs=1))
    assert str(repository).encode() not in BEST.read_bytes()
    checkpoint = load_checkpoint(BEST)
    assert checkpoint.params["model"]["weights"] == "weights.pth"
    shutil.rmtree("kept")
    checkpoint.network()  # needs no file


def identity(found: Start) -> dict[str, Any]:
    task = tiny_task(tiny_params())
    return ingredients(found.params, task.dataset, task.splits, 1, found.weights)


def test_the_fingerprint_has_what_the_weights_are_and_not_where_they_lie(repository: Path):
    sha256 = save_weights(Path("one/weights.pth"))
    shutil.copytree("one", "two")
    save_weights(Path("three/weights.pth"), seed=2)
    one, two, three = (identity(begun(f"{name}/weights.pth")) for name in ("one", "two", "three"))
    assert one == two
    assert one == identity(begun("two/weights.pth", sha256))
    assert one["weights"] != three["weights"]
    assert fingerprint(one) != fingerprint(three)
    assert "timm" in one["versions"]
    assert identity(start(tiny_params(), 3))["weights"] is None


def test_the_same_weights_in_another_container_are_the_same(repository: Path):
    save_weights(Path("weights.pth"))
    torch.save({"state_dict": torch.load("weights.pth", weights_only=True)}, "other.pth")
    assert begun("weights.pth").weights == begun("other.pth").weights


@pytest.mark.parametrize("name", ["nowhere/weights.pth", "."])
def test_what_is_no_file_is_said_with_where_it_would_have_to_lie(name: str, repository: Path):
    for look in (lambda: begun(name), lambda: look_at_source(params_with(name))):
        with pytest.raises(DataError, match=rf"model\.weights = '{name}' is no file .* lie at {repository}"):
            look()


def test_another_file_than_was_meant_is_refused(repository: Path):
    sha256 = save_weights(Path("weights.pth"))
    begun("weights.pth", sha256)
    with pytest.raises(DataError, match=rf"has SHA-256 {sha256}, but model\.weights_sha256 = 000"):
        begun("weights.pth", "0" * 64)


def folder_of(fetch: dict[str, Any]) -> dict[str, Any]:
    limits = {"max_rejected": 0, "max_pixels": 1000, "bit_depth": "auto", "corrections": None}
    return {"source": "folder", "path": "photos", "sha256": None, "split_folders": "auto", "fetch": fetch} | limits


def test_a_url_is_fetched_once_by_data_fetch_s_rules(server: Server, repository: Path, capfd):
    sha256 = save_weights(Path("weights.pth"))
    server.answers = [(200, Path("weights.pth").read_bytes())]
    url = f"{server.url}/some/weights.pth?id=1"
    params = params_with(url, sha256, data=folder_of(FETCH))
    found = start(params, 3)
    assert found.params.model.weights == "weights.pth"
    assert found.weights == start(params, 3).weights == begun("weights.pth").weights
    assert server.requests == ["/some/weights.pth?id=1"]
    assert (repository / ".lightline/downloads" / sha256).exists()

    strict = params.model_copy(update={"data": params.data.model_copy(update={"fetch": STRICT})})
    shutil.rmtree(".lightline")
    with pytest.raises(FetchError, match="http is not encrypted"):
        start(strict, 3)
    private = STRICT.model_copy(update={"allow_http": True})
    with pytest.raises(FetchError, match=r"127\.0\.0\.1, an address of this machine"):
        start(params.model_copy(update={"data": params.data.model_copy(update={"fetch": private})}), 3)


def test_beside_a_source_that_downloads_nothing_the_strictest_rules_hold(server: Server):
    params = params_with(f"{server.url}/weights.pth".replace("http", "https"), "0" * 64)
    assert not params.fetch.allow_http
    with pytest.raises(FetchError, match=r"127\.0\.0\.1, an address of this machine"):
        start(params, 3)
    assert not server.requests


def test_source_notices_another_file(repository: Path):
    def told(**keys: Any) -> Any:
        look_at_source(tiny_params(model=RESNET | keys))
        return json.loads(Path("data/weights.json").read_text())

    first = save_weights(Path("weights.pth"))
    assert told(weights="./weights.pth") == {"sha256": first}
    assert told(weights=str(repository / "weights.pth")) == {"sha256": first}
    second = save_weights(Path("weights.pth"), seed=2)
    assert told(weights="./weights.pth") == {"sha256": second}
    assert told() == told(weights="DEFAULT") == {"sha256": None}
    # Known beforehand, it need not be here, nor fetched, where nothing is to be trained.
    for place in ("nowhere/weights.pth", "https://127.0.0.1:1/weights.pth"):
        assert told(weights=place, weights_sha256=first) == {"sha256": first}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda whole: whole[:-9], r"weights is damaged: it has [\d,]+ bytes, and its header tells of [\d,]+"),
        (lambda whole: whole[:30], "weights is damaged: its header cannot be read"),
        (lambda whole: whole + b"x", "weights is damaged: it has"),
        (lambda whole: b"", "begins with b''"),
        (lambda whole: b"no weights at all", "begins with b'no weight'"),
    ],
)
def test_source_sees_at_once_what_is_no_whole_file_of_weights(repository: Path, content: Any, message: str):
    save_file({"a": torch.zeros(3)}, "whole.safetensors")
    Path("weights").write_bytes(content(Path("whole.safetensors").read_bytes()))
    with pytest.raises(DataError, match=message):
        look_at_source(tiny_params(model=RESNET | {"weights": "./weights"}))


def test_source_takes_all_that_can_be_weights(repository: Path):
    save_file({"a": torch.zeros(3)}, "new.safetensors")
    torch.save({"a": torch.zeros(3)}, "zip.pth")
    torch.save({"a": torch.zeros(3)}, "legacy.pth", _use_new_zipfile_serialization=False)
    for name in ("new.safetensors", "zip.pth", "legacy.pth"):
        look_at_source(tiny_params(model=RESNET | {"weights": f"./{name}"}))


def test_what_is_left_to_the_weights_becomes_their_numbers(repository: Path):
    open_ends = {"input_size": None, "crop_pct": None, "normalize": "weights"}
    task = tiny_task(tiny_params(model=RESNET | open_ends))
    settings = task.params.model
    assert (settings.input_size, settings.crop_pct) == (160, 0.95)
    data, _ = prepare(task)
    assert data.preprocessing == weights_configuration(settings)
    assert data.train.transform.input_size == 160

    chosen = {"input_size": 64, "crop_pct": 0.5, "normalize": "weights"}
    efficient = {"name": "timm/tf_efficientnet_lite0"}
    task = tiny_task(tiny_params(model=RESNET | chosen | efficient))
    data, _ = prepare(task)
    assert (data.preprocessing.input_size, data.preprocessing.crop_pct) == (64, 0.5)
    assert data.preprocessing.mean == (0.5, 0.5, 0.5)
    assert data.preprocessing.interpolation == data.train.transform.interpolation == "bicubic"


def test_a_first_layer_that_was_read_is_not_fitted_to_the_images_again(repository: Path):
    values = tiny_params().model.model_dump() | {"name": "airbench", "widths": [32, 64, 64], "depths": [2, 2, 2]}
    train(tiny_params(model=values, trainer__max_epochs=1))
    kept = load_checkpoint(BEST).state_dict
    _, module = prepare(tiny_task(tiny_params(model=values | {"weights": str(BEST)}, seed=7)))
    assert torch.equal(module.network.stem.weight, kept["stem.weight"])
