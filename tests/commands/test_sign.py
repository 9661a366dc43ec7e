"""Signing the statement of where a model file comes from."""

from pathlib import Path

import pytest

from commands.sign import KEY_VARIABLE, PASSWORD_VARIABLE, main, read_key, sign
from lightline_predict.provenance import ProvenanceError, envelope_beside, verify
from tests.support.signing import make_key, make_statement

MODEL, CARD = Path("models/model.onnx"), Path("models/MODEL_CARD.md")


def test_the_key_is_a_file_s_or_the_environment_s(own_folder, monkeypatch, capsys):
    make_statement()
    (one, public), (other, _) = make_key(), make_key()
    Path("one.pem").write_bytes(one)
    monkeypatch.setenv(KEY_VARIABLE, other.decode())
    assert main(["--key", "one.pem"]) == 0
    told = "models/model.intoto.dsse.json holds for model.onnx, MODEL_CARD.md\n"
    assert capsys.readouterr().out == told
    assert verify(MODEL, public).name == "model.onnx"
    for value in ("one.pem", one.decode()):
        envelope_beside(MODEL).unlink()
        monkeypatch.setenv(KEY_VARIABLE, value)
        assert main([]) == 0
        assert verify(MODEL, public).name == "model.onnx"


def test_without_a_key_nothing_is_written_and_the_way_to_one_is_told(own_folder, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    make_statement()
    assert read_key() is None
    with pytest.raises(SystemExit, match=r"There is no key to sign with\. Give --key FILE, or LIGHTLINE_SIGNING_KEY"):
        main([])
    with pytest.raises(SystemExit, match="The key nowhere cannot be read"):
        main(["--key", "nowhere"])
    assert not envelope_beside(MODEL).exists()


def test_an_encrypted_key_is_opened_by_a_password_that_is_never_shown(own_folder, monkeypatch, capsys):
    private, public = make_key(password=b"open sesame")
    make_statement()
    Path("key.pem").write_bytes(private)
    with pytest.raises(SystemExit, match=r"That is no private key that can be used: .*encrypted"):
        main(["--key", "key.pem"])
    monkeypatch.setenv(PASSWORD_VARIABLE, "wrong sesame")
    with pytest.raises(SystemExit) as end:
        main(["--key", "key.pem"])
    assert "sesame" not in str(end.value)
    monkeypatch.setenv(PASSWORD_VARIABLE, "open sesame")
    assert main(["--key", "key.pem"]) == 0
    assert verify(MODEL, public).name == "model.onnx"


@pytest.mark.parametrize("name", [MODEL, CARD])
def test_what_the_statement_does_not_hold_for_is_not_signed(name, own_folder):
    statement = make_statement()
    name.write_bytes(b"something else")
    with pytest.raises(ProvenanceError, match=f"{name} is not what the statement says"):
        sign(statement, make_key()[0])
    name.unlink()
    with pytest.raises(ProvenanceError, match=f"{name} is missing"):
        sign(statement, make_key()[0])
    assert not envelope_beside(MODEL).exists()


def test_only_a_statement_is_signed(own_folder):
    with pytest.raises(SystemExit, match=r"models/model\.intoto\.json is missing; `dvc repro export` writes it"):
        main(_with_key())
    Path("models").mkdir()
    Path("models/model.intoto.json").write_text("[]")
    with pytest.raises(SystemExit, match="is no statement"):
        main(_with_key())


def _with_key() -> list[str]:
    Path("key.pem").write_bytes(make_key()[0])
    return ["--key", "key.pem"]
