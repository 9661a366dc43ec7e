"""Keys to sign with, and model files with a statement of where they come from."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from lightline.config.params import Export
from lightline.files import write_json
from lightline.model_file.provenance import write_statement
from tests.support.tiny import tiny_params


def make_key(kind: str = "ed25519", password: bytes | None = None) -> tuple[bytes, bytes]:
    """A private key and its public one, as PEM; kind: ed25519, p256, p384 or rsa."""
    key = {
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
    }[kind]()
    closed = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, closed)
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, key.public_key().public_bytes(*form)


def make_statement(content: bytes = b"a model", settings: Export | None = None, fingerprint: str = "f" * 64) -> Path:
    """Below the working directory, files called like a model, its card and its checkpoint, and their statement."""
    model, card, checkpoint = (
        Path("models/model.onnx"),
        Path("models/MODEL_CARD.md"),
        Path("models/checkpoints/best.ckpt"),
    )
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    model.write_bytes(content)
    card.write_bytes(b"# the card of " + content)
    checkpoint.write_bytes(b"numbers of " + content)
    known = {"fingerprint": fingerprint, "dataset": "d" * 64, "splits": "5" * 64, "weights": None}
    trained = {"params": {"seed": 1}, "precision": "32-true", "processes": 1, "code": {"stages/train/fit.py": "c" * 64}}
    write_json(Path("reports/train/fingerprint.json"), known | trained | {"versions": {"torch": "2.14.0"}})
    settings = settings or tiny_params().export
    write_statement(Path("models/model.intoto.json"), [model, card], [checkpoint], fingerprint, "export", settings)
    return Path("models/model.intoto.json")
