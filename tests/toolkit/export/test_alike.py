"""Modules that compute the same share one conversion, and each file is the one that its own conversion gives."""

import pytest
import torch
from torch import nn

from toolkit.export import onnx as exporter
from toolkit.export.alike import Alike, differ, program
from toolkit.export.onnx import export_module

pytestmark = pytest.mark.slow
EXAMPLE = torch.randn(1, 5, 8)
ENDS = ("tokens_in", "output")


class Layer(nn.Module):
    """A small layer with all that a ViT's has: a norm, a map with a bias, one without, a scale that is no parameter."""

    def __init__(self, scale: float = 0.5) -> None:
        super().__init__()
        self.norm, self.first, self.second = nn.LayerNorm(8), nn.Linear(8, 6), nn.Linear(6, 8, bias=False)
        self.scale = scale
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, x):
        return x + self.second(torch.tanh(self.first(self.norm(x)))) * self.scale


class Folded(nn.Module):
    """The exporter joins a convolution and the norm behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv1d(5, 4, 3), nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.convolution(x)).mean(dim=2)


@pytest.fixture
def conversions(monkeypatch):
    """How often PyTorch's exporter was called."""
    calls = []
    real = exporter._export
    monkeypatch.setattr(exporter, "_export", lambda *given, **options: calls.append(1) or real(*given, **options))
    return calls


def exported(modules, alike):
    return [export_module(m.eval(), EXAMPLE, f"unit-{i}", *ENDS, alike=alike) for i, m in enumerate(modules)]


def test_files_are_the_same_bit_for_bit_and_later_ones_need_no_conversion(conversions):
    layers = [Layer() for _ in range(4)]
    assert exported(layers, Alike()) == exported(layers, None)
    assert len(conversions) == 2 + 4, "the first for itself, the second's for all that follow"


def test_what_computes_something_else_is_converted_for_itself(conversions):
    layers = [Layer(scale) for scale in (0.5, 0.25, 0.5, 0.25)]
    assert exported(layers, Alike()) == exported(layers, None) and len(conversions) == 4 + 4


def test_names_of_inputs_and_outputs_are_kept_apart(conversions):
    alike, layer = Alike(), Layer().eval()
    for ends in (ENDS, ("a", "b"), ENDS, ("a", "b")):
        assert export_module(layer, EXAMPLE, "unit", *ends, alike=alike) == export_module(layer, EXAMPLE, "unit", *ends)


@pytest.mark.parametrize("spoil", ["equal", "even"])
def test_values_that_the_exporter_may_use_are_not_shared(conversions, spoil):
    layers = [Layer() for _ in range(3)]
    with torch.no_grad():
        for layer in layers:
            layer.norm.bias.copy_(layer.norm.weight if spoil == "equal" else torch.zeros(8))
            assert not differ(layer)
    assert exported(layers, Alike()) == exported(layers, None) and len(conversions) == 6


def test_joined_parameters_are_not_shared():
    modules = [Folded() for _ in range(3)]
    with torch.no_grad():
        for module in modules:
            for parameter in module.parameters():
                nn.init.normal_(parameter)
    assert exported(modules, Alike()) == exported(modules, None)


def test_a_program_is_known_by_what_it_computes_and_not_by_its_weights():
    def key(module):
        return program(module.eval(), torch.cat([EXAMPLE, EXAMPLE]), exporter._FRAMES)

    assert key(Layer()) == key(Layer()) != key(Layer(0.25))
    first, second = Folded(), Folded()
    assert key(first) == key(second)
    second.norm.running_mean += 1
    assert key(first) != key(second), "what is no parameter is part of the program"
