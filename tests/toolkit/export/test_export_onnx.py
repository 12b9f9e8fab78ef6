import logging
import sys
from types import SimpleNamespace

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from jetson.errors import MissingExtra, WorkFailed
from toolkit.export.onnx import OPSET, export_module

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_exports")]


class Halved(nn.Module):
    """A small module."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        return torch.tanh(self.linear(x)) / 2


class Undecided(nn.Module):
    """What no exporter can follow: the way through depends on the values."""

    def forward(self, x):
        return x + 1 if float(x.sum()) > 0 else x.reshape(-1)[: int(x.sum().abs())]


class OneFrame(torch.nn.Module):
    """Its code names the batch."""

    def forward(self, x):
        return torch.tanh(x).reshape(1, 2, 2).sum(dim=1)


def run(content, name, value):
    options = onnxruntime.SessionOptions()
    options.use_per_session_threads = False
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except RuntimeError:  # no shared pool in this process yet
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {name: value})[0]


def test_a_module_becomes_one_onnx_file():
    module = Halved().eval()
    example = torch.randn(1, 4)
    content, dynamic_batch = export_module(module, example, "unit-1", "tokens_in", "output")
    model = onnx.load_from_string(content)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)] and OPSET == 20
    assert model.graph.name == "unit-1" and not model.functions
    assert [i.name for i in model.graph.input] == ["tokens_in"]
    assert [o.name for o in model.graph.output] == ["output"]
    shape = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == ["batch", 4] and dynamic_batch
    for frames in (example, torch.randn(3, 4)):
        with torch.no_grad():
            assert run(content, "tokens_in", frames.numpy()) == pytest.approx(module(frames).numpy(), abs=1e-6)


def test_a_module_that_fixes_its_batch_is_exported_for_one_frame():
    module, example = OneFrame().eval(), torch.randn(1, 4)
    content, dynamic_batch = export_module(module, example, "unit-1", "tokens_in", "output")
    dims = onnx.load_from_string(content).graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims] == [1, 4] and not dynamic_batch
    with torch.no_grad():
        assert run(content, "tokens_in", example.numpy()) == pytest.approx(module(example).numpy(), abs=1e-6)


def test_an_export_is_quiet_and_leaves_the_logger_as_it_was(capfd):
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    export_module(Halved().eval(), torch.randn(1, 4), "unit-1", "a", "b")
    found = capfd.readouterr()
    assert found.out == found.err == "" and logger.level == before


def test_a_module_that_cannot_be_exported_is_named():
    with pytest.raises(WorkFailed, match="unit branch-x: PyTorch cannot export it: ") as caught:
        export_module(Undecided(), torch.randn(1, 4), "branch-x", "a", "b")
    assert "\n" not in str(caught.value) and caught.value.exit_code == 1


def test_another_opset_is_refused(monkeypatch):
    real = torch.onnx.export

    def with_more(*args, **options):
        model = real(*args, **options).model_proto
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
        return SimpleNamespace(model_proto=model)

    monkeypatch.setattr(torch.onnx, "export", with_more)
    with pytest.raises(
        WorkFailed, match=r"unit x: exported with operator sets .*com\.microsoft.*, wanted opset 20 alone"
    ):
        export_module(Halved().eval(), torch.randn(1, 4), "x", "a", "b")


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package_is_one_line(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"{package} is not installed: pip install 'offramp\[host\]'"):
        export_module(Halved(), torch.randn(1, 4), "x", "a", "b")
