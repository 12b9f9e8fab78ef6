"""What TensorRT says, on TensorRT's own classes where they are here."""

from types import SimpleNamespace

import pytest

from jetson.engines.tensorrt.log import BadNode, Log, Phases, bad_nodes, make_logger, make_monitor


def test_the_log_keeps_the_last_errors_and_else_the_warnings():
    log = Log(keep=2)
    assert str(log) == ""
    for text in ("one", "two", "two", " thr\n ee "):
        log.add(text, error=False)
    assert str(log) == "two | thr ee"
    log.add("it broke", error=True)
    log.add("", error=True)
    assert str(log) == "it broke"


def test_the_logger_hands_on_warnings_and_errors_alone():
    trt = pytest.importorskip("tensorrt_rtx")
    log = Log()
    logger = make_logger(trt, log.add)
    kinds = trt.ILogger
    for severity in (kinds.VERBOSE, kinds.INFO, kinds.WARNING, kinds.ERROR, kinds.INTERNAL_ERROR):
        logger.log(severity, f"a {severity.name}")
    assert list(log.warnings) == ["a WARNING"] and list(log.errors) == ["a ERROR", "a INTERNAL_ERROR"]


def test_tensorrt_itself_speaks_to_the_logger():
    trt = pytest.importorskip("tensorrt_rtx")
    log = Log()
    logger = make_logger(trt, log.add)
    parser_errors = trt.OnnxParser(network := trt.Builder(logger).create_network(), logger)
    assert not parser_errors.parse(b"no graph") and network.num_layers == 0
    assert str(log)


def test_the_share_follows_phases_that_nest():
    phases = Phases()
    phases.start("all", 2)
    phases.start("first", 4)
    phases.step("first", 0)
    assert phases.share == pytest.approx(1 / 8) and phases.current == "first"
    phases.start("inner", 2)
    phases.step("inner", 0)
    assert phases.share == pytest.approx(1 / 8 + 1 / 16)
    phases.step("inner", 1)
    phases.finish("inner")
    phases.step("first", 1)
    assert phases.share == pytest.approx(2 / 8)
    phases.finish("first")
    phases.step("all", 0)
    assert phases.share == pytest.approx(1 / 2)
    phases.step("all", 1)
    assert phases.share == 1.0


def test_the_share_never_falls_nor_leaves_its_range_whatever_is_said():
    phases = Phases()
    phases.start("all", 0)
    phases.step("all", 7)
    phases.start("all", -3)
    phases.step("all", 0)
    phases.step("never begun", 0)
    phases.finish("never begun")
    assert phases.share == 1.0


@pytest.mark.parametrize("cancel", [False, True])
def test_the_monitor_reports_and_cancels(monkeypatch, cancel):
    trt = SimpleNamespace(IProgressMonitor=type("IProgressMonitor", (), {}))
    told = []
    monkeypatch.setattr("jetson.engines.tensorrt.log.REPORT_EVERY_S", 0.0)
    monitor = make_monitor(trt, lambda *what: told.append(what), lambda: cancel)
    monitor.phase_start("build", None, 2)
    monitor.phase_start("tactics", "build", 2)
    assert monitor.step_complete("tactics", 0) is not cancel
    monitor.phase_finish("tactics")
    assert told == [(0.25, "tactics")]


def test_every_bad_node_is_told():
    class Parser:
        num_errors = 2

        def get_error(self, index):
            words = [("first", "Foo", "not\n known"), ("", "", "")][index]
            says = [lambda w=w: w for w in words]
            return SimpleNamespace(node_name=says[0], node_operator=says[1], desc=says[2])

    nodes = bad_nodes(Parser())
    assert nodes[0] == BadNode(name="first", operator="Foo", description="not known")
    assert list(map(str, nodes)) == ["Foo 'first' (not known)", "the graph (no reason given)"]
