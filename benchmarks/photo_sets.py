"""Sets of photos to fine-tune on, as folders with train/CLASS/ and test/CLASS/: what every side is given."""

import io
import random
import tarfile
from pathlib import Path, PurePosixPath

from PIL import Image

from benchmarks.sources import cifar_archive, photos_archive, work_folder

_NUM_TEST = 2_000  # images of CIFAR-10's test set
_QUICK_PART = 6  # a quick question takes every sixth photo


def photos(quick: bool) -> Path:
    """Unpack the photos, once; their val/ is the test set of all sides."""
    source = photos_archive()
    folder = work_folder() / ("photos-quick" if quick else "photos")
    if not folder.exists():
        with tarfile.open(source) as archive:
            for number, member in enumerate(member for member in archive if member.isfile()):
                split, *rest = PurePosixPath(member.name).parts[-3:]
                content = archive.extractfile(member)
                if len(rest) == 2 and content is not None and (not quick or number % _QUICK_PART == 0):
                    path = folder / ("test" if split == "val" else split) / rest[0] / rest[1]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content.read())
    return folder


def enlarged_cifar(images_per_class: int, size: int) -> Path:
    """Write so many training images a class of CIFAR-10 (JPEG), and 2,000 test images; size: pixels a side, enlarged.

    Which, is drawn with one seed: a smaller set lies inside a larger one, and the test images are the same for all.
    """
    folder = work_folder() / f"cifar-{images_per_class}-{size}"
    if not folder.exists():
        with tarfile.open(cifar_archive()) as archive:
            chosen = _chosen(archive.getmembers(), images_per_class)
            for member in archive:  # in its order: to go back in a tar.gz is to read it from its start
                content, path = archive.extractfile(member), chosen.get(member.name)
                if content is None or path is None:
                    continue
                with Image.open(io.BytesIO(content.read())) as image:
                    large = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                large.save(folder / path)
    return folder


def _chosen(members: list[tarfile.TarInfo], images_per_class: int) -> dict[str, Path]:
    """Choose members, and say where they go."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for member in members:
        split, *rest = PurePosixPath(member.name).parts[-3:]
        if member.isfile() and len(rest) == 2:
            groups.setdefault((split, rest[0]), []).append(member.name)
    num_classes = len({class_name for _, class_name in groups})
    chosen = {}
    for (split, class_name), names in sorted(groups.items()):
        num_taken = images_per_class if split == "train" else _NUM_TEST // num_classes
        shuffled = random.Random(0).sample(sorted(names), len(names))
        chosen |= {name: Path(split, class_name, f"{PurePosixPath(name).stem}.png") for name in shuffled[:num_taken]}
    return chosen
