"""Models from Python code: a stem, layers in a chain, a head; docs/guide/import.md says how to write one.

Whatever is such a chain can be imported, a CNN as well as a transformer that no other adapter knows. Shapes are not
asked for: they are seen when two black frames go through.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from jetson.errors import ModelError, first_line
from toolkit.models.config import BackboneConfig
from toolkit.models.head import Head, last_linears
from toolkit.models.parts import Parts
from toolkit.models.shape import TokenShape, as_pair
from toolkit.models.swin import MOST

HEAD_WIDTH = 64
"""Of an attention head of a `vit` branch, where the width allows it and `Chain.heads` says nothing."""


@dataclass(kw_only=True, eq=False)
class Chain:
    """What the function of a model from Python code returns."""

    stem: nn.Module
    """Pixels (batch, channels, height, width) to what the first layer reads."""
    layers: Sequence[nn.Module]
    """In their order; exits lie between them. Each takes what the one before gives, one tensor, and gives one: tokens
    (batch, n, width), or a map (batch, width, rows, columns)."""
    head: nn.Module | None = None
    """What the last layer gives to outputs (batch, outputs), which its last `nn.Linear` makes; kept as the final exit.
    None: a new one is made, a norm and a linear map of the average or, with `prefix`, of the first token."""
    image: int | tuple[int, int] = 224
    """Height and width of the input in pixels."""
    channels: int = 3
    mean: Sequence[float] | None = None
    """Per channel, of pixels between 0 and 1; ImageNet's when None."""
    std: Sequence[float] | None = None
    classes: Sequence[str] | None = None
    """Names of the outputs, in order."""
    prefix: int = 0
    """Tokens before the patches, the class token first; 0 in a CNN."""
    grids: Sequence[tuple[int, int]] | None = None
    """Of tokens: rows and columns after each layer. None: they are in the proportion of the image."""
    heads: Sequence[int] | None = None
    """After each layer, attention heads of a `vit` branch that is put there."""


def chain_of(config: BackboneConfig) -> Chain:
    """Make the chain of a checkpoint anew; its weights are random, or what the function gives without `weights`.

    Raises:
        ModelError: the code was never run here, or fails.
    """
    from toolkit.models.code import recall, run

    assert config.code is not None, "a model from Python code says which"
    return run(recall(config.code), config.code, None)


def chain_parts(config: BackboneConfig, outputs: int, chain: Chain) -> Parts:
    """Take a chain apart; arguments as those of `Backbone`.

    Raises:
        ModelError: the modules do not go together, or a layer gives neither tokens nor a map.
    """
    image = as_pair(config.transformers["image_size"])
    modules = [chain.stem, *chain.layers]
    found: Any = torch.zeros(2, chain.channels, *image)
    shapes: list[TokenShape] = []
    for number, module in enumerate(modules):
        name = f"layer {number}" if number else "the stem"
        found = _through(module, found, name)
        if number:
            shapes.append(_shape(chain, found, number, image))
        elif not isinstance(found, Tensor):
            raise ModelError(f"the stem gives a {type(found).__name__}, not one tensor")
    head = _head(config, chain, found, shapes[-1], outputs)
    return Parts(
        stem=chain.stem,
        layers=list(chain.layers),
        head=head,
        shapes=tuple(shapes),
        image=image,
        channels=chain.channels,
    )


@torch.no_grad()
def _through(module: nn.Module, inputs: Tensor, name: str) -> Any:
    try:
        return module.eval()(inputs)
    except Exception as error:  # the user's module may raise anything
        raise ModelError(f"{name} does not take a tensor of shape {list(inputs.shape)}: {first_line(error)}") from error


