"""Champions and comparisons as git tags, which need no server: GTO's, which `dvc artifacts get` reads, and a ledger.

    classifier@v0.0.2                        a version: the commit of a DVC experiment, or any other
    classifier#champion#3                    who the champion is from then on; its message is the verdict's SHA-256
    promotion/classifier/COMMIT/4            the fourth comparison with the champion of that commit: its verdict

GTO makes one tag at a time, and tells which champion is the latest by whole seconds of the maker's clock. Here all tags
of a promotion come into being in one step, on the remote first, and each is later than those before it.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightline.errors import LightlineError
from lightline.redaction import redacted
from lightline.runtime.locks import lock

ARTIFACT, STAGE = "classifier", "champion"  # as dvc.yaml calls it, and as `dvc artifacts get --stage` is asked
_LEDGER = "promotion"
_LOCK = Path(".dvc/tmp/promotion.lock")


class PromotionError(LightlineError):
    """A promotion cannot be had, or another one was first; nothing of it has been written."""


@dataclass(frozen=True)
class Assignment:
    """Who became the champion when. version: None where its commit has none. message: what the tag says."""

    tag: str
    commit: str
    version: str | None
    message: str
    when: str
    who: str

    @property
    def name(self) -> str:
        return f"{self.version or 'without a version'} ({self.commit[:12]})"


@dataclass(frozen=True)
class NewTag:
    name: str
    commit: str
    message: str


@contextmanager
def promoting() -> Iterator[None]:
    """Keep other promotions in this folder out.

    Raises:
        PromotionError: another one is going on.
    """
    _LOCK.parent.mkdir(parents=True, exist_ok=True)
    with _LOCK.open("a") as file:
        if not lock(file):
            raise PromotionError("Another promotion is going on in this folder. Try again when it has ended.")
        yield


class Registry:
    """The tags of the repository that the working directory lies in."""

    def __init__(self) -> None:
        """Look where the project lies in its repository.

        Raises:
            PromotionError: in none, or where GTO cannot name it.
        """
        from gto.constants import assert_fullname_is_valid
        from gto.exceptions import ValidationError

        self._root = _git("rev-parse", "--show-toplevel")
        prefix = _git("rev-parse", "--show-prefix").rstrip("/")
        self.artifact = f"{prefix}:{ARTIFACT}" if prefix else ARTIFACT
        try:
            assert_fullname_is_valid(self.artifact)
        except ValidationError as error:
            raise PromotionError(
                f"{prefix!r}: GTO's tags can name a folder of letters, digits, -, _, . and / alone. Rename it."
            ) from error

    def assignments(self) -> list[Assignment]:
        """List the champions, the present one last; DVC takes the same tag for the latest."""
        versions = {tag.target: tag.name.partition("@")[2] for tag in self._tags(registered=True)}
        return [
            Assignment(
                tag.name,
                tag.target,
                versions.get(tag.target),
                tag.message.strip(),
                f"{tag.tag_datetime:%Y-%m-%d %H:%M}",
                tag.tagger_name,
            )
            for tag in self._tags(stage=STAGE)
        ]

    def champion(self) -> Assignment | None:
        return next(reversed(self.assignments()), None)

    def _tags(self, *, registered: bool = False, stage: str | None = None) -> list[Any]:
        from dvc.scm import Git
        from gto.constants import Action
        from gto.tag import find

        scm = Git(self._root)
        try:
            return find(Action.REGISTER if registered else None, self.artifact, stage=stage, scm=scm)
        finally:
            scm.close()

    def promotion(self, commit: str, message: str) -> list[NewTag]:
        """Plan the tags that make a commit the champion: a version, where it has none, and the assignment."""
        from dvc.scm import Git
        from gto.constants import Action
        from gto.tag import name_tag
        from gto.versions import SemVer

        registered = {tag.target: SemVer(tag.name.partition("@")[2]) for tag in self._tags(registered=True)}
        tags, scm = [], Git(self._root)
        try:
            if commit not in registered:
                last = max(registered.values(), default=None)
                version = (last.bump(bump_patch=True) if last else SemVer.get_minimal()).version
                name = name_tag(Action.REGISTER, self.artifact, version=version, simple=True, scm=scm)
                tags.append(NewTag(name, commit, message))
            name = name_tag(Action.ASSIGN, self.artifact, stage=STAGE, simple=False, scm=scm)
            return [*tags, NewTag(name, commit, message)]
        finally:
            scm.close()

    def comparisons(self, champion: str | None) -> list[dict[str, Any]]:
        """Read the verdicts of all comparisons with the champion of a commit, the first one first."""
        verdicts = map(json.loads, self._ledger(champion).values())
        return [verdict for verdict in verdicts if "comparison" in verdict]  # else a person has said --first

    def comparison(self, champion: str | None, commit: str, verdict: str) -> NewTag:
        """Plan the tag of one more comparison; verdict: its text. It points to a commit that the remote has or gets."""
        number = max(self._ledger(champion), default=0) + 1
        return NewTag(f"{self._ledger_of(champion)}/{number}", commit, verdict)

    def _ledger_of(self, champion: str | None) -> str:
        return f"{_LEDGER}/{self.artifact.replace(':', '/')}/{champion[:12] if champion else 'none'}"

    def _ledger(self, champion: str | None) -> dict[int, str]:
        place = f"refs/tags/{self._ledger_of(champion)}/"
        names = _git("for-each-ref", "--format=%(refname)", place).split()
        numbers = sorted(int(number) for name in names if (number := name.removeprefix(place)).isdecimal())
        return {number: _git("cat-file", "tag", f"{place}{number}").partition("\n\n")[2] for number in numbers}

    def fetch(self, remote: str) -> None:
        """Get the tags that others have made.

        Raises:
            PromotionError: the remote cannot be reached, or has other tags of the same names.
        """
        begin = self.artifact.replace(":", "=")
        patterns = [f"{begin}@*", f"{begin}#*", f"{_LEDGER}/{self.artifact.replace(':', '/')}/*"]
        try:
            specs = (f"refs/tags/{name}:refs/tags/{name}" for name in patterns)
            # Where fetch.prune is set, git would delete what was made with --no-push.
            _git("fetch", "--quiet", "--no-tags", "--no-prune", "--no-prune-tags", remote, *specs)
        except PromotionError as error:
            if "would clobber" in str(error):
                raise PromotionError(
                    f"{remote} has promotions that differ from those that this clone made with --no-push: {error}\n"
                    f"`git fetch --tags --force {remote}` takes those of {remote} instead."
                ) from error
            raise PromotionError(
                f"{remote} cannot say who the champion is: {error}\n--no-push goes by the tags that are here."
            ) from error

    def write(self, tags: Sequence[NewTag], remote: str | None) -> None:
        """Make tags, all or none, and first on the remote, where there is one.

        Raises:
            PromotionError: the remote, or another promotion that was first, does not let them be; there are none then.
        """
        objects = {tag.name: self._make(tag) for tag in tags}
        if remote and objects:
            specs = [f"{digest}:refs/tags/{name}" for name, digest in objects.items()]
            try:
                _git("push", "--quiet", "--atomic", remote, *specs)
            except PromotionError as error:
                if "already exists" in str(error) or "fetch first" in str(error):
                    raise PromotionError(
                        f"Another promotion was first: {remote} has tags of these names by now. Nothing was written. "
                        "The same command again compares with the champion that there is now."
                    ) from error
                raise PromotionError(
                    f"{remote} does not take the tags, and so nothing was written: {error}\n--no-push leaves it out."
                ) from error
        lines = [f"create refs/tags/{name} {digest}\n" for name, digest in objects.items()]
        _git("update-ref", "--stdin", given="".join(lines))

    def _make(self, tag: NewTag) -> str:
        """Write a tag's object, which nothing names yet; gives its digest."""
        who, _, clock = _git("var", "GIT_COMMITTER_IDENT").rpartition("> ")
        seconds, zone = clock.split()
        latest = max((int(found.tag_time) for found in self._tags(stage=STAGE)), default=0)
        seconds = max(int(seconds), latest + 1)  # GTO knows no other order, and another machine's clock may be ahead
        head = f"object {tag.commit}\ntype commit\ntag {tag.name}\ntagger {who}> {seconds} {zone}\n\n"
        return _git("mktag", given=f"{head}{tag.message}")


def check_identity() -> None:
    """Ask git who promotes.

    Raises:
        PromotionError: it does not know.
    """
    try:
        _git("var", "GIT_COMMITTER_IDENT")
    except PromotionError:
        raise PromotionError(
            "git does not know who you are, and a champion's tag says who made it: `git config user.name NAME` and "
            "`git config user.email ADDRESS`."
        ) from None


def find_remote() -> str | None:
    """Name the git remote that tags go to: origin, or the only one; None: there is none, or one has to be chosen."""
    names = _git("remote").split()
    return "origin" if "origin" in names else names[0] if len(names) == 1 else None


def _git(*arguments: str, given: str | None = None) -> str:
    """Run git; gives what it printed, without the last line's end of most commands.

    Raises:
        PromotionError: it failed, with its own words.
    """
    english = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(("git", *arguments), input=given, env=english, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if not line.startswith("hint:")]
        raise PromotionError(redacted("\n".join(said).strip() or f"git {arguments[0]} failed"))
    return done.stdout if arguments[0] == "cat-file" else done.stdout.rstrip("\n")
