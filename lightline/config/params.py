"""The types of params.yaml, one class a section; those of data and split stand in `lightline.config.data`,
those that determine training in `lightline.config.training`.

conf/ holds the values; nothing here has a default, so that a value has one home. `lightline.config.load` reads and
checks the file. To add a setting: a field with its line of text here, its value in every conf/ group that needs it,
then `make params`.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lightline.config.data import STRICTEST, Data, Fetch, Split, check_address
from lightline.config.extensions import Chosen, known
from lightline.config.fields import (
    BatchSize,
    Fraction,
    Name,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
    Section,
    Share,
    Text,
)
from lightline.config.model import Model
from lightline.config.training import Augment, Loss, Optimizer, Schedule, Trainer
from lightline.errors import ParameterError

Devices = Annotated[int, Field(ge=1, le=1_024)]  # of a machine
DeviceNumber = Annotated[int, Field(ge=0, lt=1_024)]


MEASURED = ("brightness", "contrast", "sharpness", "size", "aspect")  # of every test image
SLICES = ("group", "folder", *MEASURED)  # that any source has


def check_slices(names: Sequence[str], columns: Iterable[str]) -> None:
    """Check evaluate.slices; columns: of the source's table, to slice by.

    Raises:
        ParameterError: there is nothing of one of the names.
    """
    known = (*SLICES, *columns)
    for name in names:
        if name not in known:
            raise ParameterError(
                f"evaluate.slices names {name!r}, and there is nothing of that name; there are {', '.join(known)}."
            )


class Evaluate(Section):
    batch_size: BatchSize
    calibration_bins: Annotated[int, Field(ge=1, le=1_000)]
    bootstrap_samples: Annotated[int, Field(ge=100, le=1_000_000)]
    confidence: Annotated[float, Field(gt=0, lt=1)]  # of the bootstrap interval
    num_mistakes: Annotated[int, Field(ge=1, le=400)]  # in the figure of the worst mistakes
    # Of what parts accuracy is told: SLICES, what is measured in quarters, and columns of a table.
    slices: Annotated[list[Name], Field(max_length=100)]
    min_slice: PositiveInt  # images of a slice that is compared with the rest
    metrics: Annotated[list[Annotated[Chosen, known("metric", "evaluate.metrics")]], Field(max_length=100)]


class Export(Section):
    opset: Annotated[int, Field(ge=18, le=24)]
    rtol: PositiveFloat  # between torch's and onnxruntime's logits, as a share of the spread of an image's
    atol: PositiveFloat  # beside it, in logits
    test_rtol: PositiveFloat  # as rtol, between the logits that `test` had, on a GPU perhaps, and onnxruntime's
    quantize: Annotated[list[Literal["int8"]], Field(max_length=1)]  # [int8]: a second file, models/model.int8.onnx
    # Training images from which int8 takes the ranges of its numbers.
    calibration_images: Annotated[int, Field(ge=1, le=100_000)]
    max_accuracy_drop: Fraction  # of int8 against fp32, on the test split; more, and there is no int8 file
    # Of the answers that the file accepts, at most this share is wrong, with this confidence; null: all are accepted.
    target_risk: Annotated[float, Field(gt=0, lt=1)] | None
    confidence: Annotated[float, Field(gt=0, lt=1)]
    # How often the file's sets of classes hold the right one; null: the likeliest class alone.
    coverage: Annotated[float, Field(gt=0, lt=1)] | None
    embedding: bool  # an output more: what the last layer takes, for maps, similar images, drift
    latency: bool  # measure how long answers take; false leaves no clock in any output
    intended_use: Text  # for the model card
    limits: Text  # for the model card


class Hardware(Section):
    """Where and how it runs; no stage depends on it."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"]
    devices: Devices | Annotated[list[DeviceNumber], Field(min_length=1, max_length=1_024)] | Literal["auto"]
    strategy: Annotated[str, Field(pattern="^[a-z_0-9]{1,64}$")]  # a name that Lightning knows, or ddp_gloo
    num_nodes: Annotated[int, Field(ge=1, le=10_000)]
    # Where the first of several nodes is found: its address, null for the one that other machines see; its port.
    master_addr: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,255}$")] | None
    master_port: Annotated[int, Field(ge=1, le=65_535)]
    rendezvous_timeout: PositiveFloat  # seconds that it waits for the others
    # That compute, a process. auto: OMP_NUM_THREADS, or the cores, shared among the trainings that run on the machine.
    num_threads: Annotated[int, Field(ge=1, le=1_024)] | Literal["auto"]
    memory_fraction: Probability  # of the free memory that decoded images may take
    # Of the free disk that they may take where memory does not hold them, in a file that ends with the training; where
    # that does not either, they are decoded when needed.
    disk_fraction: Probability
    num_workers: Annotated[int, Field(ge=0, le=512)]  # processes that decode images which do not fit
    profiler: Literal["simple", "advanced", "pytorch"] | None  # of training; it writes to .lightline/profiles/
    detect_anomaly: bool  # end where a gradient is no number, with the line that it comes from


