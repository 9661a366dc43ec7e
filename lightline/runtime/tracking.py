"""Weights & Biases, which mirrors what a run does and can never fail it: the first error is told in one line, then W&B
is left alone.

The run that train begins is found by the fingerprint, so that the later stages write into it, wherever they run.
"""

import errno
import json
import logging
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightline.config.params import Params
from lightline.errors import free_bytes, no_room_code
from lightline.files import write_json
from lightline.redaction import redacted
from lightline.runtime.origin import experiment_name, origin, records
from lightline.runtime.tracking_mode import Mode, chosen_mode

_ONLINE_TIMEOUT = 30  # seconds until an unreachable server is given up
_MOST_CHARTED = 100  # classes
_FULL = 2**16  # bytes: a disk with fewer left is full
_FINISH_TIMEOUT = 120  # seconds for what is still to be uploaded when a stage ends


class Run:
    """A W&B run, or nothing where tracking is disabled or has failed; every method is safe to call either way."""

    def __init__(self, run: Any = None, step: int = 0):
        """Take a run; step: the last one that was logged; offline, W&B would count from 0 again in every stage."""
        self._run = run
        self.step = step

    def log(self, values: dict[str, Any], step: int | None = None, commit: bool = True) -> None:
        """Log values of one step, the last ones if commit; without a number, of the step after the last.

        In training, steps are the optimizer's: what a resumed training repeats has the number that it had before.
        """
        self.step = self.step + 1 if step is None else step
        # Committed, because W&B would keep the step open until the run's end, and then put it over the summary.
        self._safely(lambda run: run.log(values, step=self.step, commit=commit))

    def log_images(self, name: str, images: Iterable[Any], captions: list[str], step: int) -> None:
        """Log images: uint8 arrays [height, width, 3], each with its caption; before `log`, which ends a step."""

        def send(run: Any) -> None:
            import wandb

            pictures = [wandb.Image(image, caption=caption) for image, caption in zip(images, captions, strict=True)]
            run.log({name: pictures}, step=step)

        self._safely(send)

    def log_evaluation(self, labels: list[int], predicted: list[int], classes: list[str], *pictures: Path) -> None:
        """Log figures; up to 100 classes, W&B's chart is the confusion matrix, a row of it for each pair of classes."""

        def send(run: Any) -> None:
            import wandb

            values: dict[str, Any] = {picture.stem: wandb.Image(str(picture)) for picture in pictures}
            if len(classes) <= _MOST_CHARTED:
                chart = wandb.plot.confusion_matrix(y_true=labels, preds=predicted, class_names=classes)
                values["confusion"] = chart
            run.log(values, step=self.step + 1, commit=True)
            self.step += 1

        self._safely(send)

    def summarize(self, values: dict[str, Any]) -> None:
        """Log numbers of the whole run."""
        self._safely(lambda run: run.summary.update(values))

    def log_artifact(
        self,
        name: str,
        kind: str,
        files: list[Path],
        metadata: dict[str, Any],
        aliases: Sequence[str] = ("latest", "best"),
    ) -> None:
        """Log files under a name, with aliases of that version; W&B knows files that it has."""

        def send(run: Any) -> None:
            import wandb

            artifact = wandb.Artifact(name, type=kind, metadata=metadata)
            for file in files:
                artifact.add_file(str(file), name=file.name)
            run.log_artifact(artifact, aliases=list(aliases))

        self._safely(send)

    def log_page(self, name: str, page: Path) -> None:
        """Show a page of HTML."""

        def send(run: Any) -> None:
            import wandb

            run.log({name: wandb.Html(str(page), inject=False)}, step=self.step + 1, commit=True)
            self.step += 1

        self._safely(send)

    def remember(self, record: Path) -> None:
        """Write down which run this is and how far it came, for the stages after this one."""
        self._safely(lambda run: write_json(record, {"id": run.id, "name": run.name, "step": self.step}))

    def finish(self, exit_code: int = 0) -> None:
        """Write everything out; exit_code: as W&B has it, which shows 255 as killed and any other but 0 as failed."""

        def end(run: Any) -> None:
            run.finish(exit_code)
            # W&B's service tells nobody but its own log that the disk took no more.
            if free_bytes(Path(run.dir)) < _FULL:
                raise OSError(errno.ENOSPC, "what it wrote may not be whole")

        self._safely(end)
        self._run = None

    def _safely(self, call: Callable[[Any], None]) -> None:
        if self._run is None:
            return
        try:
            call(self._run)
        # W&B's service, network and disk fail in ways it does not list; none of them may cost a trained model.
        except Exception as error:
            self._run = None
            _warn(f"W&B is left out of the rest of this run: {_reason(error)}")
            _abandon()


