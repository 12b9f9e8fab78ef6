"""Every TensorRT name in the code exists in every supported version, by a table of facts read off the wheels.

What a variable holds is told by its name: `TYPES` says which names hold what, and a test fails when a member of
TensorRT's is used on anything else.
"""

import ast
import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = Path(__file__).resolve().parents[4]
TABLE = json.loads((HERE / "names.json").read_text())
VERSIONS = ("10.3.0", "10.16.1", "11.4.0", "rtx-1.7.1")
RTX = "rtx-1.7.1"
FILES = [*sorted((ROOT / "jetson" / "engines" / "tensorrt").glob("*.py")), ROOT / "jetson" / "doctor" / "child.py"]
TYPES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "fault": "ParserError",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "tensor": "ITensor",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "settings": "IRuntimeConfig",
}
GIVES = {
    "create_network": "INetworkDefinition",
    "create_builder_config": "IBuilderConfig",
    "create_optimization_profile": "IOptimizationProfile",
    "get_input": "ITensor",
    "get_output": "ITensor",
    "get_error": "ParserError",
    "deserialize_cuda_engine": "ICudaEngine",
    "create_execution_context": "IExecutionContext",
    "create_runtime_config": "IRuntimeConfig",
}
OTHERWISE = {  # in these files a name of TYPES is something else
    "cache.py": {"engine"},
    "build.py": {"engine"},
    "choose.py": {"engine"},
}
TAKES_ENUM = {  # method: positions of arguments that are an enum's, or made of one
    "create_network": [0],
    "set_memory_pool_limit": [0],
    "get_memory_pool_limit": [0],
    "set_compute_capability": [0],
    "create_execution_context": [0],
    "set_flag": [0],
    "clear_flag": [0],
    "get_flag": [0],
    "set_preview_feature": [0],
    "set_tactic_sources": [0],
}
GIVES_ENUM = {"get_tensor_mode", "get_tensor_dtype", "get_tensor_format", "get_tensor_location"}


class Uses(ast.NodeVisitor):
    """Collects uses of TensorRT in a module: (class, or None for TensorRT itself; member; line; function around it)."""

    def __init__(self, source: str, otherwise: set[str] = frozenset()) -> None:
        self.types = {k: v for k, v in TYPES.items() if k not in otherwise}
        self.found: list[tuple[str | None, str, int, str | None]] = []
        self.strangers: list[tuple[str, int]] = []
        self.integers: list[int] = []
        self._functions: list[str] = []
        self.tree = ast.parse(source)
        self.visit(self.tree)

    def kind(self, node: ast.expr) -> str | None:
        """The TensorRT class of an expression, `module` for TensorRT itself, None when it is not of TensorRT."""
        if isinstance(node, ast.Subscript) and isinstance(node.value, (ast.Name, ast.Attribute)):
            name = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            return self.types.get(name.lstrip("_").removesuffix("s"))  # `contexts[0]` is a context
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            return GIVES.get(node.func.attr) if self.kind(node.func.value) else None
        if isinstance(node, (ast.Name, ast.Attribute)):
            name = node.id if isinstance(node, ast.Name) else node.attr
            if name == "trt":
                return "module"
            if isinstance(node, ast.Attribute) and self.kind(node.value) == "module":
                return name
            return self.types.get(name.lstrip("_"))
        return None

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._functions.append(node.name)
        self.generic_visit(node)
        self._functions.pop()

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        kind = self.kind(node.value)
        where = self._functions[0] if self._functions else None
        if kind == "module":
            self.found.append((None, node.attr, node.lineno, where))
        elif kind is not None:
            self.found.append((kind, node.attr, node.lineno, where))
        elif node.attr in DISTINCTIVE:
            self.strangers.append((node.attr, node.lineno))

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and self.kind(node.func.value):
            for place in TAKES_ENUM.get(node.func.attr, []):
                if place < len(node.args) and not self._named(node.args[place]):
                    self.integers.append(node.lineno)

    def visit_Compare(self, node: ast.Compare) -> None:
        self.generic_visit(node)
        sides = [node.left, *node.comparators]
        of_enum = any(isinstance(s, ast.Call) and getattr(s.func, "attr", "") in GIVES_ENUM for s in sides)
        if of_enum and any(isinstance(s, ast.Constant) for s in sides):
            self.integers.append(node.lineno)

    @staticmethod
    def _named(node: ast.expr) -> bool:
        """Whether an argument speaks of its enum by name: no integer in it but the one of `1 << int(...)`."""
        if isinstance(node, ast.BinOp):
            shift = isinstance(node.op, ast.LShift) and isinstance(node.left, ast.Constant) and node.left.value == 1
            flag = isinstance(node.right, ast.Call) and not any(
                isinstance(n, ast.Constant) for n in ast.walk(node.right)
            )
            return (shift and flag) or (
                isinstance(node.op, ast.BitOr) and Uses._named(node.left) and Uses._named(node.right)
            )
        return not any(isinstance(n, ast.Constant) and isinstance(n.value, int) for n in ast.walk(node))


