"""What the parts need beside PyTorch, carried as wheels to a machine without a network.

python -m benchmarks.gpu.wheels FOLDER [--python 3.12] [--there FILE]     where there is a network
python -m benchmarks.gpu --wheels FOLDER                                  on the GPU machine
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

# By the name to import, the package; what PyTorch comes with is the machine's own.
NEEDED = {
    "hydra": "hydra-core", "lightning": "lightning", "matplotlib": "matplotlib", "numpy": "numpy",
    "omegaconf": "omegaconf", "onnx": "onnx", "onnxruntime": "onnxruntime", "onnxscript": "onnxscript", "PIL": "pillow",
    "psutil": "psutil", "pyarrow": "pyarrow", "pydantic": "pydantic", "scipy": "scipy", "torchmetrics": "torchmetrics",
    "yaml": "pyyaml",
}  # fmt: skip
_TORCHS = re.compile("(torch|torchvision|triton|setuptools|nvidia-.*|cuda-.*)$")
_PLATFORMS = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (28, 27, 26, 24, 17, 12, 5)]
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def missing() -> list[str]:
    """Name the packages that are not here."""
    return [package for module, package in NEEDED.items() if find_spec(module) is None]


def install(folder: Path, target: Path) -> None:
    """Install all wheels of a folder where nothing else is: before the machine's own packages, which stay as they are.

    Raises:
        RuntimeError: pip cannot.
    """
    wheels = sorted(map(str, folder.glob("*.whl")))
    if not wheels:
        raise RuntimeError(f"{folder} has no wheels; `python -m benchmarks.gpu.wheels {folder}` fills it")
    options = ("--quiet", "--no-index", "--no-deps", "--no-compile", "--target", str(target))
    done = subprocess.run((*_PIP, "install", *options, *wheels), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the wheels cannot be installed: {done.stderr.strip()}")


def main() -> None:
    """Fill a folder with wheels, in the versions that are installed here."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.wheels", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--python", default=".".join(map(str, sys.version_info[:2])), help="the GPU machine's, as in 3.12"
    )
    parser.add_argument(
        "--there", type=Path, help="names of packages that the machine has, as `pip freeze` writes them"
    )
    options = parser.parse_args()
    there = set(re.findall(r"(?m)^[\w.-]+", options.there.read_text())) if options.there else set()
    needed = _needed({_plain(name) for name in there})
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        where = ("--no-deps", "--dest", folder, f"--python-version={options.python}", *_PLATFORMS)
        subprocess.run((*_PIP, "download", "--quiet", *where, *needed), check=True)
        for file in Path(folder).iterdir():
            if file.suffix == ".whl":
                shutil.move(file, options.folder / file.name)
            else:  # there as its sources alone
                pip_wheel = (*_PIP, "wheel", "--quiet", "--no-deps", "--wheel-dir", options.folder, file)
                subprocess.run(pip_wheel, check=True)
    size = sum(file.stat().st_size for file in options.folder.glob("*.whl"))
    print(f"{len(needed)} packages, {size / 2**20:.1f} MiB: {', '.join(needed)}")


def _needed(there: set[str]) -> list[str]:
    """List what is needed and what that needs, as NAME==VERSION, but for what is there and PyTorch's."""
    found, names = {}, [*NEEDED.values()]
    while names:
        name = _plain(names.pop())
        if name in found or name in there or _TORCHS.match(name):
            continue
        try:
            package = distribution(name)
        except ModuleNotFoundError:  # for another system, or an extra
            continue
        found[name] = f"{name}=={package.version}"
        names += [
            one[0] for line in package.requires or () if "extra ==" not in line and (one := re.match(r"[\w.-]+", line))
        ]
    return sorted(found.values())


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
