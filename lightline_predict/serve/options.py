"""What `lightline-predict serve` is told: the command line, the token, the limits."""

import argparse
import ipaddress
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightline_predict.errors import LightlineError

TOKEN_VARIABLE = "LIGHTLINE_TOKEN"  # noqa: S105 (the name of a variable)
_LEAST_TOKEN = 16  # characters: what is guessed sooner is no token


class OptionError(LightlineError):
    """The command line asks for what cannot be."""


@dataclass(frozen=True)
class Limits:
    """What one request may take, and all of them together.

    body: bytes of one. images: in one. pixels: of one image. seconds: from its first byte to its answer.
    requests: at once. held: bytes of bodies and decoded images at once. connections: open at once.
    """

    body: int
    images: int
    pixels: int
    seconds: float
    requests: int
    held: int
    connections: int


@dataclass(frozen=True)
class Options:
    """The command line, read."""

    model: Path | None
    git: str | None
    stage: str
    artifact: str
    name: str
    host: str
    port: int
    token: str | None
    limits: Limits
    delay: float
    batch: int
    threads: int
    examples: Path | None
    every: float
    log: Path | None


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line.

    Raises:
        OptionError: what it asks for cannot be, as to listen to the network without a token.
    """
    given = _parser().parse_args(arguments)
    if (given.model is None) == (given.git is None):
        raise OptionError("give a model file, or --from GIT-URL; one of them.")
    if given.token is not None:
        _hide_token(given.token)
    options = Options(
        model=given.model,
        git=given.git,
        stage=given.stage,
        artifact=given.artifact,
        name=given.name,
        host=given.host,
        port=given.port,
        token=_token(given.token_file),
        limits=Limits(
            body=given.max_body * 2**20,
            images=given.max_images,
            pixels=given.max_pixels * 10**6,
            seconds=given.timeout,
            requests=given.max_requests,
            held=given.max_memory * 2**20,
            connections=given.max_connections,
        ),
        delay=given.delay / 1000,
        batch=given.max_batch,
        threads=given.threads,
        examples=given.examples,
        every=given.every,
        log=given.log,
    )
    if options.token is None and not is_loopback(options.host):
        raise OptionError(
            f"--host {options.host} lets others than this machine ask: that needs a token, in --token-file FILE or "
            f"{TOKEN_VARIABLE}; without one, leave --host at 127.0.0.1."
        )
    return options


def is_loopback(host: str) -> bool:
    """Tell whether an address is this machine's own alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(file: Path | None) -> str | None:
    if file is None:
        token = os.environ.pop(TOKEN_VARIABLE, None)  # no program that this one starts has use for it
    else:
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"--token-file {file} cannot be read: {error}.") from error
    if token is not None and (len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable()):
        raise OptionError(
            f"a token is at least {_LEAST_TOKEN} printable ASCII characters; `openssl rand -hex 32` makes one."
        )
    return token


def _hide_token(token: str) -> None:
    """Start anew with the token in the environment: command lines are shown to every user of the machine."""
    kept = []
    words = iter(sys.orig_argv[1:])
    for word in words:
        if word == "--token":
            next(words, None)
        elif not word.startswith("--token="):
            kept.append(word)
    os.execve(sys.executable, [sys.executable, *kept], os.environ | {TOKEN_VARIABLE: token})  # noqa: S606


def _parser() -> argparse.ArgumentParser:
    # Abbreviations would let `--tok` through, which `_hide_token` does not know.
    parser = argparse.ArgumentParser(
        prog="lightline-predict serve", description="Answer over HTTP.", allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("model", type=Path, nargs="?", help="models/model.onnx; where it is replaced, the new one is taken")
    add("--from", dest="git", metavar="GIT-URL", help="take the model of the newest tag ARTIFACT#STAGE#N, by dvc")
    add("--stage", default="champion", help="with --from")
    add("--artifact", default="classifier", help="with --from")
    add("--every", type=_positive(float), default=10, help="seconds between two looks for a new model; SIGHUP: now")
    add("--examples", type=Path, help="a folder of images that a new model is tried on first")
    add("--name", default="classifier", help="the model's, in /v2/models/NAME")
    add("--host", default="127.0.0.1", help="others than this machine's own need a token")
    add("--port", type=int, default=8000, help="0 takes a free one")
    add("--token-file", type=Path, help=f"a file of the token that requests must carry; or {TOKEN_VARIABLE} has it")
    add("--token", help="the token itself; --token-file is better")
    add("--log", type=Path, metavar="FOLDER", help="keep a row an answer in Parquet files; no images")
    add("--delay", type=_positive(float, least=0), default=2, help="ms that an image waits for those being decoded")
    add("--max-batch", type=_positive(int), default=64, help="images answered together")
    add("--threads", type=_positive(int, least=0), default=0, help="of onnxruntime; 0: all cores, or 1 if it is quick")
    add("--max-body", type=_positive(int), default=20, help="MiB of a request")
    add("--max-images", type=_positive(int), default=64, help="in a request")
    add("--max-pixels", type=_positive(int), default=50, help="millions, of an image")
    add("--timeout", type=_positive(float), default=10, help="seconds from a request's first byte to its answer")
    add("--max-requests", type=_positive(int), default=256, help="at once; further ones are told 429")
    add("--max-memory", type=_positive(int), default=512, help="MiB of bodies and pixels at once; beyond: 429")
    add("--max-connections", type=_positive(int), default=20_000, help="open at once; further ones are told 503")
    return parser


def _positive(kind: type, least: float = 0.001):
    def read(text: str):
        if not least <= (value := kind(text)) < float("inf"):
            raise ValueError
        return value

    read.__name__ = f"positive {kind.__name__}"  # as argparse names it in its message
    return read
