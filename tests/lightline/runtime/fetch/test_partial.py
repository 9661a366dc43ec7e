"""Downloads that broke off: what goes on, what is thrown away, a full disk, two at once."""

import fcntl
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lightline.errors import DataError
from lightline.runtime.fetch.errors import FetchError
from tests.support import ROOT
from tests.support.serving import CONTENT, SHA256, get, kept
from tests.support.small_disk import run_on_small_disk


@pytest.fixture
def part(repository) -> Path:
    """Where what is there of CONTENT lies until all of it is."""
    (repository / ".lightline/downloads").mkdir(parents=True)
    return repository / ".lightline/downloads" / f".{SHA256}.part"


@pytest.mark.parametrize("sends_parts", [True, False])
def test_a_download_that_broke_off_goes_on_where_the_server_sends_parts(server, sends_parts):
    server.sends_parts = sends_parts
    server.answers = [(200, None), (200, CONTENT)]
    assert get(f"{server.url}/images.zip").read_bytes() == CONTENT
    assert server.ranges[0] is None
    assert server.ranges[1].startswith("bytes=")
    assert 0 < int(server.ranges[1][6:-1]) <= 5_000_000


def test_the_next_run_goes_on_too_and_only_the_final_name_is_whole(server, part, repository):
    server.answers = [(200, None)]
    with pytest.raises(FetchError, match="broke off"):
        get(f"{server.url}/images.zip")
    assert kept(repository) == [part.name]
    size = part.stat().st_size
    server.sends_parts, server.answers = True, [(200, CONTENT)]
    assert get(f"{server.url}/images.zip").read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={size}-"
    assert kept(repository) == [SHA256]


@pytest.mark.parametrize("left", [b"of another file", CONTENT + b"and more", CONTENT[:-1] + b"?"])
@pytest.mark.parametrize("sends_parts", [True, False])
def test_what_does_not_fit_is_thrown_away_and_all_is_asked_for(server, part, left, sends_parts):
    part.write_bytes(left)
    server.sends_parts = sends_parts
    assert get(f"{server.url}/images.zip").read_bytes() == CONTENT
    assert not part.exists()


def test_what_the_disk_does_not_take_is_told_and_never_has_the_final_name(server, repository):
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, -1))\n"
        f"from tests.support.serving import get; get({server.url!r})"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert re.search(
        rf"NoRoomError: {repository}/.lightline/downloads/.{SHA256}.part cannot be written: File too large. It needs "
        rf"more than the \d+ bytes that are there of {server.url}, and \d+ bytes are free in ",
        done.stderr,
    )
    assert all(name.endswith(".part") for name in kept(repository))


@pytest.mark.parametrize("announced", [True, False])
def test_a_full_disk_is_told_if_possible_before_it_is_full(server, tmp_path, announced):
    if not announced:
        server.headers = {"Transfer-Encoding": "identity"}
    code = (
        "from tests.support.serving import get\nfrom lightline.errors import LightlineError\n"
        f"try: get({server.url!r})\nexcept LightlineError as error: exit(str(error))"
    )
    (tmp_path / "content").mkdir()
    outcome = run_on_small_disk(tmp_path / "content", tmp_path / "disk", 3_000_000, sys.executable, "-c", code)
    needed = f"{len(CONTENT)} bytes" if announced else rf"more than the \d+ bytes that are there of {server.url}"
    assert outcome.status == 1
    assert re.fullmatch(
        rf"{tmp_path}/disk/.lightline/downloads/.{SHA256}.part cannot be written: No space left on device. It needs "
        rf"{needed}, and \d+ bytes are free in {tmp_path}/disk/.lightline/downloads. Make room there, then give the "
        r"same command again.\n",
        outcome.stderr,
    )
    assert len(server.requests) == 1
    assert list(outcome.after) == [] if announced else [f".lightline/downloads/.{SHA256}.part"]


def test_two_processes_download_a_file_once(server, repository):
    with ThreadPoolExecutor(4) as pool:  # threads take the lock as processes do: each opens the file anew
        paths = list(pool.map(lambda _: get(f"{server.url}/images.zip"), range(4)))
    assert len(set(paths)) == 1
    assert paths[0].read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert kept(repository) == [SHA256]


def test_a_failed_download_is_a_data_error():
    assert issubclass(FetchError, DataError)


def test_the_part_of_an_old_download_is_cleared_unless_it_is_under_way(server, part, repository):
    parts = {name: part.with_name(f".{name}.part") for name in ("old", "new", "locked")}
    for path in parts.values():
        path.write_bytes(b"some of it")
    month_ago = time.time() - 30 * 24 * 3600
    for name in ("old", "locked"):
        os.utime(parts[name], (month_ago, month_ago))
    with parts["locked"].open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as the process does that downloads it
        get(f"{server.url}/images.zip")
    assert set(kept(repository)) == {SHA256, parts["new"].name, parts["locked"].name}


def test_an_old_part_of_the_same_download_is_gone_on_with(server, part):
    part.write_bytes(CONTENT[:1000])
    os.utime(part, (0, 0))
    server.sends_parts = True
    assert get(f"{server.url}/images.zip").read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]
