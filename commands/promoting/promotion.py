"""A promotion from beginning to end: find the two, compare, and write tags and reports, all or nothing."""

import json
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from commands.promoting.comparison import Comparison, Contender, compare, fetch_card, fetch_model, shares_images
from commands.promoting.gate import PROMOTE, judge
from commands.promoting.remote_files import push_files
from commands.promoting.tags import Assignment, NewTag, PromotionError, Registry, check_identity, find_remote, promoting
from commands.promoting.verdict import Verdict, of_comparison, of_first, of_same
from commands.sign import STATEMENT, envelope_of, read_key
from commands.tracing.records import LOCK, read_records
from lightline.config.load import load_params
from lightline.config.params import Params
from lightline.errors import LightlineError
from lightline.files import whole_file
from lightline.runtime.commits import experiment_of, find_commit
from lightline.runtime.experiment_files import read_file
from lightline_predict.provenance import envelope_beside

_OWN = "`dvc exp show` lists experiments; one whose run got as far as export has a model."
_CHAMPIONS = (
    "`dvc fetch --all-tags` brings it where DVC's remote has it; in the clone that has it, `dvc push --all-tags` sends "
    "it there."
)


def promote(experiment: str | None, params: Params, first: bool, push: bool, reports: Path) -> tuple[Verdict, str]:
    """Compare an experiment with the champion, write the verdict, and make it the champion if that is PROMOTE.

    Returns the verdict, and what was done in lines. experiment: None for what lies here. first: there is none to
    compare with. push: to the remotes of git and DVC. reports: a folder.

    Raises:
        LightlineError: something is not there, or another promotion was first; then nothing is written.
    """
    with promoting(), TemporaryDirectory() as folder:
        registry, remote = _registry(push)
        champion, commit = registry.champion(), (find_commit(experiment) if experiment else _recorded())
        name = experiment_of(commit) or commit[:12]
        if champion and champion.commit == commit:
            raise PromotionError(f"{name} is the champion, {champion.name}, already.")
        challenger = fetch_model(name, commit, Path(folder), _OWN)
        verdict = _judge(registry, champion, challenger, params, first, Path(folder))
        tags = _tags(registry, champion, challenger, verdict)
        told = _write(registry, verdict, tags, reports, remote)
        if verdict.verdict == PROMOTE:
            _mirror(challenger, params)
    return verdict, told


def _registry(push: bool) -> tuple[Registry, str | None]:
    """Open the tags, with what others have made of them, and find the git remote that new ones go to."""
    check_identity()
    registry, remote = Registry(), find_remote() if push else None
    if remote:
        registry.fetch(remote)
    return registry, remote


def _recorded() -> str:
    """Find the commit that has the results which lie here: HEAD, an experiment, or another."""
    here = LOCK.read_bytes() if LOCK.is_file() else None
    for record in read_records():
        if record.commit and record.lock == here:
            return record.commit
    raise PromotionError(
        "What lies here is neither committed nor an experiment's. Name one, or commit dvc.lock; `dvc exp save` makes "
        "an experiment of it."
    )


def _judge(
    registry: Registry,
    champion: Assignment | None,
    challenger: Contender,
    params: Params,
    first: bool,
    folder: Path,
) -> Verdict:
    if champion is None:
        return of_first(challenger, first, "There is no champion to compare it with.")
    try:
        holder = fetch_model(f"the champion {champion.name}", champion.commit, folder, _CHAMPIONS)
        if holder.digest == challenger.digest:
            return of_same(holder, challenger)
        compared = compare(holder, challenger, folder, _CHAMPIONS)
    except LightlineError as error:
        if first:
            return of_first(challenger, first, f"It cannot be compared with the champion: {error}")
        raise
    if first:
        raise PromotionError(
            f"There is a champion, {champion.name}, and the two can be compared: leave --first out. "
            "`promote rollback VERSION` takes an earlier champion without a comparison."
        )
    return of_comparison(compared, judge(compared, params.promote, params.evaluate, _number(registry, compared)))


