"""Checkpoints: what goes in comes out, equal content makes equal bytes, and nothing else is loaded."""

import io
import os
import pickle
import zipfile

import pytest
import torch

from lightline.errors import DataError
from lightline.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lightline.models.transforms import Preprocessing
from tests.support.samples import make_checkpoint, model_settings


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return make_checkpoint(model_settings("timm/test_resnet", input_size=32))


def test_it_comes_back_as_it_was(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path / "best.ckpt")
    loaded = load_checkpoint(tmp_path / "best.ckpt")
    for name in Checkpoint.__dataclass_fields__:
        if name != "state_dict":
            assert getattr(loaded, name) == getattr(checkpoint, name)
    assert list(loaded.state_dict) == list(checkpoint.state_dict)
    for name, value in checkpoint.state_dict.items():
        assert torch.equal(loaded.state_dict[name], value)
    assert loaded.preprocessing == Preprocessing(32, 1.0, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def test_its_network_is_the_trained_one_in_evaluation_mode(checkpoint):
    network = checkpoint.network()
    assert not network.training
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(images), checkpoint.network()(images))
    assert all(torch.equal(network.state_dict()[name], value) for name, value in checkpoint.state_dict.items())


def test_equal_content_makes_equal_bytes_under_any_name(checkpoint, tmp_path):
    other = make_checkpoint(model_settings("timm/test_resnet", input_size=32))
    save_checkpoint(checkpoint, tmp_path / "best.ckpt")
    save_checkpoint(other, tmp_path / "elsewhere" / "another name.ckpt")
    save_checkpoint(load_checkpoint(tmp_path / "best.ckpt"), tmp_path / "again.ckpt")
    content = (tmp_path / "best.ckpt").read_bytes()
    assert content == (tmp_path / "elsewhere" / "another name.ckpt").read_bytes()
    assert content == (tmp_path / "again.ckpt").read_bytes()
    assert str(tmp_path).encode() not in content


def test_other_weights_make_other_bytes(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path / "a.ckpt")
    name = next(iter(checkpoint.state_dict))
    changed = {**checkpoint.state_dict, name: checkpoint.state_dict[name] + 1}
    save_checkpoint(Checkpoint(**{**vars(checkpoint), "state_dict": changed}), tmp_path / "b.ckpt")
    assert (tmp_path / "a.ckpt").read_bytes() != (tmp_path / "b.ckpt").read_bytes()


class Command:
    """What a malicious pickle does: run a command where it is loaded."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "best.ckpt"
    torch.save({"format": 1, "state_dict": Command(f"touch {trace}")}, path)
    with pytest.raises(DataError, match="no checkpoint that can be read safely"):
        load_checkpoint(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the trap itself works
    assert trace.exists()


def test_code_in_a_plain_pickle_is_refused_and_not_run(tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "best.ckpt"
    path.write_bytes(pickle.dumps({"format": 1, "state_dict": Command(f"touch {trace}")}))
    with pytest.raises(DataError, match="no checkpoint that can be read safely"):
        load_checkpoint(path)
    assert not trace.exists()


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def empty(content: bytes) -> bytes:
    return b""


def text(content: bytes) -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\n"


def another_zip(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "a")
    return buffer.getvalue()


@pytest.mark.parametrize("damage", [truncated, empty, text, another_zip])
def test_a_damaged_file_is_said_to_be_one(damage, checkpoint, tmp_path):
    path = tmp_path / "best.ckpt"
    save_checkpoint(checkpoint, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        DataError, match=r"best\.ckpt is no checkpoint that can be read safely \(.+\); `dvc repro"
    ) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"format": 0}, [1, 2], torch.zeros(2)], ids=type)
def test_what_another_program_wrote_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "best.ckpt")
    with pytest.raises(DataError, match="not written by this version of Lightline"):
        load_checkpoint(tmp_path / "best.ckpt")


@pytest.mark.parametrize(
    "change",
    [
        {"_instantiator": "os.system"},
        {"hyper_parameters": {"_instantiator": "os.system", "_class_path": "os.system"}},
        {"params": {"model": {"_instantiator": "os.system"}}},
        {"params": {"model": model_settings().model_dump() | {"_target_": "os.system"}}},
        {"params": {}},
        {"preprocessing": {"input_size": 16, "_target_": "os.system"}},
        {"preprocessing": None},
        {"classes": "abc"},
        {"state_dict": {"a": "text"}},
        {"epoch": None},
    ],
    ids=str,
)
def test_a_checkpoint_with_more_or_other_content_is_refused(change, checkpoint, tmp_path):
    path = tmp_path / "best.ckpt"
    save_checkpoint(checkpoint, path)
    load_checkpoint(path)
    torch.save(torch.load(path, weights_only=True) | change, path)
    with pytest.raises(DataError, match=r"best\.ckpt was not written by this version of Lightline; `dvc repro train`"):
        load_checkpoint(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"best\.ckpt is missing; `dvc repro train` writes it"):
        load_checkpoint(tmp_path / "best.ckpt")


def test_a_failed_save_leaves_the_old_checkpoint(checkpoint, tmp_path):
    path = tmp_path / "best.ckpt"
    save_checkpoint(checkpoint, path)
    before = path.read_bytes()
    unsaveable = {name: lambda: None for name in checkpoint.state_dict}
    with pytest.raises((pickle.PicklingError, AttributeError)):
        save_checkpoint(Checkpoint(**{**vars(checkpoint), "state_dict": unsaveable}), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["best.ckpt"]
