"""DVC for one flow run: imported once, in a process of its own that works in the run's clone.

`python -m flows.dvc FD` takes a request a line from stdin, as JSON, and answers each with a line on the file descriptor
FD. What DVC and the stages print goes to stdout. When stdin ends, because the flow is done or dead, it stops the
stage that runs, deletes the clone and goes: nothing of a run outlives its flow.
"""

import json
import os
import queue
import re
import shutil
import signal
import sys
import threading
import time
import traceback
from functools import cached_property, wraps
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from flows.faults import RequestError, describe
from flows.loading import loading
from lightline.cache import LookingInto
from lightline.digests import Digests
from lightline.origin import EXPERIMENT_VARIABLE, ORIGIN_VARIABLE

_GRACE = 20.0  # seconds a stage has to end after SIGTERM


class Session:
    """The requests: each public method is one, its arguments and its result plain JSON."""

    def __init__(self):
        self.clone: Path | None = None
        self._ran: list[str] = []
        self._note_what_runs()
        # All that will be needed, loaded while the flow is still cloning.
        with loading():
            for module in ("dvc.repo.experiments.utils", "dvc.utils.hydra", "hydra", "networkx"):
                import_module(module)
        _trust_the_clones_database()

    def open(self, clone: str, cache: str, origin: str | None, environment: dict[str, str]) -> None:
        """Work in a clone, with the cache and the remotes of the repository it came from.

        cache: where the origin has no setting of its own.
        origin: the repository, where it is on this machine.
        environment: added to what the stages find in theirs.
        """
        from dvc.config import Config

        self.clone = Path(clone)
        os.environ.update(environment)
        os.chdir(clone)
        # The clone's lightline, not the flow's: parameters are checked by the code that will read them.
        sys.path.insert(0, clone)
        for name in [name for name in sys.modules if name.partition(".")[0] == "lightline"]:
            del sys.modules[name]
        config: Any = Config(str(Path(origin, ".dvc")) if origin else None)
        own: Any = Config(str(self.clone / ".dvc"))
        with own.edit("local") as local:
            local["cache"].update({**config["cache"], "dir": str(config["cache"].get("dir") or cache)})
            local["core"]["site_cache_dir"] = str(self.clone / ".dvc" / "tmp" / "site")
            local["core"]["autostage"] = True  # else DVC says after every stage what to type into git
            if origin:
                local["remote"].update(config["remote"])
                local["core"].update({key: value for key, value in config["core"].items() if key == "remote"})
        # Here, the cache is at hand. From elsewhere, what was computed before can only come from a remote.
        self._uses_remote = origin is None and "remote" in self._repo.config["core"]
        self._digests = Digests(Path(environment[ORIGIN_VARIABLE], ".lightline", "digests.json"))
        self._cache = LookingInto(self._repo, self._digests, print)

    def compose(self, overrides: list[str]) -> list[tuple[str, Any, Any]]:
        """Write params.yaml from conf/ with the overrides and check it.

        Returns what changed: (dotted key, value in the commit, value in this run).
        """
        from flows.compose import compose

        return compose(overrides)

    def name(self, wanted: str | None, taken: list[str]) -> str:
        """The experiment's name: the wanted one, or one of DVC's inventing."""
        from dvc.repo.experiments.utils import gen_random_name

        if wanted is None:
            wanted = next(name for name in iter(gen_random_name, None) if name not in taken)
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*(?<![.]lock)(?<![.])", wanted) or ".." in wanted:
            raise RequestError(f"{wanted!r} cannot name an experiment: letters, digits, - and _ can.")
        if wanted in taken:
            raise RequestError(
                f"There is an experiment {wanted!r} on this commit already. Choose another name, "
                f"or remove that one with `dvc exp remove {wanted}`."
            )
        os.environ[EXPERIMENT_VARIABLE] = wanted
        return wanted

    def plan(self, targets: list[str]) -> list[tuple[str, list[str]]]:
        """The steps, in order: (stage, all that is reproduced with it).

        A stage that always runs, to look whether the source has changed, belongs to the one after it.
        """
        from dvc.repo.reproduce import plan_repro

        graph = self._repo.index.graph
        known = {stage.addressing: stage for stage in graph}
        if missing := [target for target in targets if target not in known]:
            raise RequestError(f"There is no stage {missing[0]!r} in dvc.yaml; its stages: {', '.join(known)}.")
        steps, before = [], []
        for stage in plan_repro(graph, [known[target] for target in targets] or None):
            before.append(stage.addressing)
            if not (stage.always_changed or stage.is_data_source):
                steps.append((stage.addressing, before))
                before = []
        return [*steps, (before[-1], before)] if before else steps

    def check_out(self, stages: list[str]) -> None:
        """Bring what dvc.lock says into the clone, where the cache has it: quicker for all stages than one by one."""
        self._cache.look_at(stages or None)
        self._repo.checkout(stages, allow_missing=True, force=True)

    def reproduce(self, stages: list[str]) -> bool:
        """Bring stages up to date; says whether the last of them ran, or was found in the cache."""
        self._ran.clear()
        for name in stages:
            if name.endswith(".dvc"):
                self._repo.checkout([name], allow_missing=True)
            else:
                self._repo.reproduce(name, single_item=True, pull=self._uses_remote)
        self._digests.save()
        return stages[-1] in self._ran

    def save(self, name: str, targets: list[str]) -> None:
        """Record the experiment here and in the repository the clone came from; no targets: all stages."""
        experiments = self._repo.experiments
        experiments.save(targets=targets, name=name)
        pushed = experiments.push("origin", name, push_cache=self._uses_remote)
        if not {*pushed.get("success", ()), *pushed.get("up_to_date", ())} >= {name}:
            raise RequestError(
                f"Another run has recorded an experiment {name!r} meanwhile. This run's results are in the cache: "
                "run again under another name and nothing will be computed twice."
            )

    @cached_property
    def _repo(self) -> Any:  # DVC adds its commands to the class in ways that no type checker follows
        from dvc.repo import Repo

        return Repo(str(self.clone))

    def _note_what_runs(self) -> None:
        """DVC's result does not tell a stage that ran from one that came out of its run cache."""
        import dvc.stage.run

        original = dvc.stage.run.cmd_run

        @wraps(original)
        def noted(stage, *args, **kwargs):
            self._ran.append(stage.addressing)
            return original(stage, *args, **kwargs)

        dvc.stage.run.cmd_run = noted