def _number(registry: Registry, compared: Comparison) -> int:
    """Find a comparison's number among those with this champion on this test set, which is any that shares an image.

    The same challenger again has the number that it had: it is no new try.
    """
    earlier = registry.comparisons(compared.champion.commit)
    sketch = compared.test_set.sketch
    numbers = {
        one["challenger"]["model"]: one["comparison"]["number"]
        for one in earlier
        if shares_images(one["test_set"]["sketch"], sketch)
    }
    return numbers.get(compared.challenger.digest, len(numbers) + 1)


def _tags(registry: Registry, champion: Assignment | None, challenger: Contender, verdict: Verdict) -> list[NewTag]:
    """Plan the tags of a verdict: each comparison is counted, and the champion's tag names it by its digest."""
    before = champion.commit if champion else None
    if verdict.verdict != PROMOTE:
        return [registry.comparison(before, before, verdict.text)] if before and "comparison" in verdict.content else []
    commit = challenger.commit
    return [registry.comparison(before, before or commit, verdict.text), *registry.promotion(commit, verdict.digest)]


def _write(registry: Registry, verdict: Verdict, tags: list[NewTag], reports: Path, remote: str | None) -> str:
    """Write reports and tags, all or none; gives what was done."""
    promoted = verdict.verdict == PROMOTE
    told = push_files(tags[-1].commit) if promoted and remote else ""
    with ExitStack() as stack:
        files = {"verdict.json": verdict.text, "verdict.md": verdict.markdown()}
        if promoted:
            files |= _signed(tags[-1].commit)
        for name, text in files.items():
            stack.enter_context(whole_file(reports / name)).write_text(text, encoding="utf-8")
        registry.write(tags, remote)
    made = [tag.name for tag in tags] if promoted else []
    return told + _told(made, remote)


def _signed(commit: str) -> dict[str, str]:
    """Sign the statement of where a commit's model comes from, if there is a key; gives the envelope's text by name."""
    key = read_key()
    if key is None:
        return {}
    envelope = envelope_of(read_file(commit, str(STATEMENT)), key)
    return {envelope_beside(STATEMENT).name: json.dumps(envelope) + "\n"}


def _told(made: list[str], remote: str | None) -> str:
    where = f", pushed to {remote}" if remote else ", in this clone alone"
    return f"Tagged {', '.join(made)}{where}.\n" if made else ""


def _mirror(model: Contender, params: Params) -> None:
    """Have W&B call this model the champion, where tracking is on: the files that export sent it, by another alias."""
    from lightline.runtime.tracking import track
    from lightline.runtime.tracking_mode import chosen_mode

    if chosen_mode(params.tracking) == "disabled":
        return
    fingerprint = str(model.classifier.metadata.get("fingerprint"))
    files = [model.path, fetch_card(model)]
    with track(params, fingerprint, "promote") as run:
        run.log_artifact("model", "model", files, {"fingerprint": fingerprint}, ["champion"])


def rollback(version: str | None, push: bool) -> str:
    """Make an earlier champion the champion again; gives what was done.

    version: as in v0.0.1; None: the champion before the present one first was it.

    Raises:
        LightlineError: there is no such champion, or its model is not to be had; nothing is written.
    """
    with promoting(), TemporaryDirectory() as folder:
        registry, remote = _registry(push)
        history = registry.assignments()
        target = _earlier(history, version)
        model = fetch_model(f"the champion {target.name}", target.commit, Path(folder), _CHAMPIONS)
        told = push_files(target.commit) if remote else ""
        tags = registry.promotion(target.commit, f"rollback from {history[-1].name}")
        registry.write(tags, remote)
        _mirror(model, load_params())
    return f"{target.name} is the champion again.\n{told}{_told([tag.name for tag in tags], remote)}".rstrip("\n")


def _earlier(history: list[Assignment], version: str | None) -> Assignment:
    if not history:
        raise PromotionError("There is no champion to go back from.")
    present = history[-1]
    if version:
        found = [one for one in history if one.version == version]
    else:
        began = [one.commit for one in history].index(present.commit)
        found = history[:began]
    if not found:
        known = ", ".join(dict.fromkeys(one.name for one in history))
        raise PromotionError(f"There is no earlier champion {version or 'than ' + present.name}; there were {known}.")
    if found[-1].commit == present.commit:
        raise PromotionError(f"{present.name} is the champion already.")
    return found[-1]
