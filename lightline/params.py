"""The types of params.yaml, one class a section; those of data and split stand in `lightline.params_data`.

conf/ holds the values; nothing here has a default, so that a value has one home. `lightline.params_file` reads and
checks the file. To add a setting: a field with its line of text here, its value in every conf/ group that needs it,
then `make params`.
"""

import re
from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lightline.model_names import TORCHVISION_MODELS
from lightline.params_data import Data, Split
from lightline.section import (
    BatchSize,
    Epochs,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
    Section,
    Text,
)


class RandAugment(Section):
    """torchvision's RandAugment; num_ops = 0 switches it off."""

    num_ops: Annotated[int, Field(ge=0, le=32)]
    magnitude: Annotated[int, Field(ge=0, le=30)]


class Augment(Section):
    """What happens to training images alone; every image draws its own random numbers."""

    random_crop_padding: Annotated[int, Field(ge=0, le=1024)]  # pixels added on each side before a crop of input_size
    padding_mode: Literal["reflect", "constant", "replicate"]
    horizontal_flip: Probability
    rand_augment: RandAugment
    random_erasing: Probability
    mixup_alpha: NonNegativeFloat  # 0 switches it off
    cutmix_alpha: NonNegativeFloat  # 0 switches it off; with mixup, each batch takes one of the two


class Model(Section):
    """The network, and the images that go into it."""

    name: str  # cnn, a torchvision classification model, or timm/NAME
    weights: str | None  # torchvision's weights, as in DEFAULT or IMAGENET1K_V1; null starts from random ones
    input_size: Annotated[int, Field(ge=8, le=1024)]  # pixels, both sides
    crop_pct: Annotated[float, Field(gt=0, le=1)]  # side of the centre crop, as a part of the image's shorter side
    normalize: Literal["dataset", "imagenet"]  # mean and standard deviation: of the training images, or ImageNet's
    stem: Literal["auto", "standard", "small"]  # small: 3×3 first layer, no early pooling; auto: up to 64 pixels

    @model_validator(mode="after")
    def fits_together(self):
        # Behind timm/ a plain name alone: timm would also take hf-hub:NAME and local-dir:PATH, and load what is there.
        if self.name != "cnn" and self.name not in TORCHVISION_MODELS and not re.fullmatch(r"timm/[\w.]+", self.name):
            near = get_close_matches(self.name, ["cnn", *TORCHVISION_MODELS], n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            allowed = f"cnn, timm/NAME, {', '.join(TORCHVISION_MODELS)}"
            raise ValueError(f"model.name = {self.name!r} is no known model; {hint}allowed: {allowed}")
        if self.name == "cnn" and self.weights is not None:
            raise ValueError(
                f"model.weights = {self.weights!r}, but the cnn has no pretrained weights; it must be null"
            )
        if self.name == "cnn" and self.input_size < 16:
            raise ValueError(f"model.input_size = {self.input_size} is too small for the cnn; it must be at least 16")
        return self


class Adam(Section):
    name: Literal["adam", "adamw"]
    lr: PositiveFloat
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    eps: PositiveFloat
    weight_decay: NonNegativeFloat


class SGD(Section):
    name: Literal["sgd"]
    lr: PositiveFloat
    momentum: Fraction
    nesterov: bool
    weight_decay: NonNegativeFloat

    @model_validator(mode="after")
    def nesterov_has_momentum(self):
        if self.nesterov and self.momentum == 0:
            raise ValueError("optimizer.nesterov = True needs optimizer.momentum above 0; it must be False without")
        return self


class Muon(Section):
    """Muon for the filters and matrices inside the network; AdamW for the first and last layer and all vectors."""

    name: Literal["muon"]
    lr: PositiveFloat
    momentum: Fraction
    nesterov: bool
    ns_steps: Annotated[int, Field(ge=1, le=100)]
    weight_decay: NonNegativeFloat
    adamw_lr: PositiveFloat


Optimizer = Annotated[Adam | SGD | Muon, Field(discriminator="name")]


class Constant(Section):
    name: Literal["constant"]
    warmup_epochs: NonNegativeFloat


class Cosine(Section):
    name: Literal["cosine"]
    warmup_epochs: NonNegativeFloat
    eta_min: NonNegativeFloat  # learning rate at the end


class OneCycle(Section):
    """torch's OneCycleLR; optimizer.lr is its max_lr, pct_start its warm-up."""

    name: Literal["one_cycle"]
    pct_start: Annotated[float, Field(gt=0, lt=1)]
    div_factor: Annotated[float, Field(ge=1)]
    final_div_factor: Annotated[float, Field(ge=1)]


Schedule = Annotated[Constant | Cosine | OneCycle, Field(discriminator="name")]


class Loss(Section):
    """Cross-entropy."""

    label_smoothing: Fraction
    class_weights: Literal["none", "balanced"]  # balanced: inversely proportional to a class's training images


class Trainer(Section):
    """Lightning's Trainer flags, and when to stop."""

    max_epochs: Epochs
    batch_size: BatchSize  # images a device and step
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"]
    gradient_clip_val: PositiveFloat | None
    gradient_clip_algorithm: Literal["norm", "value"]
    accumulate_grad_batches: Annotated[int, Field(ge=1, le=100_000)]
    deterministic: bool
    monitor: Literal["val_accuracy", "val_loss"]  # what best.ckpt is the best in, and early stopping watches
    early_stopping_patience: Epochs | None  # epochs without improvement; null trains to max_epochs
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None  # null: no averaging of weights
    limit_train_batches: PositiveInt | None  # a trial on fewer batches; null takes all


class Evaluate(Section):
    batch_size: BatchSize
    calibration_bins: Annotated[int, Field(ge=1, le=1_000)]
    bootstrap_samples: Annotated[int, Field(ge=100, le=1_000_000)]
    confidence: Annotated[float, Field(gt=0, lt=1)]  # of the bootstrap interval
    num_mistakes: Annotated[int, Field(ge=1, le=400)]  # in the figure of the worst mistakes


class Export(Section):
    opset: Annotated[int, Field(ge=18, le=24)]
    rtol: PositiveFloat  # between torch's and onnxruntime's logits
    atol: PositiveFloat
    intended_use: Text  # for the model card
    limits: Text  # for the model card


class Hardware(Section):
    """Where and how it runs; no stage depends on it."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"]
    devices: int | list[int] | Literal["auto"]
    strategy: Annotated[str, Field(pattern="^[a-z_0-9]{1,64}$")]  # a name that Lightning knows
    num_nodes: Annotated[int, Field(ge=1, le=10_000)]
    memory_fraction: Probability  # of the free memory that decoded images may take; more are decoded when needed
    num_workers: Annotated[int, Field(ge=0, le=512)]  # processes that decode images which do not fit


class Tracking(Section):
    """Weights & Biases; no stage depends on it. WANDB_MODE wins over mode."""

    mode: Literal["auto", "online", "offline", "disabled"]  # auto: online where there is a key, else offline
    project: Text
    entity: Text | None
    num_sample_images: Annotated[int, Field(ge=0, le=1_000)]
    log_checkpoints: bool


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
    tracking: Tracking
