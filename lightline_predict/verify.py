"""Hold a model file to who signed it: `lightline-predict verify MODEL --key PUBLIC_KEY`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lightline_predict.errors import LightlineError
from lightline_predict.provenance import ProvenanceError, Verified, verify


def main(arguments: Sequence[str], prog: str = "lightline-predict verify") -> int:
    """Print what holds; gives 1, and says what does not, where anything does not."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Check that a model file, and the card beside it, are what somebody has signed."
    )
    parser.add_argument("model", type=Path, help="models/model.onnx or models/model.int8.onnx")
    parser.add_argument("--key", type=Path, required=True, help="public, Ed25519 or ECDSA P-256, as PEM")
    parser.add_argument(
        "--envelope", type=Path, help="the signed statement; default: beside MODEL, model.intoto.dsse.json"
    )
    parser.add_argument("--fingerprint", help="how the model's has to begin, so that no older one is taken for it")
    options = parser.parse_args(arguments)
    try:
        found = verify(options.model, _read_key(options.key), options.envelope)
        if options.fingerprint and not found.fingerprint.startswith(options.fingerprint.lower()):
            raise ProvenanceError(
                f"{options.model} is signed, but its fingerprint is {found.fingerprint}, and {options.fingerprint} was "
                "asked for: it is another model of the same signer."
            )
    except LightlineError as error:
        sys.exit(f"error: {error}")
    print(_told(options.model, found))
    return 0


def _told(model: Path, found: Verified) -> str:
    also = f", and so are {', '.join(found.held)} beside it" if found.held else ""
    missing = f"\nnot here, and so not looked at: {', '.join(found.missing)}" if found.missing else ""
    return f"{model} is {found.name} as it was signed{also}\nfingerprint {found.fingerprint}{missing}"


def _read_key(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProvenanceError(f"The key {path} cannot be read: {error.strerror}.") from None
