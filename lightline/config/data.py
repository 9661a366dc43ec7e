"""The types of the sections data and split: where the images come from, and how they are divided."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from lightline.config.extensions import Settings, known, registered
from lightline.config.fields import Name, NonNegativeInt, Section, Share, Text

BitDepth = Annotated[int, Field(ge=8, le=16)]


def _plain_digest(value: object) -> object:
    """Bring a digest into the form that is compared; people also write it in capitals, and pages as sha256:…"""
    return value.strip().lower().removeprefix("sha256:").removeprefix("md5:") if isinstance(value, str) else value


Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$"), BeforeValidator(_plain_digest)]
# MD5 or SHA-256
Digest = Annotated[str, Field(pattern="^([0-9a-f]{32}|[0-9a-f]{64})$"), BeforeValidator(_plain_digest)]


class Source(Section):
    """What every source of images has."""

    max_rejected: NonNegativeInt  # images that cannot be used, before download stops
    max_pixels: Annotated[int, Field(ge=1, le=2**30)]  # width × height above which an image is rejected unread
    bit_depth: BitDepth | Literal["auto"]  # bits in use of 16 a channel; auto: what the set's largest value needs
    corrections: Text | None  # a table of images' right labels, see lightline.sources.corrections


class DigitsSource(Source):
    """The 1,797 handwritten digits that scikit-learn carries: 8×8, grey, ten classes."""

    source: Literal["digits"]


class Fetch(Section):
    """What a download from a URL may do."""

    allow_http: bool  # without encryption; what comes must have the expected digest either way
    allow_private: bool  # from addresses of this machine and its network
    max_bytes: Annotated[int, Field(ge=1, le=10**15)]  # of one file


STRICTEST = Fetch(allow_http=False, allow_private=False, max_bytes=10**10)  # beside a source that downloads nothing


def check_address(key: str, path: str, digest_key: str, sha256: str | None, fetch: Fetch) -> None:
    """Raise ValueError where a path is a URL that may not be fetched; the keys are those of path and digest."""
    scheme, is_url, _ = path.partition("://")
    if is_url and scheme not in ("http", "https", "s3"):
        raise ValueError(f"{key} starts with {scheme}://; allowed: a local path, http://, https:// and s3://")
    if is_url and sha256 is None:
        raise ValueError(f"{digest_key} is missing; what a URL gives is used only if it has the expected SHA-256")
    _refuse_http(key, path, fetch)


def _refuse_http(key: str, url: str | None, fetch: Fetch) -> None:
    if url is not None and url.startswith("http://") and not fetch.allow_http:
        raise ValueError(
            f"{key} starts with http://, which is not encrypted; take https://, or set data.fetch.allow_http=true"
        )


class BenchmarkSource(Source):
    """A benchmark set in torchvision's files, verified by torchvision's checksums."""

    source: Literal["cifar10", "cifar100", "mnist", "fashion_mnist", "svhn"]
    # Base URL of the same files, not the authors'; and file name → digest, where a mirror's files are not theirs.
    mirror: Annotated[str, Field(pattern="^(https?|s3)://", max_length=4_000)] | None
    checksums: Annotated[dict[str, Digest], Field(max_length=100)] | None
    fetch: Fetch

    @model_validator(mode="after")
    def http_is_asked_for(self):
        _refuse_http("data.mirror", self.mirror, self.fetch)
        return self


class FolderSource(Source):
    """A folder or archive of class folders, with or without train/, val/ and test/ above them."""

    source: Literal["folder"]
    path: Text  # local folder or archive, http(s):// or s3:// URL of an archive
    sha256: Sha256 | None  # of the archive; required for a URL
    split_folders: Literal["auto", "none"]  # none: what is called train at the top is a class like others
    fetch: Fetch

    @model_validator(mode="after")
    def url_is_known_and_verified(self):
        check_address("data.path", self.path, "data.sha256", self.sha256, self.fetch)
        return self


class TableSource(Source):
    """A CSV or Parquet file with a row an image; paths are relative to the file."""

    source: Literal["table"]
    path: Text
    path_column: Name
    label_column: Name
    split_column: Name | None
    group_column: Name | None


class ExtensionSource(Source):
    """A source that extensions/sources/ registers."""

    source: Name
    settings: Settings


_BuiltIn = DigitsSource | BenchmarkSource | FolderSource | TableSource
_NAMES = [name for kind in get_args(_BuiltIn) for name in get_args(kind.model_fields["source"].annotation)]


def _kind(section: Any) -> str:
    registered("source", _NAMES)
    name = section.get("source") if isinstance(section, dict) else getattr(section, "source", None)
    return "built-in" if name is None or name in _NAMES else "extension"


Data = Annotated[
    Annotated[_BuiltIn, Field(discriminator="source"), Tag("built-in")]
    | Annotated[ExtensionSource, known("source", "data.source", _NAMES), Tag("extension")],
    Field(discriminator=Discriminator(_kind)),
]


def _check_shares(val: float, test: float) -> None:
    if val + test >= 1:
        raise ValueError(f"split.val + split.test = {val + test:g} leaves nothing to train on; it must be below 1")


class StratifiedSplit(Section):
    """Every class in the same proportions in train, val and test."""

    strategy: Literal["stratified"]
    val: Share
    test: Share

    @model_validator(mode="after")
    def leave_some_for_training(self):
        _check_shares(self.val, self.test)
        return self


class GroupSplit(StratifiedSplit):
    """As stratified as can be while the rows of one group stay together."""

    strategy: Literal["group"]  # type: ignore[assignment]


class PredefinedSplit(Section):
    """What the source says; what it has not is cut from train."""

    strategy: Literal["predefined"]
    val: Share  # of the source's train rows, where it has no val
    test: Share  # of the source's train rows, where it has no test and without_test is train
    # Where the source has no test: the end, or test is cut from train, or its val is test and val is cut from train.
    without_test: Literal["error", "train", "val"]
    duplicates: Literal["error", "exclude"]  # what copies across the source's splits are: the end, or left out once

    @model_validator(mode="after")
    def leave_some_for_training(self):
        if self.without_test == "train":
            _check_shares(self.val, self.test)
        return self


class KFoldSplit(Section):
    """Fold number `fold` of `num_folds` is the test split; val is cut from the other folds."""

    strategy: Literal["k_fold"]
    num_folds: Annotated[int, Field(ge=2, le=1_000)]
    fold: NonNegativeInt
    val: Share  # of the rows outside the test fold

    @model_validator(mode="after")
    def fold_exists(self):
        if self.fold >= self.num_folds:
            last = self.num_folds - 1
            raise ValueError(f"split.fold = {self.fold} does not exist; it is at most split.num_folds - 1 = {last}")
        return self


Split = Annotated[StratifiedSplit | GroupSplit | PredefinedSplit | KFoldSplit, Field(discriminator="strategy")]
