"""The classifier as it stands in the model file: from raw pixels to answers, in torch."""

import torch
from torch import nn

from lightline.errors import ParameterError
from lightline.model_file.decision import CONSTANTS, Decision
from lightline.models.body import Body
from lightline.models.transforms import Preprocessing, evaluation_transform


class PixelClassifier(nn.Module):
    """uint8 RGB [batch, height, width, 3] → a tensor each of what OUTPUTS names, in that order.

    logits, probabilities: float32 [batch, classes]. confidence: float32 [batch]. accepted: bool [batch]. set: bool
    [batch, classes]; see `decision.Answers`. embedding, where asked for: float32 [batch, features].
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        decision: Decision | None = None,
        embedding: bool = False,
    ):
        super().__init__()
        self.transform = evaluation_transform(preprocessing)
        self.network = Body(network) if embedding else network
        if isinstance(self.network, Body) and not self.network.has_head:
            raise ParameterError(
                f"export.embedding = true needs a network with a last layer of its own; {type(network).__name__} has "
                "none. Set it to false."
            )
        self.with_embedding = embedding
        for name in CONSTANTS:
            self.register_buffer(name, torch.tensor(getattr(decision or Decision(), name), dtype=torch.float32))

    @property
    def outputs(self) -> list[str]:
        """Name what it gives."""
        return [*OUTPUTS, *([EMBEDDING] if self.with_embedding else [])]

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = self.network(self.transform(image))
        logits, *embedding = given if self.with_embedding else (given,)
        probabilities = (logits / self.temperature).softmax(1)
        confidence = probabilities.amax(1)
        likely = (probabilities >= self.set_threshold) | (probabilities >= confidence[:, None])
        return logits, probabilities, confidence, confidence >= self.threshold, likely, *embedding


OUTPUTS, EMBEDDING = ("logits", "probabilities", "confidence", "accepted", "set"), "embedding"
