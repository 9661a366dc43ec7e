"""Of a training's states the last two are kept; a damaged one, or one of another training, is told and not used."""

import subprocess
from pathlib import Path

import pytest

from lightline.runtime.training_folder import training_folder
from stages.train.state_files import newest_state
from tests.support.interrupted import outputs
from tests.support.tiny import tiny_params, train

pytestmark = pytest.mark.usefixtures("own_folder")
FOLDER = Path(".lightline/training") / ("f" * 64)


def test_two_states_are_kept_each_with_its_digest(steps):
    steps.stopped(tiny_params(checkpoint__every_n_train_steps=1), at=3)
    names = [f"step-00000000{step}.ckpt{end}" for step in (2, 3) for end in ("", ".sha256")]
    assert sorted(path.name for path in FOLDER.iterdir()) == ["ingredients.json", *names]
    done = subprocess.run(
        ["sha256sum", "--check", *sorted(p.name for p in FOLDER.glob("*.sha256"))], cwd=FOLDER, check=False
    )
    assert done.returncode == 0


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-9], lambda content: content + b"x"])
def test_a_damaged_state_is_named_and_the_one_before_used(damage, steps, capsys):
    params = tiny_params(checkpoint__every_n_train_steps=1)
    train(params)
    expected = outputs()
    steps.stopped(params, at=3)
    newest = FOLDER / "step-000000003.ckpt"
    newest.write_bytes(damage(newest.read_bytes()))
    steps.taken.clear()
    train(params)
    assert steps.taken[0] == 2
    assert f"warning: {newest.resolve()} is damaged and left out" in capsys.readouterr().err
    assert outputs() == expected


def test_without_any_good_state_it_starts_from_the_beginning(steps, capsys):
    params = tiny_params(checkpoint__every_n_train_steps=1)
    train(params)
    expected = outputs()
    steps.stopped(params, at=3)
    for digest in FOLDER.glob("*.sha256"):
        digest.unlink()
    steps.taken.clear()
    train(params)
    assert steps.taken[0] == 0
    assert capsys.readouterr().err.count("is damaged") == 2
    assert outputs() == expected


def test_another_fingerprint_starts_afresh_and_says_what_differs(steps, capsys):
    params = tiny_params(checkpoint__every_n_train_steps=1)
    steps.stopped(params, at=3)
    changed = tiny_params(optimizer__lr=0.5, seed=7)
    with training_folder("e" * 64, changed.model_dump(mode="json")) as other:
        assert newest_state(other) is None
    told = capsys.readouterr().out
    assert f"starting from the beginning: unfinished training in {FOLDER.resolve()} differs in" in told
    assert "seed, optimizer.lr, checkpoint.every_n_train_steps" in told
    assert newest_state(FOLDER) is not None
