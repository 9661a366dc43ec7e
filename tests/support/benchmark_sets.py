"""Small archives in the formats of the benchmark sets, made up."""

import gzip
import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
from scipy.io import savemat

RANDOM = np.random.default_rng(0)
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
FINE = [f"thing_{number:02d}" for number in range(100)]


def pickled(content: dict) -> bytes:
    return pickle.dumps(content, protocol=2)  # as the authors' Python 2 wrote it


def cifar_batch(num_images: int, label_key: str, num_classes: int) -> bytes:
    pixels = RANDOM.integers(0, 256, (num_images, 3072), dtype=np.uint8)
    labels = [number % num_classes for number in range(num_images)]
    return pickled({"data": pixels, label_key: labels, "batch_label": "a batch", "filenames": ["x.png"] * num_images})


def write_cifar(folder: Path, name: str, inside: str, files: dict[str, bytes]) -> None:
    with tarfile.open(folder / name, "w:gz") as archive:
        for file, content in files.items():
            info = tarfile.TarInfo(f"{inside}/{file}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def write_cifar10(folder: Path) -> None:
    batches = {f"data_batch_{number}": cifar_batch(10, "labels", 10) for number in (4, 1, 2, 3, 5)}
    rest = {"readme.html": b"text", "test_batch": cifar_batch(10, "labels", 10)}
    names = {"batches.meta": pickled({"label_names": CIFAR10, "num_vis": 3072})}
    write_cifar(folder, "cifar-10-python.tar.gz", "cifar-10-batches-py", batches | rest | names)


def write_cifar100(folder: Path) -> None:
    files = {
        "file.txt~": b"",
        "train": cifar_batch(200, "fine_labels", 100),
        "test": cifar_batch(100, "fine_labels", 100),
        "meta": pickled({"fine_label_names": FINE, "coarse_label_names": ["coarse"] * 20}),
    }
    write_cifar(folder, "cifar-100-python.tar.gz", "cifar-100-python", files)


def idx(values: np.ndarray) -> bytes:
    return gzip.compress(struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes())


def write_mnist(folder: Path) -> None:
    for part, num_images in (("train", 40), ("t10k", 20)):
        pixels = RANDOM.integers(0, 256, (num_images, 28, 28), dtype=np.uint8)
        labels = np.arange(num_images, dtype=np.uint8) % 10
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(pixels))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(labels))


def write_svhn(folder: Path) -> None:
    for split, num_images in (("train", 40), ("test", 20)):
        pixels = RANDOM.integers(0, 256, (32, 32, 3, num_images), dtype=np.uint8)
        labels = (np.arange(num_images, dtype=np.uint8) % 10 + 1)[:, None]  # 10 stands for the digit 0
        savemat(folder / f"{split}_32x32.mat", {"X": pixels, "y": labels}, do_compression=True)


WRITERS = {
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "mnist": write_mnist,
    "fashion_mnist": write_mnist,
    "svhn": write_svhn,
}
