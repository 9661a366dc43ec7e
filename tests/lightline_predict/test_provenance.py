"""Signed statements: what holds, and all that is refused."""

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commands.sign import sign
from lightline_predict.provenance import ProvenanceError, envelope_beside, verify
from lightline_predict.provenance import sign as enclose
from lightline_predict.verify import main
from tests.support import ROOT
from tests.support.signing import make_key, make_statement

MODEL = Path("models/model.onnx")


@pytest.fixture(params=["ed25519", "p256"])
def public(request: pytest.FixtureRequest, own_folder) -> bytes:
    """Of the key that the model in the working directory was signed with."""
    private, public = make_key(request.param)
    sign(make_statement(), private)
    return public


def change(**values: Any) -> None:
    envelope = envelope_beside(MODEL)
    envelope.write_text(json.dumps(json.loads(envelope.read_text()) | values))


def test_what_was_signed_holds_whatever_it_is_called_and_wherever_it_lies(public, own_folder):
    found = verify(MODEL, public)
    assert (found.name, found.fingerprint, found.held, found.missing) == ("model.onnx", "f" * 64, ["MODEL_CARD.md"], [])
    shutil.copy(MODEL, "birds.onnx")
    found = verify(Path("birds.onnx"), public, envelope_beside(MODEL))
    assert (found.name, found.held, found.missing) == ("model.onnx", [], ["MODEL_CARD.md"])


@pytest.mark.parametrize("position", [0, 3, -1])
def test_a_flipped_bit_of_the_model_is_refused(public, position):
    content = bytearray(MODEL.read_bytes())
    content[position] ^= 1
    MODEL.write_bytes(content)
    with pytest.raises(ProvenanceError, match=r"models/model\.onnx is not what .*\.intoto\.dsse\.json was signed for"):
        verify(MODEL, public)


def test_a_swapped_card_is_refused(public):
    MODEL.with_name("MODEL_CARD.md").write_text("# never wrong")
    with pytest.raises(ProvenanceError, match=r"models/MODEL_CARD\.md is not what"):
        verify(MODEL, public)


def test_another_key_is_refused(public):
    for kind in ("ed25519", "p256"):
        with pytest.raises(ProvenanceError, match="was not signed with this key"):
            verify(MODEL, make_key(kind)[1])


def test_a_replayed_statement_is_refused(public):
    kept = envelope_beside(MODEL).read_bytes()
    make_statement(b"the next model")
    assert envelope_beside(MODEL).read_bytes() == kept
    with pytest.raises(ProvenanceError, match="the statement is another model's"):
        verify(MODEL, public)


def test_a_changed_statement_or_signature_is_refused(public):
    whole = json.loads(envelope_beside(MODEL).read_text())
    statement = base64.b64decode(whole["payload"])
    forged = base64.b64encode(statement.replace(b"f" * 64, b"e" * 64)).decode()
    signature = bytearray(base64.b64decode(whole["signatures"][0]["sig"]))
    signature[-1] ^= 1
    bad = [{"sig": base64.b64encode(signature).decode()}]
    for changed in ({"payload": forged}, {"signatures": bad}, {"signatures": []}, {"signatures": [{"sig": ""}]}):
        change(**whole | changed)
        with pytest.raises(ProvenanceError, match="was not signed with this key"):
            verify(MODEL, public)
    change(**whole | {"payloadType": "text/plain"})
    with pytest.raises(ProvenanceError, match="holds 'text/plain'"):
        verify(MODEL, public)
    # Of several signatures one by this key is enough.
    change(**whole | {"signatures": bad + whole["signatures"]})
    assert verify(MODEL, public).name == "model.onnx"


def test_the_kind_of_what_is_signed_is_signed_too(own_folder):
    """A signature over the bare statement, or over the same bytes of another kind, says nothing."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private, public = make_key()
    sign(make_statement(), private)
    payload = Path("models/model.intoto.json").read_bytes()
    key: Any = load_pem_private_key(private, None)
    for signed in (payload, b"DSSEv1 10 text/plain %d %s" % (len(payload), payload)):
        change(signatures=[{"sig": base64.b64encode(key.sign(signed)).decode()}])
        with pytest.raises(ProvenanceError, match="was not signed with this key"):
            verify(MODEL, public)


@pytest.mark.parametrize(
    "payload",
    [
        b"no json",
        b"[]",
        b"{}",
        b'{"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://other", "subject": []}',
    ],
)
def test_what_is_signed_and_no_provenance_is_refused(payload, own_folder):
    private, public = make_key()
    make_statement()
    envelope_beside(MODEL).write_text(json.dumps(enclose(payload, private)))
    with pytest.raises(ProvenanceError, match="is signed, but holds no statement"):
        verify(MODEL, public)


def test_a_statement_names_no_file_elsewhere(own_folder):
    private, public = make_key()
    statement = json.loads(make_statement().read_text())
    statement["subject"][1]["name"] = "../secret"
    envelope_beside(MODEL).write_text(json.dumps(enclose(json.dumps(statement).encode(), private)))
    with pytest.raises(ProvenanceError, match="holds no statement"):
        verify(MODEL, public)


@pytest.mark.parametrize("content", [b"", b"no json", b"[]", b'{"payload": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_envelope_is_refused(content, public):
    envelope_beside(MODEL).write_bytes(content)
    with pytest.raises(ProvenanceError, match="is no signed statement"):
        verify(MODEL, public)


def test_only_keys_of_the_two_kinds_are_taken(public):
    for kind in ("rsa", "p384"):
        with pytest.raises(ProvenanceError, match="of another kind: Ed25519 and ECDSA P-256 keys, in PEM, are taken"):
            verify(MODEL, make_key(kind)[1])
    for wrong in (b"", b"no key", make_key()[0]):
        with pytest.raises(ProvenanceError, match="That is no public key that can be used"):
            verify(MODEL, wrong)


def test_the_command_says_what_holds_and_ends_with_1_where_it_does_not(public, capsys):
    Path("key.pem").write_bytes(public)
    assert main([str(MODEL), "--key", "key.pem"]) == 0
    told = "models/model.onnx is model.onnx as it was signed, and so are MODEL_CARD.md beside it"
    assert capsys.readouterr().out == f"{told}\nfingerprint {'f' * 64}\n"
    assert main([str(MODEL), "--key", "key.pem", "--fingerprint", "ffff"]) == 0
    with pytest.raises(SystemExit, match="is another model of the same signer"):
        main([str(MODEL), "--key", "key.pem", "--fingerprint", "eeee"])
    envelope_beside(MODEL).unlink()
    with pytest.raises(SystemExit, match=r"error: models/model\.intoto\.dsse\.json is missing: nobody has signed"):
        main([str(MODEL), "--key", "key.pem"])
    with pytest.raises(SystemExit, match="error: The key nowhere cannot be read"):
        main([str(MODEL), "--key", "nowhere"])


def test_it_needs_nothing_that_answers_need():
    """Who verifies a file has not opened it yet."""
    code = "import lightline_predict.verify, sys; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()
    assert not {"numpy", "onnxruntime", "PIL"} & set(loaded)