def _shape(chain: Chain, found: Any, number: int, image: tuple[int, int]) -> TokenShape:
    """What a layer gives."""
    if not isinstance(found, Tensor) or found.dim() not in (3, 4) or len(found) != 2:
        what = f"a tensor of shape {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise ModelError(
            f"layer {number} gives {what} for two frames, neither tokens (2, n, width) nor a map (2, width, rows, "
            "columns)"
        )
    if found.dim() == 4:
        width, rows, columns = found.shape[1:]
        return TokenShape(width, _heads(chain, number, width), 0, (rows, columns), map=True, most=MOST)
    count, width = found.shape[1:]
    if chain.grids is not None:
        grid = chain.grids[number - 1]
    else:
        rows = round(math.sqrt(max(count - chain.prefix, 0) * image[0] / image[1]))
        grid = (rows, (count - chain.prefix) // max(rows, 1))
    # Rounded down or up, the edges of a grid lie within one of the image's proportion.
    strange = chain.grids is None and abs(grid[1] - grid[0] * image[1] / image[0]) >= 1
    if strange or grid[0] * grid[1] != count - chain.prefix or min(grid) < 1:
        raise ModelError(
            f"layer {number} gives {count} tokens, which are not {chain.prefix} and a grid"
            + (" in the proportion of the image" if chain.grids is None else f" of {grid[0]}x{grid[1]}")
            + "; say with prefix and grids what they are"
        )
    most = None if chain.prefix else MOST
    return TokenShape(width, _heads(chain, number, width), chain.prefix, (grid[0], grid[1]), most=most)


def _heads(chain: Chain, number: int, width: int) -> int:
    if chain.heads is not None:
        return chain.heads[number - 1]
    return next(heads for heads in range(max(width // HEAD_WIDTH, 1), 0, -1) if width % heads == 0)


def _head(config: BackboneConfig, chain: Chain, last: Tensor, shape: TokenShape, outputs: int) -> nn.Module:
    """The chain's own head, its last linear map replaced where it has another number of outputs; or a new one."""
    if chain.head is None:
        return Head(nn.LayerNorm(shape.width), config.pooling, shape, outputs)
    found = _through(chain.head, last, "the head")
    linear = last_linears(chain.head)
    if not isinstance(found, Tensor) or found.dim() != 2 or not linear or linear[0].out_features != found.shape[1]:
        raise ModelError("the head must give one tensor (batch, outputs), and its last nn.Linear must make it")
    if found.shape[1] == outputs:
        return chain.head
    fresh = nn.Linear(linear[0].in_features, outputs)
    if chain.head is linear[0]:
        return fresh
    head = copy.deepcopy(chain.head)
    name = next(name for name, module in chain.head.named_modules() if module is linear[0])
    parent, _, leaf = name.rpartition(".")
    setattr(head.get_submodule(parent), leaf, fresh)
    return head


def check_chain(chain: Any, where: str) -> Chain:
    """Hold what a function returned against what is asked of it.

    Raises:
        ModelError: it is no `Chain`, or a field of it makes no sense.
    """
    if not isinstance(chain, Chain):
        raise ModelError(f"{where} returns a {type(chain).__name__}, not a toolkit.models.chain.Chain")
    modules = {"stem": chain.stem} | ({} if chain.head is None else {"head": chain.head})
    modules |= {f"layer {number}": layer for number, layer in enumerate(chain.layers, start=1)}
    for name, module in modules.items():
        if not isinstance(module, nn.Module):
            raise ModelError(f"{where}: {name} is a {type(module).__name__}, not an nn.Module")
    if chain.head is not None and not last_linears(chain.head):
        raise ModelError(f"{where}: the head has no nn.Linear, which must make the outputs")
    if not chain.layers:
        raise ModelError(f"{where}: no layers")
    depth, channels = len(chain.layers), chain.channels
    lengths = {"mean": channels, "std": channels, "grids": depth, "heads": depth}
    for name, length in lengths.items():
        value = getattr(chain, name)
        if value is not None and len(value) != length:
            raise ModelError(f"{where}: {name} has {len(value)} entries, it takes {length}")
    if (chain.mean is None) != (chain.std is None):
        raise ModelError(f"{where}: mean and std come together")
    return chain
