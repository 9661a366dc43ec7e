"""Sign the statement of where a model file comes from, so that others can hold the file to it.

python -m lightline sign --key FILE
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lightline.errors import LightlineError
from lightline.files import file_digest, whole_file
from lightline.redaction import redacted
from lightline_predict import provenance
from lightline_predict.provenance import ProvenanceError, envelope_beside

KEY_VARIABLE, PASSWORD_VARIABLE = "LIGHTLINE_SIGNING_KEY", "LIGHTLINE_SIGNING_PASSWORD"
STATEMENT = Path("models/model.intoto.json")


def main(arguments: Sequence[str]) -> int:
    """Write the signed statement beside the model."""
    parser = argparse.ArgumentParser(
        prog="python -m lightline sign",
        description="Sign where a model file comes from: writes models/model.intoto.dsse.json.",
        epilog=f"{PASSWORD_VARIABLE} opens a key that is encrypted.",
    )
    parser.add_argument("statement", type=Path, nargs="*", default=[STATEMENT], help=f"default: {STATEMENT}")
    parser.add_argument("--key", type=Path, help=f"private, Ed25519 or ECDSA P-256, as PEM; default: {KEY_VARIABLE}")
    options = parser.parse_args(arguments)
    try:
        key = read_key(options.key)
        if key is None:
            raise ProvenanceError(
                f"There is no key to sign with. Give --key FILE, or {KEY_VARIABLE}; `openssl genpkey -algorithm "
                "ed25519 -out FILE` makes one, `openssl pkey -in FILE -pubout` shows the public one."
            )
        for statement in options.statement:
            print(f"{sign(statement, key)} holds for {', '.join(_subjects(statement))}")
    except LightlineError as error:
        sys.exit(f"error: {redacted(str(error))}")
    return 0


def read_key(path: Path | None = None) -> bytes | None:
    """Read the private key, as PEM: a file's, else the environment's, which is the path of one or the key itself.

    Returns None where there is none.

    Raises:
        ProvenanceError: the file cannot be read.
    """
    given = str(path) if path else os.environ.get(KEY_VARIABLE, "")
    if not given:
        return None
    if given.lstrip().startswith("-----BEGIN"):
        return given.encode()
    try:
        return Path(given).read_bytes()
    except OSError as error:
        raise ProvenanceError(f"The key {given} cannot be read: {error.strerror}.") from None


def sign(statement: Path, key: bytes) -> Path:
    """Sign a statement that holds for the files beside it; gives the path of the envelope, written whole or not at all.

    key: private, as PEM; where it is encrypted, PASSWORD_VARIABLE opens it.

    Raises:
        ProvenanceError: there is no statement, its files are not what it says, or the key cannot be used.
    """
    for name, digest in _subjects(statement).items():
        file = statement.with_name(name)
        if not file.is_file() or file_digest(file) != digest:
            state = "not what the statement says" if file.is_file() else "missing"
            raise ProvenanceError(
                f"{file} is {state}: {statement} would be signed for something else. `dvc repro export` brings both "
                "together, `dvc checkout` brings back what is recorded."
            )
    envelope = envelope_beside(statement)
    with whole_file(envelope) as temporary:
        temporary.write_text(json.dumps(envelope_of(statement.read_bytes(), key)) + "\n", encoding="utf-8")
    return envelope


def envelope_of(statement: bytes, key: bytes) -> dict[str, object]:
    """Sign a statement wherever it lies; see `sign`."""
    password = os.environ.get(PASSWORD_VARIABLE)
    return provenance.sign(statement, key, password.encode() if password else None)


def _subjects(statement: Path) -> dict[str, str]:
    """Read which files a statement is about, and the SHA-256 of each."""
    try:
        content = json.loads(statement.read_bytes())
        return {Path(each["name"]).name: each["digest"]["sha256"] for each in content["subject"]}
    except FileNotFoundError:
        raise ProvenanceError(f"{statement} is missing; `dvc repro export` writes it beside the model.") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ProvenanceError(f"{statement} is no statement; `dvc repro --force export` writes it anew.") from None
