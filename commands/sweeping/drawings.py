"""Optuna's own drawings of a study, as SVG in data URLs."""

import base64
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib as mpl
import optuna

mpl.use("agg")


def drawings(study: Any, monitor: str) -> list[tuple[str, str]]:
    """Draw what there are trials enough for: (what it shows, data URL)."""
    from matplotlib import pyplot as plt

    found = []
    for title, draw in _kinds(study, monitor):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that these functions are experimental
            try:
                draw()
            except Exception:  # too few trials, all alike, or values that Optuna or matplotlib stumble over
                plt.close("all")
                continue
        figure, text = plt.gcf(), io.StringIO()
        figure.set_size_inches(max(7, figure.get_size_inches()[0]), 4.5)
        with mpl.rc_context({"svg.hashsalt": monitor}):
            figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
        plt.close("all")
        found.append((title, f"data:image/svg+xml;base64,{base64.b64encode(text.getvalue().encode()).decode()}"))
    return found


def _kinds(study: Any, monitor: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    if sum(trial.state.name == "COMPLETE" for trial in study.trials) < 2:
        return
    from optuna.visualization import matplotlib as visualization

    named: Any = {"target_name": monitor}
    yield "History", lambda: visualization.plot_optimization_history(study, **named)
    yield "Learning curves", lambda: visualization.plot_intermediate_values(study).set(xlabel="epoch", ylabel=monitor)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    yield "Importance", lambda: visualization.plot_param_importances(study, evaluator=evaluator, **named)
    yield "Parallel coordinates", lambda: visualization.plot_parallel_coordinate(study, **named)
    yield "Slices", lambda: visualization.plot_slice(study, **named)
