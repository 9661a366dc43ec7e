"""What draws a sweep's trials, and what ends them early: Optuna's, by the section `sweep`."""

import optuna

from lightline.config.params import Sweep as Settings


def engines(settings: Settings, max_epochs: int) -> tuple[optuna.samplers.BaseSampler, optuna.pruners.BasePruner]:
    """Make the sampler and the pruner; max_epochs: of a trial that comes to its end."""
    started = settings.n_startup_trials
    sampler: optuna.samplers.BaseSampler = (
        optuna.samplers.TPESampler(n_startup_trials=started, seed=settings.seed)
        if settings.sampler == "tpe"
        else optuna.samplers.RandomSampler(seed=settings.seed)
    )
    if settings.pruner == "hyperband":
        factor = settings.reduction_factor
        return sampler, optuna.pruners.HyperbandPruner(max_resource=max(max_epochs, 1), reduction_factor=factor)
    if settings.pruner == "median":
        return sampler, optuna.pruners.MedianPruner(n_startup_trials=started)
    return sampler, optuna.pruners.NopPruner()
