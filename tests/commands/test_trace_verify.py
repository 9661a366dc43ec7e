"""`python -m lightline trace --verify`: digests and fingerprints that hold, and those that do not."""

import json
from pathlib import Path

from commands.tracing.verification import agrees
from lightline.files import content_digest


def test_every_digest_holds_and_a_changed_one_does_not(changed, trace):
    status, found = trace("models/model.onnx", "--json", "--verify")
    assert status == 0
    assert {check["holds"] for check in found["verified"]} == {True}
    assert len(found["verified"]) > 40
    md5 = next(
        line for line in Path("dvc.lock").read_text().split("reports/train/history.csv")[1].split() if len(line) == 32
    )
    damaged = Path(".dvc/cache/files/md5", md5[:2], md5[2:])
    damaged.chmod(0o644)
    content = bytearray(damaged.read_bytes())
    content[100] ^= 1
    damaged.write_bytes(content)
    status, told = trace("models/model.onnx", "--verify")
    assert status == 1
    (line,) = [line for line in told.splitlines() if "DOES NOT HOLD" in line]
    assert line.endswith("reports/train/history.csv is what dvc.lock says")
    damaged.unlink()
    Path("reports/train/history.csv").unlink()
    status, told = trace("models/model.onnx", "--verify")
    assert (status, "not here      reports/train/history.csv" in told) == (0, True)
    assert told.endswith("0 do not, 1 could not be looked at.\n")


def test_what_training_chose_itself_is_no_contradiction():
    written = {"name": "timm/x", "weights": "s3://b/some/x.safetensors", "weights_sha256": None, "input_size": None}
    used = {**written, "weights": "x.safetensors", "weights_sha256": "a" * 64, "input_size": 224}
    assert agrees(written, used)
    assert not agrees({**written, "name": "timm/y"}, used)
    assert not agrees({**written, "weights": "y.safetensors"}, used)
    assert not agrees({**written, "input_size": 160}, used)
    assert not agrees({"name": "timm/x"}, used)


def test_a_fingerprint_that_is_not_of_its_ingredients_or_code_is_noticed(changed, trace):
    file = Path("reports/train/fingerprint.json")
    known = json.loads(file.read_text())
    del known["fingerprint"]
    known["code"]["stages/train/fit.py"] = "0" * 64
    for fingerprint, wrong in (
        ("f" * 64, "that of its ingredients"),
        (content_digest(known), "but for stages/train/fit.py"),
    ):
        file.unlink()
        file.write_text(json.dumps({"fingerprint": fingerprint, **known}))
        changed.run("dvc", "commit", "--force", "train")
        changed.commit("forged")
        status, told = trace("models/checkpoints/best.ckpt", "--verify")
        assert status == 1
        assert any(wrong in line for line in told.splitlines() if "DOES NOT HOLD" in line)
