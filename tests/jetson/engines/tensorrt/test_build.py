"""Builds with the real TensorRT for RTX, which needs no GPU: a tiny unit takes a tenth of a second."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from jetson.engines.tensorrt import build as module
from jetson.engines.tensorrt.api import load_api
from jetson.engines.tensorrt.build import Options, build, failure, plan
from jetson.engines.tensorrt.cache import Cache
from jetson.engines.tensorrt.worker import Refused, _set_batch, parse
from jetson.errors import BadInput, BundleError, EngineError, StorageError
from tests.bundles import tiny_bundle
from tests.jetson.engines.tensorrt.building import SM86, Witness, make_task, names, put, write_onnx

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install 'offramp[rtx]'")


@pytest.fixture(scope="module")
def api():
    return load_api("tensorrt_rtx")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("build") / "ein bündel", exits=((2, "mlp"), (4, "head")))


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "the cache ✓")


@pytest.fixture
def rtx_task(tmp_path, api):
    """A function that makes a task of a graph."""

    def make(operators=(("Tanh", "t"),), unit="segment-1", batch=1, shape=(1, 4), **changes):
        file = write_onnx(tmp_path / "units" / f"{unit}.onnx", list(operators), batch)
        given = {"package": api.package, "version": api.version, "target": SM86, **changes}
        return make_task(file, unit, shape, **given)

    return make


def tasks_of(bundle, api, target=SM86, **options):
    return plan(bundle, [("fp32",)] * len(bundle.manifest.units), target, Options(**options), api)


def test_every_unit_becomes_an_engine_once(bundle, api, cache):
    tasks, first, second = tasks_of(bundle, api), Witness(), Witness()
    outcomes = build(tasks, cache, first, jobs=2)
    units = [u.name for u in bundle.manifest.units]
    assert [(o.task.source.unit, o.cached, o.error) for o in outcomes] == [(u, False, "") for u in units]
    assert sorted(first.told) == sorted([(w, u) for u in units for w in ("started", "built")])
    assert first.shares and all(0 <= s <= 1 for s in first.shares)
    assert names(cache.folder) == [".engine"] * 4 + [".json"] * 4
    for outcome in outcomes:
        made = outcome.entry.fingerprint
        assert made.key == outcome.task.key and made.unit == outcome.task.source.unit and made.seconds > 0
        assert len(cache.read(outcome.entry)) == made.size_bytes > 1000 and made.device_memory_bytes is None
    again = build(tasks, cache, second)
    assert [(o.entry, o.cached) for o in again] == [(o.entry, True) for o in outcomes]
    assert second.told == [("cached", u) for u in units] and failure(again) is None


def test_an_engine_is_built_for_the_target_it_is_named_after(bundle, api, cache):
    ada = msgspec.structs.replace(SM86, compute_capability=(8, 9))
    first = build(tasks_of(bundle, api)[:1], cache, Witness())[0]
    other = build(tasks_of(bundle, api, ada)[:1], cache, Witness())[0]
    assert not other.cached and cache.read(first.entry) != cache.read(other.entry)


def test_what_is_damaged_is_built_again_and_the_rest_is_not(bundle, api, cache):
    tasks = tasks_of(bundle, api)[:3]
    cut, altered, whole = build(tasks, cache, Witness())
    os.truncate(cut.entry.path, 100)
    altered.entry.path.with_suffix(".json").write_text("{}")
    assert [o.cached for o in build(tasks, cache, Witness())] == [False, False, True]
    assert all(cache.find(o.task.key) for o in (cut, altered, whole))


def test_force_builds_again(rtx_task, cache):
    task = rtx_task()
    build([task], cache, Witness())
    witness = Witness()
    build([task], cache, witness, force=True)
    assert witness.told == [("started", "segment-1"), ("built", "segment-1")]


def test_every_bad_node_is_named_and_the_other_units_are_built(rtx_task, cache):
    bad = rtx_task([("Tanh", "fine"), ("Frobnicate", "first bad"), ("Relu", ""), ("Wobble", "second bad")], "branch-1")
    outcomes = build([bad, rtx_task()], cache, Witness())
    for word in ("unit branch-1 in fp32", "Frobnicate 'first bad'", "Wobble 'second bad'"):
        assert word in outcomes[0].error
    assert "\n" not in outcomes[0].error and "'fine'" not in outcomes[0].error
    assert outcomes[1].entry is not None and names(cache.folder) == [".engine", ".json"]
    error = failure(outcomes)
    assert isinstance(error, EngineError) and str(error) == outcomes[0].error


def test_a_file_that_is_cut_off_is_refused_with_the_parsers_words(rtx_task, cache):
    task = rtx_task()
    os.truncate(task.source.path, task.file_bytes // 2)
    error = build([task], cache, Witness())[0].error
    assert error.startswith("unit segment-1 in fp32: TensorRT's parser cannot read it: ") and "Failed to parse" in error


def test_a_file_of_nonsense_that_the_parser_takes_for_an_empty_graph_is_refused(rtx_task, cache):
    task = rtx_task()
    task.source.path.write_bytes(bytes(range(256)))
    assert "it takes [] and gives []" in build([task], cache, Witness())[0].error


def test_a_unit_that_takes_something_else_than_the_manifest_says_is_refused(rtx_task, cache):
    outcome = build([rtx_task(shape=(1, 5))], cache, Witness())[0]
    assert "it takes [('x', (1, 4))] and gives ['y'], which is not what the manifest says" in outcome.error


def network_of(api, source):
    from jetson.engines.tensorrt.log import Log, make_logger

    logger = make_logger(api.trt, Log().add)
    builder = api.trt.Builder(logger)
    return builder, *parse(api.trt, builder, logger, source), logger


def job_of(task, max_batch, file):
    from jetson.engines.tensorrt.build import _job

    return _job(make_task(task.source.path, max_batch=max_batch, target=SM86), file)


def test_a_static_engine_has_a_batch_of_one(api, rtx_task, tmp_path):
    task = rtx_task(batch="batch")
    builder, network, _parser, _logger = network_of(api, task.source)
    assert tuple(network.get_input(0).shape) == (-1, 4)
    config = builder.create_builder_config()
    _set_batch(builder, network, config, job_of(task, 1, tmp_path))
    assert tuple(network.get_input(0).shape) == tuple(network.get_output(0).shape) == (1, 4)
    assert config.num_optimization_profiles == 0


def test_batches_get_a_profile_at_its_best_with_the_most(api, rtx_task, tmp_path):
    task = rtx_task(batch="batch")
    builder, network, _parser, _logger = network_of(api, task.source)
    config = builder.create_builder_config()
    _set_batch(builder, network, config, job_of(task, 8, tmp_path))
    assert tuple(network.get_input(0).shape) == (-1, 4) and config.num_optimization_profiles == 1
    with pytest.raises(Refused, match="which is not what the manifest says"):
        network_of(api, rtx_task(batch="batch", shape=(1, 3)).source)


def test_batched_and_static_engines_lie_side_by_side(api, rtx_task, cache):
    static, batched = rtx_task(batch="batch"), rtx_task(batch="batch", max_batch=8)
    outcomes = build([static, batched], cache, Witness())
    assert failure(outcomes) is None and len({o.entry.path for o in outcomes}) == 2


def test_what_cannot_be_had_is_refused_before_anything_is_built(bundle, api):
    with pytest.raises(
        BadInput, match=r"takes one frame at a time, so --max-batch 4 cannot be had; build the bundle again"
    ):
        tasks_of(bundle, api, max_batch=4)
    with pytest.raises(BundleError, match="unit segment-1 is in the bundle in fp32 only"):
        plan(bundle, [("fp16",)] * len(bundle.manifest.units), SM86, Options(), api)


def test_too_little_memory_names_the_unit_the_need_and_the_remedy(rtx_task, cache, monkeypatch):
    monkeypatch.setattr(module.headroom, "available_bytes", lambda: 200_000_000)
    outcome = build([rtx_task()], cache, Witness())[0]
    assert outcome.error == (
        "unit segment-1 in fp32 takes up to 0.3 GB to build, and 0.2 GB are free: close other programs, add swap, or "
        "give --jobs 1 and a smaller --workspace-mb"
    )
    assert names(cache.folder) == []


def test_while_memory_is_short_builds_wait_for_one_another(rtx_task, cache, monkeypatch):
    needs = module.headroom.needed_bytes(1000, 0, False)
    monkeypatch.setattr(module.headroom, "available_bytes", lambda: int(1.5 * needs))
    monkeypatch.setattr(module.headroom, "resident_bytes", lambda _pid: 0)
    witness = Witness()
    outcomes = build([rtx_task(unit=u, operators=[("Tanh", u)]) for u in "abc"], cache, witness, jobs=3)
    assert failure(outcomes) is None and [w for w, _ in witness.told] == ["started", "built"] * 3


def test_where_memory_is_not_known_it_is_built(rtx_task, cache, monkeypatch):
    monkeypatch.setattr(module.headroom, "available_bytes", lambda: None)
    assert failure(build([rtx_task()], cache, Witness())) is None


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_ends_the_workers_and_leaves_nothing(bundle, api, cache, stop, monkeypatch):
    made = []
    start = module.Worker.__init__

    def remember(self, job):
        start(self, job)
        made.append(self)

    monkeypatch.setattr(module.Worker, "__init__", remember)

    class Impatient(Witness):
        def progress(self, task, share, phase):
            raise stop

    with pytest.raises(stop):
        build(tasks_of(bundle, api)[:3], cache, Impatient(), jobs=2)
    assert made and all(w._process.poll() is not None for w in made)
    assert not set(names(cache.folder)) & {".part", ".lock"}
    assert failure(build(tasks_of(bundle, api)[:2], cache, Witness())) is None


def test_two_processes_build_every_engine_once(bundle, tmp_path):
    words = ["engines", str(bundle.path), "--target", "sm86", "--cache", str(tmp_path / "cache"), "--jobs", "2"]
    command = [sys.executable, "-m", "toolkit", *words]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [p.communicate() for p in both]
    assert [p.returncode for p in both] == [0, 0], said
    built = [line for _, err in said for line in err.splitlines() if line.startswith("building ")]
    assert sorted(built) == sorted(f"building unit {u.name} in fp32 ..." for u in bundle.manifest.units)
    assert names(tmp_path / "cache") == [".engine"] * 4 + [".json"] * 4


def test_a_full_disk_is_one_line_and_leaves_nothing_that_counts(bundle, api, tmp_path):
    cache = Cache(tmp_path / "cache")
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); from toolkit.cli import main; "
        f"sys.exit(main(['engines', {str(bundle.path)!r}, '--target', 'sm86', '--cache', {str(cache.folder)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("offramp engines: cannot write "), done
    assert "File too large" in done.stderr and "Traceback" not in done.stderr
    assert names(cache.folder) == []
    assert failure(build(tasks_of(bundle, api)[:1], cache, Witness())) is None


def test_a_write_to_a_full_disk_says_so():
    from jetson.engines.tensorrt.worker import _write

    with pytest.raises(StorageError, match="the disk is full; free some space and run the same command again"):
        _write(b"/dev/full", b"an engine")


def test_a_folder_that_cannot_be_written_is_refused(rtx_task, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/cache"):
        build([rtx_task()], Cache(tmp_path / "file" / "cache"), Witness())


def test_a_damaged_entry_of_the_same_key_does_not_outlive_the_build(rtx_task, cache):
    task = rtx_task()
    put(cache, b"junk", **{f: getattr(task.key, f) for f in task.key.__struct_fields__})
    os.truncate(cache.folder / f"{task.key.digest}.engine", 1)
    outcome = build([task], cache, Witness())[0]
    assert not outcome.cached and cache.find(task.key) == outcome.entry


@pytest.mark.slow
def test_a_parent_killed_in_mid_build_takes_its_workers_along(tmp_path):
    from tests.jetson.engines.tensorrt.fake_builder import install

    install(tmp_path / "fake", "deaf", package="tensorrt_rtx")
    file = write_onnx(tmp_path / "unit.onnx", [("Tanh", "t")])
    script = (
        "from pathlib import Path\n"
        "from tests.jetson.engines.tensorrt.building import *\n"
        "from jetson.engines.tensorrt.build import build\n"
        "class W(Witness):\n"
        "    def started(self, task): print('started', flush=True)\n"
        f"task = make_task(Path({str(file)!r}), package='tensorrt_rtx', target=SM86)\n"
        f"build([task], Cache(Path({str(tmp_path / 'cache')!r})), W())\n"
    )
    root = str(Path(__file__).parents[4])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "fake"), root])}
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout.readline() == b"started\n"
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent.pid)], capture_output=True, text=True, check=True
    )
    worker = int(children.stdout)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 30
    image = Path(f"/proc/{worker}/exe")
    while image.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not image.exists()
    assert set(names(tmp_path / "cache")) <= {".part", ".lock"} and Cache(tmp_path / "cache").entries()
    task = make_task(file, package="tensorrt_rtx", version=load_api("tensorrt_rtx").version, target=SM86)
    assert failure(build([task], Cache(tmp_path / "cache"), Witness())) is None
