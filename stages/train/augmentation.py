"""What happens to training images alone. Whole batches at once, every image with its own random numbers, which are a
function of (seed, epoch, row).
"""

import numpy as np
import torch
from torch.nn import functional
from torchvision.transforms import v2

from lightline.config.training import Augment, RandomResizedCrop
from lightline.errors import ParameterError
from lightline.extensions import build_extension
from lightline.models.transforms import resize
from stages.train.photo import color_jitter, crop_boxes, resized_parts, rotated
from stages.train.randomness import step_seed, uniform


class Augmentation:
    """The transforms of training images: crop, flip, light, rotation, policies; then, normalised, erasing and mixing.

    input_size: pixels of the network's input, both sides. aspects: float [rows of the dataset], width by height, of
    which only random_resized_crop wants to know.
    """

    def __init__(self, settings: Augment, seed: int, num_classes: int, input_size: int, aspects: torch.Tensor):
        self.settings = settings
        self.seed = seed
        self.num_classes = num_classes
        self.input_size = input_size
        self._aspects = aspects
        self._policies: list[v2.Transform] = []
        if settings.rand_augment.num_ops:
            self._policies.append(v2.RandAugment(settings.rand_augment.num_ops, settings.rand_augment.magnitude))
        if settings.trivial_augment:
            self._policies.append(v2.TrivialAugmentWide())
        self._transforms = [build_extension("augmentation", one.name, one.settings) for one in settings.transforms]

    def on_pixels(self, images: torch.Tensor, rows: torch.Tensor, epoch: int) -> torch.Tensor:
        """Augment uint8 [batch, stored, stored, 3] → 0 to 255, [batch, size, size, 3]; rows: int64 [batch]."""
        settings = self.settings
        if settings.random_resized_crop is not None:
            images = self._resized_crops(settings.random_resized_crop, images, rows, epoch)
        elif settings.random_crop_padding or settings.horizontal_flip:
            images = self._cropped_and_flipped(images, rows, epoch)
        if any(dict(settings.color_jitter).values()):
            images = color_jitter(settings.color_jitter, images.float(), uniform(self.seed + 5, epoch, rows, 3))
        if settings.random_rotation:
            draws = uniform(self.seed + 6, epoch, rows, 1)[:, 0]
            images = rotated(images.float(), settings.random_rotation, draws)
        images = self._each_by_policies(images, rows, epoch) if self._policies else images
        return self._transformed(images, rows, epoch)

    def on_inputs(
        self, inputs: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor, epoch: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Augment normalised float [batch, 3, size, size], int64 labels [batch] → same, or targets [batch, classes]."""
        if self.settings.random_erasing:
            inputs = self._erased(inputs, rows, epoch)
        targets = labels
        if self.settings.mixup_alpha or self.settings.cutmix_alpha:
            inputs, targets = self._mixed(inputs, labels, rows, epoch)
        return self._reduced(inputs, epoch), targets

    def _transformed(self, images: torch.Tensor, rows: torch.Tensor, epoch: int) -> torch.Tensor:
        """Apply what extensions/augmentations/ has, each with a seed of its own."""
        for number, transform in enumerate(self._transforms):
            before, images = images, transform(images, rows, epoch, step_seed(self.seed, -1 - number))
            if (images.shape, images.dtype) != (before.shape, before.dtype):
                raise ParameterError(
                    f"augment.transforms = {self.settings.transforms[number].name!r} makes {images.dtype} "
                    f"{list(images.shape)} of {before.dtype} {list(before.shape)}; both must stay as they are."
                )
        return images

    def _reduced(self, inputs: torch.Tensor, epoch: int) -> torch.Tensor:
        """Shrink in the first epochs (as in J. Howard's progressive resizing, fast.ai's DAWNBench entry, 2018)."""
        for part in self.settings.low_resolution:
            if epoch < part.epochs:
                size = min(part.size, inputs.shape[-1])
                whole = torch.tensor([[0.0, 0.0, *inputs.shape[2:]]], device=inputs.device)
                return resize(inputs.permute(0, 2, 3, 1), whole, size).permute(0, 3, 1, 2)
            epoch -= part.epochs
        return inputs

    def _resized_crops(
        self, settings: RandomResizedCrop, images: torch.Tensor, rows: torch.Tensor, epoch: int
    ) -> torch.Tensor:
        """Give crops of whole levels, as the network will see enlarged images."""
        self._aspects = self._aspects.to(rows.device)
        draws, mirrored = uniform(self.seed + 4, epoch, rows, 4), self._flips(rows, epoch)
        boxes = crop_boxes(settings, draws, mirrored, self._aspects[rows])
        return resized_parts(images, boxes, self.input_size)

    def _cropped_and_flipped(self, images: torch.Tensor, rows: torch.Tensor, epoch: int) -> torch.Tensor:
        """Crop and flip: whole rows of pixels first, which is quick, then in each row its pixels.

        images [batch, size, size, 3] as lines [batch·size, size·3]; y, x: int64 [batch, size], where in the image each
        row and column of the crop comes from, which may be outside
        → index_select by y, [batch, size, size·3] → gather by x, the same shape → [batch, size, size, 3]
        """
        batch, size = images.shape[:2]
        draws = uniform(self.seed, epoch, rows, 2)
        padding = self.settings.random_crop_padding
        offsets = (draws * (2 * padding + 1)).long() - padding
        pixel = torch.arange(size, device=images.device)
        y = offsets[:, :1] + pixel
        x = offsets[:, 1:] + torch.where(self._flips(rows, epoch)[:, None], size - 1 - pixel, pixel)
        first, channel = (torch.arange(*bounds, device=images.device) for bounds in ((0, batch * size, size), (3,)))
        lines = first[:, None] + self._inside(y, size)
        cropped = images.reshape(batch * size, size * 3).index_select(0, lines.flatten()).view(batch, size, size * 3)
        values = (self._inside(x, size)[:, :, None] * 3 + channel).view(batch, 1, size * 3)
        cropped = cropped.gather(2, values.expand(batch, size, size * 3)).view(batch, size, size, 3)
        if self.settings.padding_mode == "constant":
            outside = ((y < 0) | (y >= size))[:, :, None] | ((x < 0) | (x >= size))[:, None, :]
            cropped.masked_fill_(outside[..., None], 0)
        return cropped

    def _inside(self, index: torch.Tensor, size: int) -> torch.Tensor:
        if self.settings.padding_mode == "reflect":
            index = index.abs()
            index = torch.where(index >= size, 2 * (size - 1) - index, index)
        return index.clamp(0, size - 1)

    def _flips(self, rows: torch.Tensor, epoch: int) -> torch.Tensor:
        """Choose which images to mirror: bool [batch]."""
        if self.settings.alternating_flip and self.settings.horizontal_flip:
            # Each image's first side by chance, then one after the other: in two epochs the network sees both (K.
            # Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024).
            first = uniform(self.seed + 3, 0, rows, 1)[:, 0] < self.settings.horizontal_flip
            return first ^ bool(epoch % 2)
        return uniform(self.seed + 3, epoch, rows, 1)[:, 0] < self.settings.horizontal_flip

    def _each_by_policies(self, images: torch.Tensor, rows: torch.Tensor, epoch: int) -> torch.Tensor:
        """Apply torchvision's transforms, image by image: on a batch they would do the same to every image."""
        pictures = (
            images.round().byte().permute(0, 3, 1, 2) if images.is_floating_point() else images.permute(0, 3, 1, 2)
        )
        with torch.random.fork_rng(devices=[]):
            changed = []
            for picture, row in zip(pictures, rows.tolist(), strict=True):
                torch.manual_seed(step_seed(step_seed(self.seed, epoch), row))
                for policy in self._policies:
                    picture = policy(picture)
                changed.append(picture)
        return torch.stack(changed).permute(0, 2, 3, 1).contiguous()

    def _erased(self, inputs: torch.Tensor, rows: torch.Tensor, epoch: int) -> torch.Tensor:
        """Make a box of 2 to 33% of the area, sides 0.3 to 3.3 to one, the mean (Zhong et al., AAAI 2020)."""
        size = inputs.shape[-1]
        draws = uniform(self.seed + 1, epoch, rows, 5)
        chosen = (draws[:, 0] < self.settings.random_erasing).nonzero()[:, 0]
        area, ratio, top, left = draws[chosen, 1:].unbind(1)
        area = (0.02 + area * 0.31) * size * size
        ratio = torch.exp((ratio * 2 - 1) * float(np.log(3.3)))
        height, width = ((area * ratio).sqrt().clamp(1, size), (area / ratio).sqrt().clamp(1, size))
        box = self._box(top * (size - height), left * (size - width), height, width, size)
        # By whole rows of pixels, as they lie in memory, and of the chosen images alone.
        lines = inputs.permute(0, 2, 3, 1).flatten(2)
        kept = (~box).repeat_interleave(inputs.shape[1], 2).to(lines.dtype)
        lines = lines.index_copy(0, chosen, lines.index_select(0, chosen).mul_(kept))
        return lines.unflatten(2, (size, -1)).permute(0, 3, 1, 2)

    @staticmethod
    def _box(
        top: torch.Tensor, left: torch.Tensor, height: torch.Tensor, width: torch.Tensor, size: int
    ) -> torch.Tensor:
        """Mark the inside of one box an image, in pixels: bool [batch, size, size]."""
        pixel = torch.arange(size, device=top.device)
        y = (pixel >= top[:, None]) & (pixel < (top + height)[:, None])
        x = (pixel >= left[:, None]) & (pixel < (left + width)[:, None])
        return y[:, :, None] & x[:, None, :]

    def _mixed(
        self, inputs: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor, epoch: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Do Mixup (Zhang et al., ICLR 2018) or CutMix (Yun et al., ICCV 2019), each image with the one before it."""
        generator = np.random.default_rng([self.seed, epoch, int(rows[0])])
        alphas = {"mixup": self.settings.mixup_alpha, "cutmix": self.settings.cutmix_alpha}
        kind = generator.choice([name for name, alpha in alphas.items() if alpha])
        kept = torch.from_numpy(generator.beta(alphas[kind], alphas[kind], len(rows))).to(inputs)
        partners = inputs.roll(1, 0)
        if kind == "mixup":
            inputs = torch.lerp(partners, inputs, kept[:, None, None, None])
        else:
            box = self._cut(kept, rows, epoch, inputs.shape[-1])
            inputs = torch.where(box[:, None], partners, inputs)
            kept = 1 - box.float().mean((1, 2)).to(kept)
        targets = functional.one_hot(labels, self.num_classes).to(kept)
        return inputs, torch.lerp(targets.roll(1, 0), targets, kept[:, None])

    def _cut(self, kept: torch.Tensor, rows: torch.Tensor, epoch: int, size: int) -> torch.Tensor:
        """Mark boxes of (1 - kept) of the area around a random centre, cut at the edges: bool [batch, size, size]."""
        y, x = (uniform(self.seed + 2, epoch, rows, 2) * size).unbind(1)
        side = (1 - kept).sqrt() * size
        return self._box(y - side / 2, x - side / 2, side, side, size)
