"""Whether a run goes to W&B's server."""

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import wandb

from lightline.runtime.tracking_mode import _MODES, chosen_mode
from tests.support.tiny import tiny_params

KEY = "k" * 40


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home and repository in one folder, without netrc and settings."""
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LIGHTLINE_ORIGIN", str(tmp_path))
    return tmp_path


def mode(setting: str) -> str:
    return chosen_mode(tiny_params(tracking__mode=setting).tracking)


@pytest.mark.parametrize(
    ("variable", "setting", "key", "expected"),
    [
        (None, "auto", None, "offline"),
        (None, "auto", KEY, "online"),
        (None, "offline", KEY, "offline"),
        (None, "disabled", KEY, "disabled"),
        ("disabled", "online", None, "disabled"),
        ("offline", "online", KEY, "offline"),
        ("online", "disabled", None, "online"),
        ("dryrun", "auto", KEY, "offline"),
        ("run", "auto", None, "online"),
        ("shared", "offline", None, "online"),
        ("", "auto", KEY, "online"),
    ],
)
def test_where_a_run_goes(monkeypatch, variable, setting, key, expected, capsys):
    for name, value in (("WANDB_MODE", variable), ("WANDB_API_KEY", key)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert mode(setting) == expected
    assert capsys.readouterr().err == ""


def test_every_mode_that_wandb_knows_is_known():
    assert set(get_args(wandb.Settings.model_fields["mode"].annotation)) == set(_MODES)


@pytest.mark.parametrize("variable", ["ofline", "Online", "0", "false", "dry run"])
def test_a_mode_that_nobody_knows_is_offline_and_told(monkeypatch, variable, capsys):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", variable)
    assert mode("online") == "offline"
    assert f"warning: WANDB_MODE is {variable!r}, which W&B does not know" in capsys.readouterr().err
    assert os.environ["WANDB_MODE"] == "offline"  # what W&B starts with


@pytest.mark.parametrize("switch", ["offline", "disabled"])
def test_the_switch_of_wandb_s_own_command_holds_in_the_repository_and_its_clones(home, switch, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    subprocess.run([sys.executable, "-m", "wandb", switch], cwd=home, check=True, capture_output=True)
    assert mode("online") == switch
    assert mode("disabled") == "disabled"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert mode("auto") == "online"


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        (".config/wandb/settings", "[default]\nmode = offline\n", "offline"),
        (".config/wandb/settings", "[default]\nmode = dryrun\n", "offline"),
        ("elsewhere/settings", "[default]\nmode = disabled\n", "disabled"),
        (".wandb/settings", "[default]\nmode = offline\n", "offline"),
        ("wandb/settings", "[default]\nmode = ofline\n", "offline"),
        ("wandb/settings", "mode = offline\n", "offline"),  # W&B cannot read this either
        ("wandb/settings", "[default]\nentity = me\n", "online"),
        ("wandb/settings", "", "online"),
    ],
)
def test_wandb_s_settings_files_hold(home, file, content, expected, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    if file.startswith("elsewhere"):
        monkeypatch.setenv("WANDB_CONFIG_DIR", str(home / "elsewhere"))
    (home / file).parent.mkdir(parents=True)
    (home / file).write_text(content)
    assert mode("auto") == expected


def test_no_settings_file_sends_what_the_parameter_keeps(home):
    (home / "wandb").mkdir()
    (home / "wandb" / "settings").write_text("[default]\nmode = online\n")
    assert mode("auto") == mode("offline") == "offline"
    assert mode("disabled") == "disabled"


def test_a_key_in_netrc_counts(home):
    (home / ".netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    (home / ".netrc").chmod(0o600)
    assert mode("auto") == "online"