@contextmanager
def track(params: Params, fingerprint: str, job: str, *, resume: bool = True, enabled: bool = True) -> Iterator[Run]:
    """Begin the W&B run of a fingerprint, or go on with it, while a stage works.

    job: the stage; resume: go on with the run that began with this fingerprint, where there is one; enabled: False in
    all processes but one of a distributed training.
    """
    record = records() / "runs" / f"{fingerprint}.json"
    known = _read(record) if resume else {}
    run = Run(_begin(params, fingerprint, job, known) if enabled else None, known.get("step", 0))
    run.remember(record)
    exit_code = 1
    try:
        yield run
        exit_code = 0
    except KeyboardInterrupt:
        exit_code = 255
        raise
    finally:
        run.remember(record)
        run.finish(exit_code)


def _begin(params: Params, fingerprint: str, job: str, known: dict[str, Any]) -> Any:
    mode = chosen_mode(params.tracking)
    if mode == "disabled":
        return None
    try:
        return _init(params, fingerprint, job, mode, known)
    except Exception as error:
        if mode == "offline":
            _warn(f"W&B is left out of this run: {_reason(error)}")
            return None
        _warn("W&B cannot be reached or refuses the key; this run is kept offline for `wandb sync`: " + _reason(error))
    try:
        return _init(params, fingerprint, job, "offline", known)
    except Exception:
        return None


def _init(params: Params, fingerprint: str, job: str, mode: Mode, known: dict[str, Any]) -> Any:
    # W&B's reports about itself go to the same server: one that does not answer would hold up the end for 20 seconds.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_SILENT", "true")  # also before there are settings: as it takes the key
    # W&B's log lies beside its runs: on a full disk each of its lines would print a traceback of Python's logging.
    logging.raiseExceptions = False
    import wandb

    run = wandb.init(
        id=known.get("id") or secrets.token_hex(4),
        name=known.get("name") or experiment_name() or f"workspace-{fingerprint[:8]}",
        resume="allow",
        mode=mode,
        project=params.tracking.project,
        entity=params.tracking.entity,
        job_type=job,
        tags=[fingerprint],
        config={**params.model_dump(mode="json"), "fingerprint": fingerprint},
        dir=str(origin()),
        settings=wandb.Settings(console="off", init_timeout=_ONLINE_TIMEOUT, finish_timeout=_FINISH_TIMEOUT),
    )
    # The x-axis, as Lightning's WandbLogger has it.
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return run


def _abandon() -> None:
    """End W&B's service now: at the interpreter's exit it would print a traceback where the service has died."""
    import wandb

    with suppress(Exception):
        wandb.teardown()


def _read(record: Path) -> dict[str, Any]:
    try:
        return json.loads(record.read_text())
    except (OSError, ValueError):
        return {}


def _warn(message: str) -> None:
    print(f"warning: {redacted(message)}", file=sys.stderr, flush=True)


def _reason(error: Exception) -> str:
    if (code := no_room_code(error)) is not None:
        folder = origin() / "wandb"
        return f"{os.strerror(code)} in {folder}, where {free_bytes(folder)} bytes are free"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
