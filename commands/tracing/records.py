"""What dvc.lock has recorded: in the workspace, on HEAD, in experiments, tags and branches, and in the commits before.

All of it is read by a few processes of git, however many experiments there are, and only what holds a digest is parsed.
"""

import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from lightline.runtime.commits import git

LOCK = Path("dvc.lock")
_EXPERIMENT = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38,62})/(.+)")
_SHORT = re.compile(r"refs/(heads|tags|remotes)/(.+)")


@dataclass(frozen=True)
class Output:
    """A file or folder that a stage wrote; md5: as DVC has it, of a folder that of the list of its files."""

    path: str
    md5: str

    @property
    def is_folder(self) -> bool:
        return self.md5.endswith(".dir")


@dataclass(frozen=True)
class Record:
    """A dvc.lock, and where it stands.

    Attributes:
        commit: None: in the workspace alone, not committed.
        names: of the branches and tags that point to the commit.
        experiment: that the commit is of, and base: the commit that it was run on; None where it is of none.
    """

    commit: str | None
    names: tuple[str, ...]
    experiment: str | None
    base: str | None
    lock: bytes

    @property
    def outputs(self) -> dict[str, Output]:
        """By path, what the stages wrote."""
        return _outputs(self.lock)

    @property
    def title(self) -> str:
        """Name it in a line."""
        if self.commit is None:
            return "the workspace, not committed"
        names = [f"experiment {self.experiment}"] if self.experiment else []
        return ", ".join([*names, *self.names, f"commit {self.commit[:12]}"])

    def has(self, md5: str) -> bool:
        return md5.encode() in self.lock

    def md5_of(self, path: str) -> str | None:
        """Give an output's digest, found as DVC writes it down: of hundreds, reading them as YAML takes seconds."""
        found = re.search(rf"- path: {re.escape(path)}\n +(?:hash: md5\n +)?md5: (\S+)".encode(), self.lock)
        return found[1].decode() if found else None

    @property
    def folders(self) -> set[str]:
        """The digests of all folders in it."""
        return {md5.decode() for md5 in re.findall(rb"md5: ([0-9a-f]{32}\.dir)", self.lock)}

    def text(self, path: str) -> str | None:
        """Read a file that git has of it; None where it has none."""
        if self.commit is None:
            return Path(path).read_text(encoding="utf-8") if Path(path).is_file() else None
        return git("show", f"{self.commit}:./{path}")


def read_records() -> list[Record]:
    """Read them all: HEAD's, those of experiments, tags and branches, then what was before, latest first.

    The last is the workspace's, where it is not HEAD's: what is committed says more.
    """
    commits = _commits()
    here = LOCK.read_bytes() if LOCK.is_file() else b""
    records = [
        Record(commit, *commits[commit], lock)
        for commit, lock in zip(commits, _contents((commit, LOCK.name) for commit in commits), strict=True)
        if lock is not None
    ]
    head = git("rev-parse", "--verify", "--quiet", "HEAD")
    committed = next((record.lock for record in records if record.commit == head), None)
    return [*records, Record(None, (), None, None, here)] if here and here != committed else records


def code_at(commit: str | None, names: Sequence[str]) -> list[bytes | None]:
    """Read files as a commit has them, or the workspace; None for each that is not there."""
    if commit is None:
        return [Path(name).read_bytes() if Path(name).is_file() else None for name in names]
    return list(_contents((commit, name) for name in names))


def _commits() -> dict[str, tuple[tuple[str, ...], str | None, str | None]]:
    """Find the commits to look at, in order: names, experiment and base of each."""
    found: dict[str, tuple[tuple[str, ...], str | None, str | None]] = {}
    head = git("rev-parse", "--verify", "--quiet", "HEAD")
    if head:
        found[head] = (("HEAD",), None, None)
    listed = git("for-each-ref", "--format=%(objectname) %(*objectname) %(refname)", "--sort=-creatordate")
    refs = [
        (words[-2] if len(words) > 2 else words[0], words[-1])
        for words in map(str.split, (listed or "").split("\n"))
        if words
    ]
    for commit, ref in sorted(refs, key=lambda pair: not pair[1].startswith("refs/exps/")):
        names, experiment, base = found.get(commit, ((), None, None))
        if match := _EXPERIMENT.fullmatch(ref):
            found[commit] = (names, experiment or match[3], base or match[1] + match[2])
        elif match := _SHORT.fullmatch(ref):
            found[commit] = ((*names, match[2]), experiment, base)
    for commit in (git("log", "--all", "--format=%H", "--", LOCK.name) or "").split():
        found.setdefault(commit, ((), None, None))
    return found


def _contents(files: Iterable[tuple[str, str]]) -> Iterator[bytes | None]:
    """Read files of commits: (commit, path)."""
    prefix = git("rev-parse", "--show-prefix") or ""
    asked = "".join(f"{commit}:{prefix}{path}\n" for commit, path in files)
    done = subprocess.run(("git", "cat-file", "--batch"), input=asked.encode(), capture_output=True, check=False)
    rest, position = done.stdout, 0
    for _ in asked.splitlines():
        end = rest.index(b"\n", position)
        header, position = rest[position:end].split(), end + 1
        if header[-1] == b"missing":
            yield None
            continue
        size = int(header[2])
        yield rest[position : position + size]
        position += size + 1


@cache
def _outputs(lock: bytes) -> dict[str, Output]:
    """Read a dvc.lock, which many commits share; nothing of one that is damaged, as `make repair` says of such."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there
    try:
        stages = (yaml.load(lock, loader).get("stages") or {}).items()  # noqa: S506 (both are safe)
        found = [out for _, stage in stages for out in stage.get("outs", ()) if "md5" in out]
        return {out["path"]: Output(out["path"], str(out["md5"])) for out in found}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        return {}