def _trust_the_clones_database() -> None:
    """DVC's notes on files lie in the clone and go with it: no need to wait until they are safe on the disk."""
    import_module("diskcache.core").DEFAULT_SETTINGS["sqlite_synchronous"] = 0


def serve(requests: "queue.Queue[str | None]", answers: IO[str], session: Session) -> None:
    """Answer requests until there are no more."""
    while (line := requests.get()) is not None:
        request = json.loads(line)
        try:
            answer = {"value": getattr(session, request.pop("command"))(**request)}
        except Exception as error:
            fault = describe(error)
            if fault.kind == "bug":
                traceback.print_exc()
            answer = {"fault": fault._asdict()}
        sys.stdout.flush()
        sys.stderr.flush()
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    answers = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")
    os.set_inheritable(answers.fileno(), False)
    requests: queue.Queue[str | None] = queue.Queue()
    session = Session()
    threading.Thread(target=_read, args=(requests, session), daemon=True).start()
    # Only the end of stdin ends this process. A handler that does nothing, since what is ignored here would be ignored
    # by the stages too.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    try:
        serve(requests, answers, session)
    except BrokenPipeError:
        pass  # the flow died while it was being answered
    finally:
        _delete(session.clone)
    # The flow waits for this end, and an interpreter takes a fifth of a second to take DVC apart.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _read(requests: "queue.Queue[str | None]", session: Session) -> None:
    for line in sys.stdin:
        requests.put(line)
    requests.put(None)
    # The main thread may be waiting for a stage. It and the stage are alone in this process group.
    os.killpg(0, signal.SIGTERM)
    time.sleep(_GRACE)
    _delete(session.clone)
    os.killpg(0, signal.SIGKILL)


def _delete(clone: Path | None) -> None:
    if clone is not None:
        os.chdir("/")
        shutil.rmtree(clone, ignore_errors=True)


if __name__ == "__main__":
    main()