# Members whose names are hardly anybody else's: those with an underscore inside, of the classes that the code uses.
DISTINCTIVE = {
    member
    for classes in TABLE.values()
    for name in {*TYPES.values(), "ILogger", "IProgressMonitor"} & classes.keys()
    for member in classes[name]
    if "_" in member.strip("_") and not member.isupper()
}


def uses(path: Path) -> Uses:
    return Uses(path.read_text(encoding="utf-8"), OTHERWISE.get(path.name, set()))


def has(version: str, kind: str | None, member: str) -> bool:
    if member.startswith("__"):
        return True
    classes = TABLE[version]
    return member in classes if kind is None else member in classes.get(kind, ())


def missing(found: Uses) -> list[tuple[str, str | None, str, int]]:
    """Names that a version lacks; those that only TensorRT for RTX has are `rtx_only`'s business."""
    wrong = []
    for kind, member, line, _ in found.found:
        if has(RTX, kind, member) and ((kind, member) in RTX_ONLY or kind in RTX_CLASSES):
            continue
        wrong += [(v, kind, member, line) for v in VERSIONS if not has(v, kind, member)]
    return wrong


RTX_ONLY = {
    (None, "ComputeCapability"),
    (None, "DynamicShapesKernelSpecializationStrategy"),
    ("BuilderFlag", "REQUIRE_USER_ALLOCATION"),
    ("IBuilderConfig", "num_compute_capabilities"),
    ("IBuilderConfig", "set_compute_capability"),
    ("IExecutionContext", "is_stream_capturable"),
    ("ICudaEngine", "create_runtime_config"),
}
"""Names that not every TensorRT has; used only where it is known to be TensorRT for RTX."""
RTX_CLASSES = {"ComputeCapability", "DynamicShapesKernelSpecializationStrategy", "IRuntimeConfig"}


def unguarded(found: Uses) -> list[tuple[str, int]]:
    """Uses of RTX's own names in functions that neither ask for `.rtx` nor are called only where that was asked."""
    wrong = []
    for kind, member, line, function in found.found:
        if (kind, member) not in RTX_ONLY and kind not in RTX_CLASSES:
            continue
        if not _asks_before(found.tree, function, line) and not _called_when_rtx(found.tree, function):
            wrong.append((member, line))
    return wrong


def _asks_before(tree: ast.AST, function: str | None, line: int) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr == "rtx" and node.lineno <= line
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef) and outer.name == function
        for node in ast.walk(outer)
    )


def _called_when_rtx(tree: ast.AST, function: str | None) -> bool:
    def calls(node: ast.AST) -> set[int]:
        found = (n for n in ast.walk(node) if isinstance(n, ast.Call))
        return {n.lineno for n in found if getattr(n.func, "id", getattr(n.func, "attr", None)) == function}

    guarded: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Attribute) and node.test.attr == "rtx":
            for statement in node.body:
                guarded |= calls(statement)
    return bool(guarded) and calls(tree) == guarded