class Checkpoint(Section):
    """When a training saves the state that it would go on from; no stage depends on it. The names are Lightning's."""

    every_n_train_steps: PositiveInt | None  # optimizer steps
    train_time_interval: PositiveFloat | None  # seconds; with both, whichever has passed first
    # Where each state goes too, for other machines to go on from: a path, or s3://BUCKET/PREFIX.
    store: Annotated[Text, Field(pattern=r"^(s3://[^/]|[^:]+$)")] | None


class Sweep(Section):
    """How a sweep searches; no stage depends on it. The names are Optuna's."""

    sampler: Literal["tpe", "random"]
    pruner: Literal["hyperband", "median"] | None  # by the val metric that trainer.monitor names
    trials: Annotated[int, Field(ge=1, le=100_000)]
    parallel: Annotated[int, Field(ge=1, le=1_000)]  # runs at once
    n_startup_trials: Annotated[int, Field(ge=1, le=10_000)]  # at random, before the sampler and the median know enough
    reduction_factor: Annotated[int, Field(ge=2, le=100)]  # of hyperband: one in so many goes on
    seed: Annotated[int, Field(ge=0, lt=2**32)]


class Floors(Section):
    """How large a difference between later images and the test images has to be to count, whatever its significance."""

    ks: Fraction  # the largest distance between two distributions of one number
    cramers_v: Fraction  # of the predicted classes
    mmd: Fraction  # of embeddings, as a share of what two sets with nothing in common have
    auc: Annotated[float, Field(ge=0, lt=0.5)]  # of a classifier that tells one from the other, above 0.5


class Monitor(Section):
    """When images that are answered count as others than the test images were; no stage depends on it."""

    # The share of windows in which images like the test's show a difference by chance; of an alarm, which takes two
    # windows in a row, it is far less.
    alpha: Annotated[float, Field(gt=0, le=0.5)]
    window_hours: PositiveFloat
    windows: Annotated[int, Field(ge=2, le=10_000)]  # the latest that are looked at
    min_images: Annotated[int, Field(ge=20, le=1_000_000)]  # of a window; fewer are too few to say
    floors: Floors
    retrain: bool  # start `pipeline` on an alarm, where there are new labelled data
    cool_down_days: NonNegativeFloat  # after a retraining
    most_a_week: Annotated[int, Field(ge=1, le=1_000)]  # retrainings


class Tracking(Section):
    """Weights & Biases; no stage depends on it. WANDB_MODE wins over mode."""

    mode: Literal["auto", "online", "offline", "disabled"]  # auto: online where there is a key, else offline
    project: Text
    entity: Text | None
    num_sample_images: Annotated[int, Field(ge=0, le=1_000)]
    log_checkpoints: bool


class Promote(Section):
    """When a model becomes the champion; no stage depends on it."""

    auto: bool  # at the end of every run of the flow that has a model
    # How likely, at most, a model is promoted that is no better (or worse by margin): of all comparisons with one
    # champion on one test set together.
    alpha: Annotated[float, Field(gt=0, lt=0.5)]
    margin: Fraction  # of accuracy that it may cost; 0: only what is better is promoted
    # The most of the expected calibration error, of the shortest time of an answer and of the file's bytes against the
    # champion's; null: any.
    max_ece: Share | None
    max_latency_ratio: PositiveFloat | None
    max_size_ratio: PositiveFloat | None


# Of where and how it runs: no stage depends on them, and no result differs by them.
WITHOUT_EFFECT = ("hardware", "checkpoint", "tracking", "sweep", "promote", "monitor")


class Params(Section):
    """All of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    data: Data
    split: Split
    augment: Augment
    model: Model
    optimizer: Optimizer
    schedule: Schedule
    loss: Loss
    trainer: Trainer
    evaluate: Evaluate
    export: Export
    hardware: Hardware
    checkpoint: Checkpoint
    tracking: Tracking
    sweep: Sweep
    monitor: Monitor
    promote: Promote

    @property
    def fetch(self) -> Fetch:
        """What a download may do, of images and of weights."""
        return getattr(self.data, "fetch", STRICTEST)

    @property
    def begins_fitted(self) -> bool:
        """Whether training begins with a network that answers: its body has weights, its last layer is fitted."""
        return self.trainer.linear_probe and self.model.weights is not None

    @model_validator(mode="after")
    def weights_come_as_data_do(self):
        file, sha256 = self.model.weights_file or "", self.model.weights_sha256
        check_address("model.weights", file, "model.weights_sha256", sha256, self.fetch)
        return self
