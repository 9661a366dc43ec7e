"""The type of the section model: the network, and the images that go into it."""

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, Tag, TypeAdapter, model_validator

from lightline.config.data import Sha256
from lightline.config.extensions import Settings, known, registered
from lightline.config.fields import Name, Section, Text
from lightline.config.model_names import TORCHVISION_MODELS

Width = Annotated[int, Field(ge=1, le=8_192)]  # channels
Depth = Annotated[int, Field(ge=2, le=3)]
InputSize = Annotated[int, Field(ge=8, le=1024)]
OwnInputSize = Annotated[int, Field(ge=16, le=1024)]  # what our own networks leave something of
CropPct = Annotated[float, Field(gt=0, le=1)]  # side of the centre crop, as a part of the image's shorter side


class _AnyNetwork(Section):
    """What there is to say of any network."""

    # A library's weights by their name (torchvision's, as in DEFAULT or IMAGENET1K_V1, or timm's DEFAULT), or a file of
    # weights: a path, which is read as data.path is, or an http(s):// or s3:// URL; null starts at random.
    weights: Text | None
    weights_sha256: Sha256 | None  # of that file; required for a URL
    # What the trained network answers with, in the model file too: its logits for the image, their mean with those for
    # the mirror image, or half that and half the same for the image shifted by a pixel along two diagonals.
    test_time_augmentation: Literal["none", "mirror", "mirror_and_shift"]

    @property
    def weights_file(self) -> str | None:
        """The path or URL of the file of weights; None where they have a library's name, or start at random."""
        is_name = self.weights_sha256 is None and re.fullmatch(r"\w*", self.weights or "")
        return None if is_name else self.weights


class _Network(_AnyNetwork):
    """What there is to say of a network of our own."""

    input_size: OwnInputSize  # pixels, both sides
    crop_pct: CropPct
    normalize: Literal["dataset", "imagenet"]  # mean and standard deviation: of the training images, or ImageNet's

    @model_validator(mode="after")
    def weights_are_no_library_s(self):
        if self.weights and not self.weights_file:
            raise ValueError(
                f"model.weights = {self.weights!r} names a library's weights, and this network is none of a library's; "
                "allowed: null, or a path or URL of a file, as in ./weights.pth"
            )
        return self


class CNN(_Network):
    """The tutorial's network."""

    name: Literal["cnn"]


class Airbench(_Network):
    """The network of the airbench94 record."""

    name: Literal["airbench"]
    widths: Annotated[list[Width], Field(min_length=3, max_length=3)]  # channels of its blocks
    depths: Annotated[list[Depth], Field(min_length=3, max_length=3)]  # convolutions in each of these blocks


class LibraryModel(_AnyNetwork):
    """A classification network of torchvision's, or one of timm's, as timm/NAME."""

    name: Name
    # null: what the weights were trained at. normalize: weights takes their mean and standard deviation too.
    input_size: InputSize | None
    crop_pct: CropPct | None
    normalize: Literal["dataset", "imagenet", "weights"]
    stem: Literal["auto", "standard", "small"]  # small: 3×3 first layer, no early pooling; auto: up to 64 pixels

    @model_validator(mode="after")
    def open_ends_are_the_weights(self):
        for key in ("input_size", "crop_pct"):
            if getattr(self, key) is None and self.normalize != "weights":
                raise ValueError(
                    f"model.{key} = null means what the weights were trained at, and needs model.normalize = weights; "
                    "else it must be a number"
                )
        return self


class ExtensionModel(_Network):
    """A network that extensions/models/ registers."""

    name: Name
    settings: Settings


_OWN = [get_args(network.model_fields["name"].annotation)[0] for network in (CNN, Airbench)]
_BUILT_IN = (*_OWN, "timm/NAME", *TORCHVISION_MODELS)
_LIBRARY = "library"


def _kind(section: Any) -> str | None:
    """Give the tag of a section's class: its name where the network is our own."""
    registered("model", _BUILT_IN)
    name = section.get("name") if isinstance(section, dict) else getattr(section, "name", "cnn")
    if name is None or name in _OWN:
        return name
    # Behind timm/ a plain name alone: timm would also take hf-hub:NAME and local-dir:PATH, and load what is there.
    return _LIBRARY if name in TORCHVISION_MODELS or re.fullmatch(r"timm/[\w.]+", str(name)) else "extension"


Model = Annotated[
    Annotated[CNN, Tag("cnn")]
    | Annotated[Airbench, Tag("airbench")]
    | Annotated[LibraryModel, Tag(_LIBRARY)]
    | Annotated[ExtensionModel, known("model", "model.name", _BUILT_IN), Tag("extension")],
    Field(discriminator=Discriminator(_kind)),
]
_model: TypeAdapter[Model] = TypeAdapter(Model)


def model_settings(section: dict[str, Any]) -> Model:
    """Check a section by itself, as a checkpoint keeps it.

    Raises:
        ValueError: it is no such section.
    """
    return _model.validate_python(section)
