"""The types of the sections that determine training: augment, optimizer, schedule, loss, trainer."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lightline.config.extensions import Chosen, known
from lightline.config.fields import (
    BatchSize,
    Epochs,
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    Section,
)

Part = Annotated[float, Field(gt=0, le=1)]


class RandAugment(Section):
    """torchvision's RandAugment; num_ops = 0 switches it off."""

    num_ops: Annotated[int, Field(ge=0, le=32)]
    magnitude: Annotated[int, Field(ge=0, le=30)]


class RandomResizedCrop(Section):
    """torchvision's: a part of the image, resized to model.input_size."""

    scale: Annotated[list[Part], Field(min_length=2, max_length=2)]  # smallest and largest part of the area
    ratio: Annotated[list[PositiveFloat], Field(min_length=2, max_length=2)]  # of width to height, before resizing

    @model_validator(mode="after")
    def bounds_are_in_order(self):
        for key, (low, high) in (("scale", self.scale), ("ratio", self.ratio)):
            if low > high:
                raise ValueError(
                    f"augment.random_resized_crop.{key} = [{low:g}, {high:g}]: the smaller bound comes first"
                )
        return self


class ColorJitter(Section):
    """torchvision's: each factor from 1 - value, at least 0, to 1 + value."""

    brightness: NonNegativeFloat
    contrast: NonNegativeFloat
    saturation: NonNegativeFloat


class LowResolution(Section):
    """Some epochs on smaller images, which cost less and, at first, teach as well."""

    size: Annotated[int, Field(ge=8, le=1024)]  # pixels, both sides
    epochs: Epochs


class Augment(Section):
    """What happens to training images alone; every image draws its own random numbers."""

    random_resized_crop: RandomResizedCrop | None  # null keeps images as the network sees them
    # Pixels, both sides, at which whole images are kept for it; null: 8/7 of model.input_size, 256 for 224. Where the
    # largest image has fewer, those.
    store_size: Annotated[int, Field(ge=8, le=4096)] | None
    random_crop_padding: Annotated[int, Field(ge=0, le=1024)]  # pixels added on each side before a crop of input_size
    padding_mode: Literal["reflect", "constant", "replicate"]
    horizontal_flip: Probability
    alternating_flip: bool  # draw an image's flip in the first epoch alone, then flip it in every other epoch
    color_jitter: ColorJitter
    random_rotation: Annotated[float, Field(ge=0, le=180)]  # degrees, either way
    rand_augment: RandAugment
    trivial_augment: bool  # torchvision's TrivialAugmentWide
    random_erasing: Probability
    mixup_alpha: NonNegativeFloat  # 0 switches it off
    cutmix_alpha: NonNegativeFloat  # 0 switches it off; with mixup, each batch takes one of the two
    low_resolution: Annotated[list[LowResolution], Field(max_length=8)]  # from the first epoch on, one after the other
    transforms: Annotated[list[Annotated[Chosen, known("augmentation", "augment.transforms")]], Field(max_length=100)]

    @model_validator(mode="after")
    def crops_are_of_one_kind(self):
        if self.random_resized_crop is not None and self.random_crop_padding:
            raise ValueError(
                f"augment.random_crop_padding = {self.random_crop_padding} and augment.random_resized_crop both crop; "
                "set one of them to 0 or null"
            )
        return self


class Adam(Section):
    name: Literal["adam", "adamw"]
    lr: PositiveFloat
    layer_decay: Annotated[float, Field(gt=0, le=1)]  # × the rate from a block of the network to the one before it
    layer_decay_no_opt_scale: Annotated[float, Field(ge=0, le=1)]  # blocks of less than that part of lr are not trained
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    eps: PositiveFloat
    weight_decay: NonNegativeFloat


class SGD(Section):
    name: Literal["sgd"]
    lr: PositiveFloat
    layer_decay: Annotated[float, Field(gt=0, le=1)]  # × the rate from a block of the network to the one before it
    layer_decay_no_opt_scale: Annotated[float, Field(ge=0, le=1)]  # blocks of less than that part of lr are not trained
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


