"""Counts in Prometheus's text format."""

import math
import re

import numpy as np

from jetson.answer import Answer, UnitRun
from jetson.metrics import BOUNDS, Metrics


def answer(exit_name="6:head", elapsed_ms=3.0, met=True, error=None, slowdown=1.25):
    return Answer(
        exit=1,
        exit_name=exit_name,
        output=np.zeros(3, np.float32),
        class_index=0,
        label=None,
        value=None,
        confidence=0.5,
        elapsed_ms=elapsed_ms,
        answered_ms=elapsed_ms,
        budget_ms=None if met is None else 5.0,
        met_deadline=met,
        preprocess_ms=0.1,
        trace=(UnitRun("segment-1", 0.0, 2.0, 2.5), UnitRun("head", 2.5, 0.25, 0.5)),
        slowdown=slowdown,
        error=error,
    )


def values(text):
    return {m[1]: float(m[2]) for m in re.finditer(r"^([^#\s]\S*) (\S+)$", text, re.MULTILINE)}


def test_every_exit_is_there_before_any_answer():
    found = values(Metrics(["2:mlp", "6:head"]).text())
    assert found['offramp_answers_total{exit="2:mlp"}'] == 0.0 == found["offramp_failures_total"]
    assert found["offramp_latency_seconds_count"] == 0.0 and found["offramp_slowdown"] == 1.0


def test_answers_are_counted_by_exit_deadline_and_latency():
    metrics = Metrics(["2:mlp", "6:head"])
    for one in (
        answer(),
        answer(elapsed_ms=0.05),
        answer("2:mlp", 7000.0, met=False, error="unit failed"),
        answer(met=None),
    ):
        metrics.count(one)
    metrics.fail()
    assert values(metrics.text())["offramp_dropped_total"] == 0
    metrics.count(answer(met=None), dropped=3)
    found = values(metrics.text())
    assert found["offramp_dropped_total"] == 3
    assert found['offramp_answers_total{exit="6:head"}'] == 4 and found['offramp_answers_total{exit="2:mlp"}'] == 1
    assert found['offramp_deadlines_total{met="true"}'] == 2 and found['offramp_deadlines_total{met="false"}'] == 1
    assert found["offramp_failures_total"] == 2
    buckets = [found[f'offramp_latency_seconds_bucket{{le="{b:g}"}}'] for b in BOUNDS]
    assert buckets == sorted(buckets) and buckets[0] == 1 and buckets[-1] == 4
    assert found['offramp_latency_seconds_bucket{le="+Inf"}'] == found["offramp_latency_seconds_count"] == 5
    assert math.isclose(found["offramp_latency_seconds_sum"], 7.00605 + answer().elapsed_ms / 1e3)
    assert math.isclose(found["offramp_compute_seconds_total"], 5 * 2.25e-3) and found["offramp_slowdown"] == 1.25


def test_the_text_is_of_the_format():
    text = Metrics(['a"b\\c\nd']).text()
    assert text.endswith("\n") and 'exit="a\\"b\\\\c\\nd"' in text
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert kinds["offramp_latency_seconds"] == "histogram" and kinds["offramp_answers_total"] == "counter"
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) \S+ .+|\S+(\{.*\})? \S+", line), line
        if not line.startswith("#"):
            name = re.match(r"[a-z_]+", line)[0]
            assert any(
                name == kind or name.removesuffix(end) == kind
                for kind in kinds
                for end in ("_bucket", "_sum", "_count")
            )
