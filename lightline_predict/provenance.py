"""Signed statements of where a model file comes from, and how they are held to the file.

The envelope is DSSE's, the statement in it in-toto's; keys are Ed25519 or ECDSA P-256, in PEM. Needs `cryptography`.
https://github.com/secure-systems-lab/dsse/blob/master/protocol.md (v1.0.2)
https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
"""

import base64
import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightline_predict.errors import LightlineError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT, _PREDICATE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
_LARGEST = 2**24  # bytes of an envelope
_KEYS = "Ed25519 and ECDSA P-256 keys, in PEM, are"


class ProvenanceError(LightlineError):
    """A statement, signature or key that does not hold, or cannot be read."""


@dataclass(frozen=True)
class Verified:
    """What a signed statement says of a model file.

    Attributes:
        name: that the file had when the statement was made.
        fingerprint: of the training.
        statement: all of it, in-toto's.
        held: files beside the model that the statement is about, too, and that hold; missing: those that are not there.
    """

    name: str
    fingerprint: str
    statement: dict[str, Any]
    held: list[str]
    missing: list[str]


def envelope_beside(path: Path) -> Path:
    """Give the path of the envelope of a model file or of its statement: model.onnx → model.intoto.dsse.json."""
    return path.with_name(path.name.removesuffix(path.suffix).removesuffix(".intoto") + ".intoto.dsse.json")


def sign(payload: bytes, key: bytes, password: bytes | None = None) -> dict[str, Any]:
    """Put a statement into an envelope, signed; key: private, as PEM.

    Raises:
        ProvenanceError: the key cannot be used.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    private: Any = _load("private", key, password)
    message = _authenticated(PAYLOAD_TYPE, payload)
    if isinstance(private, ed25519.Ed25519PrivateKey):
        signature = private.sign(message)
    else:
        signature = private.sign(message, ec.ECDSA(hashes.SHA256()))
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": _key_id(private.public_key()), "sig": base64.b64encode(signature).decode()}],
    }


def verify(model: Path, key: bytes, envelope: Path | None = None) -> Verified:
    """Hold a model file, and what lies beside it, to a signed statement.

    key: public, as PEM. envelope: default: the one beside the model.

    Raises:
        ProvenanceError: nobody with that key has signed a statement of these files.
    """
    envelope = envelope or envelope_beside(model)
    statement = _statement(_signed(envelope, key), envelope)
    fingerprint = str(statement["predicate"]["buildDefinition"]["internalParameters"]["fingerprint"])
    digests = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    digest = _digest(model)
    name = next((name for name, wanted in digests.items() if wanted == digest), None)
    if name is None:
        raise ProvenanceError(
            f"{model} is not what {envelope} was signed for ({', '.join(digests)} of fingerprint {fingerprint[:16]}…): "
            f"its SHA-256 is {digest}. The file was changed, or the statement is another model's; fetch both again "
            "from where they were published."
        )
    held, missing = [], []
    for other in sorted(set(digests) - {name}):
        beside = model.with_name(other)
        if not beside.is_file():
            missing.append(other)
        elif _digest(beside) != digests[other]:
            raise ProvenanceError(
                f"{beside} is not what {envelope} was signed for: it was changed, or belongs to another model. Fetch "
                "it again from where it was published, or take it away."
            )
        else:
            held.append(other)
    return Verified(name, fingerprint, statement, held, missing)


def _signed(envelope: Path, key: bytes) -> bytes:
    """Read what is in an envelope once a signature of that key holds."""
    try:
        encoded = _read(envelope)
        content = json.loads(encoded)
        payload = base64.b64decode(content["payload"], validate=True)
        kind = content["payloadType"]
        signatures = [base64.b64decode(each["sig"], validate=True) for each in content["signatures"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ProvenanceError(
            f"{envelope} is no signed statement: it was damaged, or is another kind of file; `python -m lightline "
            "sign` writes one."
        ) from None
    if kind != PAYLOAD_TYPE:
        raise ProvenanceError(f"{envelope} holds {kind!r}, where {PAYLOAD_TYPE} is meant.")
    public = _load("public", key)
    message = _authenticated(kind, payload)
    if not any(_holds(public, signature, message) for signature in signatures):
        raise ProvenanceError(
            f"{envelope} was not signed with this key ({_key_id(public)[:16]}…), or was changed since. Take the key "
            "of whoever publishes the model, from somewhere else than the model."
        )
    return payload


def _authenticated(kind: str, payload: bytes) -> bytes:
    """Give the bytes that are signed: DSSE's pre-authentication encoding, so that a payload is of one kind alone."""
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(payload), payload)


def _holds(public: Any, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    try:
        if isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signature, message)
        else:
            public.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _statement(payload: bytes, envelope: Path) -> dict[str, Any]:
    """Read what was signed, which has to be a statement of where a model file comes from."""
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        statement = json.loads(payload)
        is_known = (statement["_type"], statement["predicateType"]) == (_STATEMENT, _PREDICATE)
        is_known &= "fingerprint" in statement["predicate"]["buildDefinition"]["internalParameters"]
        # Names lead nowhere but to files beside the model.
        is_known &= all(Path(each["name"]).name == each["name"] for each in statement["subject"])
        if is_known and all(isinstance(each["digest"]["sha256"], str) for each in statement["subject"]):
            return statement
    raise ProvenanceError(f"{envelope} is signed, but holds no statement of where a model comes from.")


def _load(kind: str, pem: bytes, password: bytes | None = None) -> Any:
    """Read a key, "private" or "public"."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    except ModuleNotFoundError:
        raise ProvenanceError(
            "Signatures need the package cryptography: `pip install 'lightline-predict[verify]'`."
        ) from None
    try:
        if kind == "private":
            key = serialization.load_pem_private_key(pem, password)
        else:
            key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # TypeError: a password for a key without one, or none for one with; it does not repeat the password.
        reason = str(error) if isinstance(error, TypeError) else f"{_KEYS} read"
        raise ProvenanceError(f"That is no {kind} key that can be used: {reason}.") from None
    known = (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey, ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)
    if not isinstance(key, known) or getattr(getattr(key, "curve", None), "name", "secp256r1") != "secp256r1":
        raise ProvenanceError(f"That is a {kind} key of another kind: {_KEYS} taken.")
    return key


def _key_id(public: Any) -> str:
    """Compute the SHA-256 of a public key in DER, in hexadecimal."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ProvenanceError(f"{path} cannot be read: {error.strerror}.") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise ProvenanceError(
            f"{path} is missing: nobody has signed this model, or what they signed was not brought along."
        ) from None
    except OSError as error:
        raise ProvenanceError(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > _LARGEST:
        raise ProvenanceError(f"{path} has over {_LARGEST} bytes, which no statement has.")
    return content
