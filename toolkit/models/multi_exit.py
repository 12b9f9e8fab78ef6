"""MultiExitModel: a backbone, a branch for every early exit, and the places where it is cut."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from torch import Tensor, nn

from jetson.errors import ModelError
from toolkit.models.backbone import Backbone
from toolkit.models.branches import make_branch
from toolkit.models.config import HEAD, ExitConfig, ModelConfig, check_exits


class Segment(nn.Module):
    """Backbone layers first+1 .. last, the stem before them when they are the first; shares the model's weights."""

    def __init__(self, backbone: Backbone, first: int, last: int) -> None:
        super().__init__()
        self.first, self.last = first, last
        self.stem = backbone.stem if first == 0 else nn.Identity()
        self.layers = nn.Sequential(*list(backbone.layers)[first:last])

    def forward(self, inputs: Tensor) -> Tensor:
        """Pixels or tokens to tokens (batch, n, width), or a map (batch, width, rows, columns) of a CNN's."""
        return self.layers(self.stem(inputs))


class MultiExitModel(nn.Module):
    """Early exits after chosen layers of a backbone, and its own head as the last exit."""

    def __init__(self, config: ModelConfig, backbone: Backbone | None = None) -> None:
        """Build the model with random branches.

        Args:
            config: the whole model, exits sorted by layer.
            backbone: an adapted backbone; one with random weights is built from `config` when left out.

        Raises:
            ModelError: an exit does not fit the backbone.
        """
        super().__init__()
        self.config = config
        self.backbone = backbone or Backbone(config.backbone, config.outputs)
        check_exits(config.exits, self.backbone.depth)
        if [e.layer for e in config.exits] != sorted(e.layer for e in config.exits):
            raise ModelError("the exits are not in the order of their layers")
        shape = (config.preprocessing.height, config.preprocessing.width)
        if shape != self.backbone.image_size or config.preprocessing.channels != self.backbone.channels:
            raise ModelError("the preprocessing does not make what the backbone takes")
        self.branches = nn.ModuleList(
            make_branch(e, self.backbone.shapes[e.layer - 1], config.outputs) for e in config.exits
        )

    @property
    def exits(self) -> tuple[ExitConfig, ...]:
        """All exits in order; the last is the backbone's own head."""
        return (*self.config.exits, ExitConfig(layer=self.backbone.depth, architecture=HEAD))

    def branch(self, index: int) -> nn.Module:
        """The module that answers at exit `index` (0-based)."""
        return self.branches[index] if index < len(self.branches) else self.backbone.head

    @property
    def cuts(self) -> tuple[int, ...]:
        """Layers after which the backbone is cut, the depth included."""
        return tuple(sorted({e.layer for e in self.exits}))

    def only(self, early: Sequence[int]) -> MultiExitModel:
        """The same model with some of its early exits (by index) alone; shares all weights."""
        config = msgspec.structs.replace(self.config, exits=tuple(self.config.exits[i] for i in early))
        found = MultiExitModel(config, self.backbone)
        found.branches = nn.ModuleList(self.branches[i] for i in early)
        return found.train(self.training)

    def segments(self) -> list[Segment]:
        """The backbone cut at its exits, first to last."""
        return [Segment(self.backbone, a, b) for a, b in zip((0, *self.cuts[:-1]), self.cuts, strict=True)]

    def tokens(self, pixels: Tensor, layers: Collection[int] | None = None) -> list[Tensor]:
        """What comes out after each cut, or each of these layers, from one pass: tokens (batch, n, width), or maps."""
        wanted = self.cuts if layers is None else layers
        found: list[Tensor] = []
        tokens = self.backbone.stem(pixels)
        for depth, layer in enumerate(self.backbone.layers, start=1):
            tokens = layer(tokens)
            if depth in wanted:
                found.append(tokens)
        return found

    def answers(self, tokens: list[Tensor]) -> list[Tensor]:
        """Every exit's output, (batch, outputs) each, from the tokens at the cuts."""
        return [self.branch(i)(tokens[self.cuts.index(e.layer)]) for i, e in enumerate(self.exits)]

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Pixels (batch, channels, height, width) to every exit's output, first exit to last."""
        return self.answers(self.tokens(pixels))
