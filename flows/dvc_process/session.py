"""What a flow asks of DVC, done in the clone of its run: the requests that `flows.dvc_process.server` answers."""

import os
import re
import sys
from contextlib import suppress
from functools import cached_property, wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from flows.dvc_process.changed_data import SITE_VARIABLE, changed_data
from flows.errors import RequestError
from flows.loading import loading
from lightline.runtime.digests import RECORD, Digests
from lightline.runtime.dvc_cache import VerifiedCache, is_lock, without
from lightline.runtime.origin import EXPERIMENT_VARIABLE, ORIGIN_VARIABLE
from lightline.runtime.tracked import Tracked, explain_absence, tracked_data


class Session:
    """The requests: each public method is one, its arguments and its result plain JSON."""

    def __init__(self):
        self.clone: Path | None = None
        self.record: Path | None = None
        self.is_dismissed = False
        self._ran: list[str] = []
        self._data: dict[str, list[Tracked]] = {}
        self._site = os.environ.get(SITE_VARIABLE)
        self._note_what_runs()
        # All that will be needed, loaded while the flow is still cloning.
        with loading():
            for module in ("dvc.repo.experiments.utils", "dvc.utils.hydra", "hydra", "networkx"):
                import_module(module)
        _trust_the_clones_database()
        _write_settings_in_utf8()

    def open(
        self, clone: str, project: str, record: str, cache: str, origin: str | None, environment: dict[str, str]
    ) -> None:
        """Work in a clone, with the cache and the remotes of the repository it came from.

        project: the folder of the DVC project, in the clone.
        record: beside the clone; see flows.crashes.
        cache: where the origin has no setting of its own.
        origin: the repository, where it is on this machine.
        environment: added to what the stages find in theirs.
        """
        from dvc.config import Config

        self.clone, self.record = Path(clone), Path(record)
        os.environ.update(environment)
        os.chdir(project)
        self._drop_damaged_lock()
        # The clone's lightline, not the flow's: parameters are checked by the code that will read them.
        sys.path.insert(0, project)
        for name in [name for name in sys.modules if name.partition(".")[0] in ("lightline", "lightline_predict")]:
            del sys.modules[name]
        os.environ[SITE_VARIABLE] = str(Path(project, ".dvc", "tmp", "site"))
        config: Any = Config(str(Path(origin, ".dvc")) if origin else None)
        own: Any = Config(str(Path(project, ".dvc")))
        with own.edit("local") as local:
            # Relative, since what the file may hold is less than what a path may.
            local["cache"].update({**config["cache"], "dir": os.path.relpath(config["cache"].get("dir") or cache)})
            local["core"]["autostage"] = True  # else DVC says after every stage what to type into git
            if origin:
                local["remote"].update(config["remote"])
                local["core"].update({key: value for key, value in config["core"].items() if key == "remote"})
        # Here, the cache is at hand. From elsewhere, what was computed before can only come from a remote.
        self._uses_remote = origin is None and "remote" in self._repo.config["core"]
        self._digests = Digests(Path(environment[ORIGIN_VARIABLE]) / RECORD)
        self._cache = VerifiedCache(self._repo, self._digests, print)

    def compose(self, overrides: list[str]) -> tuple[list[Any], list[Any]]:
        """Write params.yaml from conf/ with the overrides and check it.

        Returns what changed, as (dotted key, value in the commit, value in this run), and what of it nobody asked for.
        """
        if not Path("lightline", "config").is_dir():
            raise RequestError(
                "The code of this commit is older than this flow and has other places for its modules. Run it with its "
                "own: `git worktree add FOLDER COMMIT`, and `make run` there."
            )
        from flows.dvc_process.compose import compose

        return compose(overrides)

    def name(self, wanted: str | None, taken: list[str]) -> str:
        """Choose the experiment's name, the wanted one or one of DVC's inventing, and put it into the environment."""
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
        """Plan the steps, in order: (stage, all that is reproduced with it).

        A stage that always runs, to look whether the source has changed, belongs to the one after it. Before all comes
        what DVC tracks of the source: what is trained on is the commit's.
        """
        import yaml
        from dvc.repo.reproduce import plan_repro

        graph = self._repo.index.graph
        known = {stage.addressing: stage for stage in graph}
        if missing := [target for target in targets if target not in known]:
            raise RequestError(f"There is no stage {missing[0]!r} in dvc.yaml; its stages: {', '.join(known)}.")
        params = yaml.safe_load(Path("params.yaml").read_bytes())
        weights = {"path": (params.get("model") or {}).get("weights")}
        self._data = tracked_data(weights) | tracked_data(params.get("data") or {})
        steps, before = [], list(self._data)
        for stage in plan_repro(graph, [known[target] for target in targets] or None):
            before += [stage.addressing] if stage.addressing not in self._data else []
            if not (stage.always_changed or stage.is_data_source):
                steps.append((stage.addressing, before))
                before = []
        return [*steps, (before[-1], before)] if before else steps

    def changed_data(self, origin: str) -> list[str]:
        """List the .dvc files of the source whose data is another one in the repository that the clone came from."""
        return changed_data(Path(origin), self._data, self._site) if self._data else []

    def check_out(self, stages: list[str]) -> None:
        """Bring what dvc.lock says into the clone, where the cache has it: quicker for all stages than one by one."""
        self._cache.look_at(stages or None)
        self._repo.checkout(stages, allow_missing=True, force=True)

    def reproduce(self, stages: list[str]) -> bool:
        """Bring stages up to date; says whether the last of them ran, or was found in the cache."""
        self._ran.clear()
        for name in stages:
            if name.endswith(".dvc"):
                self._bring(name)
            else:
                self._repo.reproduce(name, single_item=True, pull=self._uses_remote)
        self._digests.save()
        return stages[-1] in self._ran

    def _bring(self, file: str) -> None:
        """Check out what a .dvc file has, from the cache or else the remote; what neither has may not be needed."""
        from dvc.exceptions import DownloadError

        if self._cache.look_at([file]) and "remote" in self._repo.config["core"]:
            with suppress(DownloadError):  # the remote does not have it
                self._repo.fetch([file])
        self._repo.checkout([file], allow_missing=True, force=True)
        if each := next((each for each in self._data.get(file, ()) if not each.path.exists()), None):
            raise RequestError(explain_absence(each))

    def save(self, name: str, targets: list[str]) -> None:
        """Record the experiment here and in the repository the clone came from; no targets: all stages."""
        experiments = self._repo.experiments
        if not targets and any(stage.is_data_source for stage in self._repo.index.stages):
            targets = [stage.addressing for stage in self._repo.index.stages]
        # A .dvc file is as the commit has it, and what it tracks need not be here.
        experiments.save(targets=[target for target in targets if not target.endswith(".dvc")], name=name)
        # With the run cache another machine finds what ran here, whatever experiment asks for it; http has none.
        url = self._repo.config["remote"].get(self._repo.config["core"].get("remote"), {}).get("url", "")
        runs = self._uses_remote and not url.startswith("http")
        pushed = experiments.push("origin", name, push_cache=self._uses_remote, run_cache=runs)
        if not {*pushed.get("success", ()), *pushed.get("up_to_date", ())} >= {name}:
            raise RequestError(
                f"Another run has recorded an experiment {name!r} meanwhile. This run's results are in the cache: "
                "run again under another name and nothing will be computed twice."
            )

    def forget(self, stage: str) -> None:
        """Take a stage and those after it out of dvc.lock, which may have them of an earlier run."""
        lock = Path("dvc.lock")
        lock.write_text(without(lock.read_text(encoding="utf-8"), stage), encoding="utf-8")

    @cached_property
    def _repo(self) -> Any:  # DVC adds its commands to the class in ways that no type checker follows
        from dvc.repo import Repo

        return Repo(str(Path.cwd()))

    @staticmethod
    def _drop_damaged_lock() -> None:
        """Delete a dvc.lock of the commit that DVC does not read. The cache knows what ran without it."""
        lock = Path("dvc.lock")
        if lock.exists() and not is_lock(lock.read_bytes()):
            lock.unlink()
            print("dvc.lock of this commit is damaged. It is written anew; what ran before comes from the cache.")

    def _note_what_runs(self) -> None:
        """Note which stages run: DVC's result does not tell one that ran from one that came out of its run cache."""
        import dvc.stage.run

        original = dvc.stage.run.cmd_run

        @wraps(original)
        def noted(stage, *args, **kwargs):
            self._ran.append(stage.addressing)
            return original(stage, *args, **kwargs)

        dvc.stage.run.cmd_run = noted


def _trust_the_clones_database() -> None:
    """Do not wait until DVC's notes on files are safe on the disk: they lie in the clone and go with it."""
    import_module("diskcache.core").DEFAULT_SETTINGS["sqlite_synchronous"] = 0


def _write_settings_in_utf8() -> None:
    """Have DVC write its config files as UTF-8, as it reads them, not as ASCII: a remote's address may hold an é."""
    configobj = import_module("configobj")

    class InUtf8(configobj.ConfigObj):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **{"default_encoding": "utf-8", **options})

    configobj.__dict__["ConfigObj"] = InUtf8
