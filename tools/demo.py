"""The way round on the digits: a model, its promotion, answers, other light, an alarm, a better model: `make demo`.

In a clone of its own, which is deleted at the end. Each line that begins with $ is what one would type.
"""

import argparse
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from lightline.data.dataset import Dataset
from lightline.data.splits import read_splits

_ROOT = Path(__file__).resolve().parents[1]
_PORT = 8127
_SERVE = f"lightline_predict serve --from . --stage champion --log logs --every 2 --port {_PORT}"
_IMAGES = 300  # that are sent in each kind of light
_PATIENCE = 120.0  # seconds for the server to take up a model


def main() -> int:
    """Play it; gives 1 where something did not come out as it should."""
    argparse.ArgumentParser(prog="make demo", description=__doc__).parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "digits")
        root, inside = _git("rev-parse", "--show-toplevel"), _git("rev-parse", "--show-prefix")
        subprocess.run(("git", "clone", "--quiet", "--origin", "origin", root, str(home)), check=True)
        os.chdir(home / inside)
        subprocess.run(("git", "remote", "remove", "origin"), check=True)  # its tags are for this clone alone
        for key, value in (("user.name", "Demo"), ("user.email", "demo@example.com")):  # a tag says who promoted
            subprocess.run(("git", "config", key, value), check=True)
        _say("1. A model, trained for three epochs.")
        _run("flows.pipeline --apply -n first -S trainer.max_epochs=3 export")
        _say("2. There is no champion to compare it with: a person makes it the first.")
        _run("lightline promote first --first")
        _say("3. It answers over HTTP, and logs what it sees.")
        with _server():
            _send(1.0)
            _say("4. Somebody dims the light.")
            _send(0.4)
            _wait_for_log(2 * _IMAGES)
            _say("5. Have the images changed?")
            _run(f"lightline monitor logs --count {_IMAGES // 3}", expected=3)
            _say("6. A model that has learnt for longer has to beat the champion.")
            _run("flows.pipeline --apply -n second export")
            _run("lightline promote second")
            _wait_for(_fingerprint())
    _say(f"The new champion answers, and no request has failed. {time.monotonic() - started:.0f} s in all.")
    return 0


def _git(*arguments: str) -> str:
    return subprocess.run(("git", *arguments), cwd=_ROOT, capture_output=True, text=True, check=True).stdout.rstrip()


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)


def _run(command: str, expected: int = 0) -> None:
    """Run one of the project's commands, and stop where it ends otherwise than expected."""
    print(f"$ python -m {command}", flush=True)
    status = subprocess.run((sys.executable, "-m", *shlex.split(command)), check=False).returncode
    if status != expected:
        sys.exit(f"error: this should have ended with {expected}, and ended with {status}.")


@contextmanager
def _server() -> Iterator[None]:
    print(f"$ python -m {_SERVE} &", flush=True)
    server = subprocess.Popen((sys.executable, "-m", *shlex.split(_SERVE)))
    try:
        _wait_for(_fingerprint(), begun=False)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        if server.wait(60):
            sys.exit("error: the server did not end in order.")


def _fingerprint() -> str:
    """Read which model lies in the workspace, which is the one that was promoted last."""
    return json.loads(Path("reports/train/fingerprint.json").read_text(encoding="utf-8"))["fingerprint"]


def _wait_for(fingerprint: str, begun: bool = True) -> None:
    """Wait until a model answers; where the server has begun, every request is answered, by one or the other."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        try:
            if _answer(np.zeros((8, 8, 3), np.uint8))["model"] == fingerprint:
                return
        except OSError:
            if begun:
                raise
        time.sleep(0.2)
    sys.exit(f"error: no answer by model {fingerprint[:16]} within {_PATIENCE:.0f} s.")


def _send(light: float) -> None:
    """Send test images as somebody's program would, and tell how sure the answers are; light: 1 as they are."""
    dataset, rows = Dataset(), read_splits().rows("test")
    answers = []
    for number in range(_IMAGES):
        pixels = dataset.pixels(int(rows[number % len(rows)]))
        answers.append(_answer((pixels * light).astype(np.uint8)))
    sure = np.mean([answer["confidence"] for answer in answers])
    print(f"{_IMAGES} digits in light {light:g}: {sure:.2f} sure on average", flush=True)


def _wait_for_log(rows: int) -> None:
    print("(the log is written once a minute)", flush=True)
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if sum(pq.read_metadata(file).num_rows for file in Path("logs").glob("*/*.parquet")) >= rows:
            return
        time.sleep(1)
    sys.exit(f"error: the log has fewer than {rows} rows after {_PATIENCE:.0f} s.")


def _answer(pixels: np.ndarray) -> dict:
    picture = io.BytesIO()
    Image.fromarray(pixels).save(picture, "PNG")
    request = urllib.request.Request(f"http://127.0.0.1:{_PORT}/predict", picture.getvalue())
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        return json.load(response)


if __name__ == "__main__":
    sys.exit(main())