class MuonSGD(Section):
    """Muon for all filters, SGD with Nesterov momentum for the head and for biases, as in the airbench94 record."""

    name: Literal["muon_sgd"]
    lr: PositiveFloat  # Muon's
    momentum: Fraction  # Muon's, Nesterov
    ns_steps: Annotated[int, Field(ge=1, le=100)]
    sgd_momentum: Fraction
    bias_lr: PositiveFloat
    head_lr: PositiveFloat  # of the last layer's weights
    stem_epochs: PositiveFloat  # in which the learning rate of the first layer's bias falls to zero
    decay: NonNegativeFloat  # learning rate × weight decay of each of SGD's groups


Optimizer = Annotated[Adam | SGD | Muon | MuonSGD, Field(discriminator="name")]


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


class Linear(Section):
    """From optimizer.lr to zero."""

    name: Literal["linear"]
    warmup_epochs: NonNegativeFloat


Schedule = Annotated[Constant | Linear | Cosine | OneCycle, Field(discriminator="name")]


class Loss(Section):
    """Cross-entropy."""

    reduction: Literal["mean", "sum"]  # over the images of a batch
    label_smoothing: Fraction
    class_weights: Literal["none", "balanced"]  # balanced: inversely proportional to a class's training images


# As Lightning reads it: a whole number is one of batches, one with a point a share of them.
Batches = PositiveInt | Annotated[float, Field(gt=0, le=1)]


class Trainer(Section):
    """Lightning's Trainer flags, and when to stop."""

    max_epochs: Annotated[int, Field(ge=0, le=100_000)]  # 0: linear_probe alone
    max_steps: PositiveInt | None  # no epoch begins after so many optimizer steps
    batch_size: BatchSize  # images a device and step
    drop_last: bool  # leave out an epoch's last batch where it is not full
    # auto: bf16-mixed where the hardware computes in bfloat16, else 16-mixed on a GPU and 32-true on a CPU
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
    compile: bool  # torch.compile of the network
    gradient_clip_val: PositiveFloat | None
    gradient_clip_algorithm: Literal["norm", "value"]
    accumulate_grad_batches: Annotated[int, Field(ge=1, le=100_000)]
    deterministic: bool
    monitor: Literal["val_accuracy", "val_loss"]  # what best.ckpt is the best in, and early stopping watches
    early_stopping_patience: Epochs | None  # epochs, or validations, without improvement; null trains to max_epochs
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None  # null: no averaging of weights
    linear_probe: bool  # first fit the last layer alone, to what the rest makes of the images; nothing is drawn for it
    limit_train_batches: Batches | None  # a trial on fewer batches, or a share of them; null takes all
    limit_val_batches: Batches | None
    overfit_batches: NonNegativeInt | Probability  # train on the same in every epoch, and validate on as many; 0: off
    fast_dev_run: bool | NonNegativeInt  # try everything on so many batches of one epoch; true: one
    val_check_interval: Batches  # validate after so many batches, or a share of an epoch; training's end always is
    check_val_every_n_epoch: Epochs | None  # null: val_check_interval counts batches across epochs
    log_every_n_steps: NonNegativeInt  # a row of steps.csv every so many optimizer steps; 0: none
    sync_batchnorm: bool  # one statistic for the batches of all devices
    callbacks: Annotated[list[Annotated[Chosen, known("callback", "trainer.callbacks")]], Field(max_length=100)]

    @model_validator(mode="after")
    def something_is_trained(self):
        if self.max_epochs == 0 and not self.linear_probe:
            raise ValueError(
                "trainer.max_epochs = 0 trains nothing; it must be at least 1, or trainer.linear_probe true"
            )
        return self

    @model_validator(mode="after")
    def interval_across_epochs_counts_batches(self):
        if self.check_val_every_n_epoch is None and isinstance(self.val_check_interval, float):
            raise ValueError(
                f"trainer.val_check_interval = {self.val_check_interval} is a share of an epoch, which "
                "trainer.check_val_every_n_epoch = None does not count; set that to 1, or this to a number of batches"
            )
        return self
