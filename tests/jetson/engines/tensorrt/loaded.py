"""TensorRTEngines on a fake device, beside ONNX Runtime on the same bundle, with a real cache on disk in between."""

from __future__ import annotations

import contextlib
import hashlib
from types import SimpleNamespace

import numpy as np

from jetson.engines import load_engines
from jetson.engines.tensorrt.api import Api
from jetson.engines.tensorrt.cache import Cache, Fingerprint, Key
from jetson.engines.tensorrt.engines import TensorRTEngines
from jetson.engines.tensorrt.target import this_target
from jetson.errors import CudaError
from tests.jetson.engines.tensorrt.fake_cuda import FakeCuda
from tests.jetson.engines.tensorrt.fake_tensorrt import FakeTensorRT, plan

VERSION = FakeTensorRT.__version__
PIXELS = np.random.default_rng(7).normal(size=(1, 1, 8, 8)).astype(np.float32)


@contextlib.contextmanager
def loader(folder):
    """A function that loads a bundle; gives engines, device, TensorRT, cache and ONNX Runtime's engines."""
    made = []

    def load(bundle, integrated=False, graphs=True, changes=None, prepare=None, maps=True, rtx=False):
        cuda = FakeCuda(integrated, maps)
        trt = FakeTensorRT(cuda, rtx)
        cache = fill(folder / f"cache-{len(made)}", bundle, this_target(cuda), changes, rtx)
        place = SimpleNamespace(cuda=cuda, trt=trt, cache=cache, reference=load_engines(bundle), bundle=bundle)
        made.append(place)
        if prepare is not None:
            prepare(place)
        precisions = ("fp32",) * len(bundle.manifest.units)
        api = Api(trt, "tensorrt_rtx" if rtx else "tensorrt", VERSION)
        place.engines = TensorRTEngines(bundle, precisions, cuda, api, cache, graphs)
        return place

    try:
        yield load
    finally:
        for place in made:
            place.reference.close()
            if hasattr(place, "engines"):
                with contextlib.suppress(CudaError):
                    place.engines.close()


def fill(folder, bundle, target, changes=None, rtx=False, precision="fp32"):
    """A real cache on disk that holds a fake engine of every unit."""
    cache = Cache(folder)
    cache.make_folder()
    for number, unit in enumerate(bundle.manifest.filed):
        options = {"scratch": 1000 * (number + 1), **(changes or {}).get(unit.name, {})}
        put(cache, unit, plan(bundle.file(unit, precision), **options), target, rtx, precision)
    return cache


def put(cache, unit, content, target, rtx=False, precision="fp32"):
    key = Key(
        unit_sha256=unit.at(precision).sha256,
        precision=precision,
        max_batch=1,
        optimization_level=3,
        workspace_bytes=1,
        package="tensorrt_rtx" if rtx else "tensorrt",
        version=VERSION,
        target=target,
    )
    with cache.locked(key) as mine:
        assert mine
        file = cache.new_file(key)
        file.write_bytes(content)
        cache.put(
            file,
            Fingerprint(
                unit=unit.name,
                key=key,
                sha256=hashlib.sha256(content).hexdigest(),
                size_bytes=len(content),
                device_memory_bytes=None,
                seconds=1.0,
                created="2025-03-04T05:06:07+00:00",
            ),
        )


def index(bundle, name):
    return [u.name for u in bundle.manifest.units].index(name)


def compare(place, pixels=PIXELS):
    """Run every unit on both, in an order in which they can run, and hold the outputs against each other."""
    place.engines.input[...] = place.reference.input[...] = pixels
    units = place.bundle.manifest.units
    for unit in sorted(range(len(units)), key=lambda i: (units[i].layer, units[i].kind != "segment")):
        place.reference.run(unit)
        place.engines.run(unit)
        found, expected = place.engines.output(unit), place.reference.output(unit)
        assert found.dtype == np.float32 and found.tobytes() == expected.tobytes(), units[unit].name
        assert np.abs(expected).max() > 0.01