def test_the_table_is_small_and_has_every_version() -> None:
    assert tuple(TABLE) == VERSIONS
    assert (HERE / "names.json").stat().st_size < 100_000


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_every_name_exists_in_every_version(path: Path) -> None:
    assert missing(uses(path)) == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_no_use_hides_behind_another_name(path: Path) -> None:
    assert uses(path).strangers == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_names_of_rtx_are_used_only_where_it_is_rtx(path: Path) -> None:
    assert unguarded(uses(path)) == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_no_enum_integer_is_written_down(path: Path) -> None:
    assert uses(path).integers == []


def test_names_of_rtx_are_not_in_every_other_version() -> None:
    others = [v for v in VERSIONS if v != RTX]
    assert [n for n in sorted(RTX_ONLY, key=str) if not has(RTX, *n) or all(has(v, *n) for v in others)] == []


def test_methods_that_tensorrt_calls_are_its_own() -> None:
    tree = ast.parse((ROOT / "jetson" / "engines" / "tensorrt" / "log.py").read_text())
    found = {}
    for node in ast.walk(tree):
        bases = [b.attr for b in getattr(node, "bases", []) if isinstance(b, ast.Attribute)]
        if isinstance(node, ast.ClassDef) and bases:
            found[bases[0]] = {n.name for n in node.body if isinstance(n, ast.FunctionDef)} - {"__init__"}
    assert set(found) == {"ILogger", "IProgressMonitor"}
    for version in VERSIONS:
        for kind, methods in found.items():
            assert methods <= set(TABLE[version][kind]), version
    assert found["IProgressMonitor"] == set(TABLE["10.3.0"]["IProgressMonitor"])


@pytest.mark.parametrize("version", VERSIONS)
def test_the_code_does_use_what_is_checked(version: str) -> None:
    seen = {(kind, member) for path in FILES for kind, member, _, _ in uses(path).found}
    for name in ("Builder", "OnnxParser", "Runtime", "MemoryPoolType"):
        assert (None, name) in seen
    assert {kind for kind, _ in seen} >= {"Builder", "INetworkDefinition", "OnnxParser", "IBuilderConfig", "ITensor"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("trt.BuilderFlag.FP16", [("11.4.0", "BuilderFlag", "FP16"), (RTX, "BuilderFlag", "FP16")]),
        ("trt.OnnxParser(network, logger).supports_model", []),
        (
            "parser.supports_model(b'')",
            [("11.4.0", "OnnxParser", "supports_model"), (RTX, "OnnxParser", "supports_model")],
        ),
        ("engine.device_memory_size", [("11.4.0", "ICudaEngine", "device_memory_size")]),
        ("self._contexts[0].execute_async_v9(1)", [(v, "IExecutionContext", "execute_async_v9") for v in VERSIONS]),
        (
            "network.get_input(0).dynamic_range",
            [("11.4.0", "ITensor", "dynamic_range"), (RTX, "ITensor", "dynamic_range")],
        ),
    ],
)
def test_the_check_sees_a_missing_name(line: str, says: list[tuple[str, str, str]]) -> None:
    found = [m[:3] for m in missing(Uses(line))]
    assert all(s in found for s in says) and (says or not found)


def test_the_check_sees_hidden_uses_integers_and_unguarded_names() -> None:
    assert Uses("thing.set_tensor_address('a', 1)").strangers == [("set_tensor_address", 1)]
    for line in ("builder.create_network(1)", "builder.create_network(1 << 0)", "builder.create_network(1 << 1)"):
        assert Uses(line).integers == [1], line
    assert Uses("builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))").integers == []
    assert Uses("config.set_memory_pool_limit(0, size)").integers == [1]
    assert Uses("config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 30)").integers == []
    assert Uses("engine.get_tensor_mode(n) == 1").integers == [1]
    bare = "def f(trt, config):\n    config.num_compute_capabilities = 1\n"
    assert unguarded(Uses(bare)) == [("num_compute_capabilities", 2)]
    assert unguarded(Uses(bare + "def g(api):\n    if api.rtx:\n        f(1, 2)\n")) == []
    assert unguarded(Uses(bare + "def g(api):\n    if api.rtx:\n        f(1, 2)\n    f(3, 4)\n")) != []
