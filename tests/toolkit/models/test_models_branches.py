"""The seven branches: shapes, what each reads and what it ignores, and how large it is."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.toolkit.models.small import shaken
from toolkit.models.branches import TokenShape, make_branch
from toolkit.models.config import ARCHITECTURES, ExitConfig
from toolkit.models.count import flops, parameters

Shape = Callable[..., TokenShape]
D, OUT = 32, 5


def branch_of(name: str, shape: TokenShape, outputs: int = OUT) -> nn.Module:
    return shaken(make_branch(ExitConfig(layer=1, architecture=name), shape, outputs)).eval()


def tokens_for(shape: TokenShape, batch: int = 2) -> Tensor:
    return torch.randn(batch, shape.count, shape.width)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("prefix", [1, 2, 5])
@pytest.mark.parametrize("grid", [(4, 4), (2, 5), (1, 1)])
def test_output_shape(name: str, prefix: int, grid: tuple[int, int], shape: Shape) -> None:
    tokens = shape(prefix, grid)
    for outputs in (OUT, 1):
        assert branch_of(name, tokens, outputs)(tokens_for(tokens)).shape == (2, outputs)


# z_0, another prefix token, a patch token: which of them an output depends on (prefix of 2: z_0, distillation).
READS = {
    "mlp": (True, False, False),
    "cnn-ignore": (False, False, True),
    "cnn-add": (True, False, True),
    "cnn-project": (True, False, True),
    "vit": (True, True, True),
    "mlp-mixer": (True, True, True),
    "resmlp": (True, True, True),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_branch_reads_what_it_should_and_nothing_else(name: str, shape: Shape) -> None:
    tokens = shape(prefix=2)
    branch, before = branch_of(name, tokens), tokens_for(tokens)
    for place, reads in zip((0, 1, 4), READS[name], strict=True):
        after = before.clone()
        after[:, place] += torch.randn(D)
        assert torch.equal(branch(before), branch(after)) != reads, f"token {place}"


def test_the_map_is_laid_out_as_the_patches_lie(shape: Shape) -> None:
    """A convolution that only sees its left neighbour tells rows from columns."""
    tokens = shape(prefix=1, grid=(2, 3))
    branch = branch_of("cnn-ignore", tokens)
    seen: list[Tensor] = []
    branch.convolutions.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    branch.norm = nn.Identity()
    ramp = torch.arange(tokens.count).float()[None, :, None].expand(1, -1, D)
    branch(ramp)
    assert seen[0][0, 0].tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


N, C, H = 8, 16, 32  # tokens of prefix 2 and a 2x3 grid; channels and hidden width by default
NORM, LAST = 2 * D, D * OUT + OUT
CONVOLUTIONS = 9 * D * C + 2 * C + 9 * C * C + 2 * C
ALONG = D * 4 * D + 4 * D + 4 * D * D + D
PARAMETERS = {
    "mlp": NORM + D * D + D + LAST,
    "cnn-ignore": NORM + CONVOLUTIONS + C * H + H + H * OUT + OUT,
    "cnn-add": NORM + CONVOLUTIONS + C * H + H + H * OUT + OUT,
    "cnn-project": NORM + 2 * D * D + D + CONVOLUTIONS + C * H + H + H * OUT + OUT,
    "vit": 2 * NORM + 3 * (D * D + D) + D * D + D + ALONG + NORM + D * D + D + LAST,
    "mlp-mixer": 2 * NORM + N * 16 + 16 + 16 * N + N + ALONG + NORM + LAST,
    "resmlp": 3 * NORM + N * N + N + ALONG + 2 * D + NORM + LAST,
}
MULTIPLY_ADDS = {
    "mlp": D * D + D * OUT,
    "cnn-ignore": 6 * (9 * D * C + 9 * C * C) + C * H + H * OUT,
    "cnn-add": 6 * (9 * D * C + 9 * C * C) + C * H + H * OUT,
    "cnn-project": 6 * 2 * D * D + 6 * (9 * D * C + 9 * C * C) + C * H + H * OUT,
    "vit": N * (3 * D * D + D * D + 8 * D * D) + 2 * N * N * D + D * D + D * OUT,
    "mlp-mixer": D * 2 * N * 16 + N * 8 * D * D + D * OUT,
    "resmlp": D * N * N + N * 8 * D * D + D * OUT,
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_counts_are_those_worked_out_by_hand(name: str, shape: Shape) -> None:
    tokens = shape(prefix=2)
    branch = branch_of(name, tokens)
    assert parameters(branch) == PARAMETERS[name]
    assert flops(branch, tokens_for(tokens, batch=1)) == 2 * MULTIPLY_ADDS[name]
    assert flops(branch, tokens_for(tokens, batch=3)) == 3 * 2 * MULTIPLY_ADDS[name]


def test_options_change_the_sizes_they_name(shape: Shape) -> None:
    tokens = shape(prefix=1)
    wide = make_branch(ExitConfig(layer=1, architecture="mlp", hidden=7, layers=3), tokens, OUT)
    assert parameters(wide) == NORM + D * 7 + 7 + 7 * 7 + 7 + 7 * OUT + OUT
    single = make_branch(ExitConfig(layer=1, architecture="mlp", layers=1), tokens, OUT)
    assert parameters(single) == NORM + LAST
    deep = make_branch(ExitConfig(layer=1, architecture="cnn-ignore", channels=4, hidden=6, layers=1), tokens, OUT)
    assert parameters(deep) == NORM + 9 * D * 4 + 2 * 4 + 4 * 6 + 6 + 6 * OUT + OUT
    one, two = (make_branch(ExitConfig(layer=1, architecture="vit", layers=n), tokens, OUT) for n in (1, 2))
    assert parameters(two) - parameters(one) == 2 * NORM + 3 * (D * D + D) + D * D + D + ALONG


def test_counting_flops_leaves_the_mode_alone(shape: Shape) -> None:
    branch = branch_of("cnn-add", shape()).train()
    before = branch.convolutions[1].running_mean.clone()
    flops(branch, tokens_for(shape()))
    assert branch.training and torch.equal(branch.convolutions[1].running_mean, before)
