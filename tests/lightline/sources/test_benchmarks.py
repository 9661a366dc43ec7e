"""The benchmark sets, from small archives in torchvision's own formats, served from 127.0.0.1.

What torchvision's own classes read from the same files is what must come out.
"""

import functools
import gzip
import hashlib
import io
import pickle
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets as torchvision_datasets

from lightline.config.data import BenchmarkSource
from lightline.data.dataset import Dataset
from lightline.errors import DataError
from lightline.sources import open_source
from lightline.sources.base import SourceImage
from lightline.sources.benchmarks import BENCHMARKS
from lightline.sources.cifar import _SPLITS, _Unpickler
from stages.download.ingest import download
from tests.support.benchmark_sets import CIFAR10, FINE, WRITERS, write_cifar10, write_mnist
from tests.support.source_settings import FETCH


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def mirror(tmp_path):
    """The base URL of a server and the folder whose files it gives."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


def checksums(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def params(name: str, mirror) -> BenchmarkSource:
    url, folder = mirror
    return benchmark(name, url, checksums(folder))


def benchmark(name: str, mirror: str | None, checksums: dict[str, str] | None) -> BenchmarkSource:
    values = {
        "source": name,
        "mirror": mirror,
        "checksums": checksums,
        "max_rejected": 0,
        "max_pixels": 2000,
        "bit_depth": "auto",
        "corrections": None,
    }
    return BenchmarkSource.model_validate(values | {"fetch": FETCH})


def torchvision_set(name: str, folder: Path, is_train: bool, monkeypatch):
    """What torchvision reads from the files in the folder, their checksums left aside."""
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    monkeypatch.setattr("torchvision.datasets.svhn.check_integrity", lambda *_: True)
    if name in ("cifar10", "cifar100"):
        with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
            archive.extractall(folder, filter="data")
        kind = {"cifar10": torchvision_datasets.CIFAR10, "cifar100": torchvision_datasets.CIFAR100}[name]
        return kind(folder, train=is_train)
    if name == "svhn":
        return torchvision_datasets.SVHN(folder, split="train" if is_train else "test")
    kind = {"mnist": torchvision_datasets.MNIST, "fashion_mnist": torchvision_datasets.FashionMNIST}[name]
    raw = folder / kind.__name__ / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.gz"):
        (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    return kind(folder, train=is_train)


@pytest.mark.parametrize("name", list(WRITERS))
def test_a_set_gives_what_torchvision_reads(name, mirror, monkeypatch):
    WRITERS[name](mirror[1])
    source = open_source(params(name, mirror))
    images = [image for image in source.images() if isinstance(image, SourceImage)]
    assert len({image.id for image in images}) == len(images)
    names = source.classes
    assert names is not None
    for is_train, split in ((True, "train"), (False, "test")):
        ours = sorted((image for image in images if image.split == split), key=lambda image: image.id)
        expected = torchvision_set(name, mirror[1], is_train, monkeypatch)
        assert len(ours) == len(expected)
        for image, (picture, label) in zip(ours, expected, strict=True):
            assert image.class_name == names[label]
            pixels = np.asarray(Image.open(io.BytesIO(image.read())))
            np.testing.assert_array_equal(pixels, np.asarray(picture))


@pytest.mark.parametrize("name", list(WRITERS))
def test_a_set_becomes_a_dataset_with_its_classes_in_order(name, mirror):
    WRITERS[name](mirror[1])
    download(open_source(params(name, mirror)), params(name, mirror))
    expected = {
        "cifar10": CIFAR10,
        "cifar100": FINE,
        "mnist": list("0123456789"),
        "fashion_mnist": torchvision_datasets.FashionMNIST.classes,
        "svhn": list("0123456789"),
    }
    assert Dataset().classes == expected[name]
    assert set(Dataset().column("split")) == {"train", "test"}


def test_addresses_and_checksums_are_torchvisions():
    for name, kind in (("cifar10", torchvision_datasets.CIFAR10), ("cifar100", torchvision_datasets.CIFAR100)):
        files = BENCHMARKS[name]
        assert [base + file for base in files.base_urls for file in files.md5] == [kind.url]
        assert files.md5 == {kind.filename: kind.tgz_md5}
        batches = [batch for batch, _ in kind.train_list]
        assert [_SPLITS[batch] for batch in batches] == ["train"] * len(batches)
        assert [_SPLITS[batch] for batch, _ in kind.test_list] == ["test"]
    for name, kind in (("mnist", torchvision_datasets.MNIST), ("fashion_mnist", torchvision_datasets.FashionMNIST)):
        assert BENCHMARKS[name].md5 == dict(kind.resources)
        assert list(BENCHMARKS[name].base_urls) == kind.mirrors
    for split in ("train", "test"):
        url, file, md5 = torchvision_datasets.SVHN.split_list[split]
        assert BENCHMARKS["svhn"].md5[file] == md5
        assert BENCHMARKS["svhn"].base_urls[0] + file == url


def test_the_identity_is_the_checksums():
    source = open_source(benchmark("cifar10", None, None))
    assert source.identity() == {"source": "cifar10", "md5": BENCHMARKS["cifar10"].md5}


def test_a_checksum_of_a_file_that_the_set_does_not_have_is_an_error():
    wrong = benchmark("cifar10", None, {"x.gz": "0" * 32})
    with pytest.raises(DataError, match=r"data.checksums names x.gz; cifar10 has the files cifar-10-python.tar.gz"):
        open_source(wrong)


def test_a_file_with_the_wrong_checksum_is_an_error(mirror):
    write_cifar10(mirror[1])
    with pytest.raises(DataError, match=r"has md5 .* but c58f30108f718f92721af3b95e74349a is expected"):
        list(open_source(benchmark("cifar10", mirror[0], None)).images())


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("owned"),)


@pytest.mark.parametrize(
    "content", [pickle.dumps(Evil(), 2), b"cos\nsystem\n(S'touch owned'\ntR.", b"cbuiltins\neval\n(S'1'\ntR."]
)
def test_a_pickle_that_asks_for_anything_but_arrays_is_refused(content):
    with pytest.raises(ValueError, match="which no CIFAR batch needs"):
        _Unpickler(io.BytesIO(content)).load()
    assert not Path("owned").exists()


def test_the_pickle_of_python_2_is_read():
    # numpy's name of before version 2, and the pixels as a Python 2 string.
    content = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85"
        b"U\x01b\x87Rq\x05(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff"
        b"\xffJ\xff\xff\xff\xffK\x00tb\x89U\x06\x00\x01\x02\xfd\xfe\xfftbu."
    )
    array = _Unpickler(io.BytesIO(content), encoding="latin1").load()["data"]
    assert array.tolist() == [[0, 1, 2], [253, 254, 255]]


@pytest.mark.parametrize("damage", ["truncated", "swapped", "text"])
def test_files_of_another_make_are_told(mirror, damage):
    write_mnist(mirror[1])
    file = mirror[1] / "train-images-idx3-ubyte.gz"
    content = {
        "truncated": gzip.compress(gzip.decompress(file.read_bytes())[:-1]),
        "swapped": (mirror[1] / "train-labels-idx1-ubyte.gz").read_bytes()[:-4],
        "text": b"no gzip",
    }[damage]
    file.write_bytes(content)
    with pytest.raises(DataError, match="files of mnist are not in the expected format"):
        list(open_source(params("mnist", mirror)).images())
