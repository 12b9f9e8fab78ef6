import dataclasses

import msgspec
import pytest

from jetson.bundle import Bundle
from jetson.engines import NAMES, default_precisions
from tests.toolkit.report.pages import page_of
from tests.toolkit.report.records import INT8, with_int8
from toolkit.report.gather import gather
from toolkit.report.precision_tables import kept_table, quality_table, ranges, sizes_table

KEPT = "branch08-cnn-add"
PLAN = ("int8", "fp16", "int8", "int8", "fp32", "int8")


@pytest.fixture
def read(make_run):
    """A function that reads the run of a recipe with int8 units."""
    return lambda **recipe: gather(make_run(**{"int8": True, "frames": None, "history": False} | recipe))


def columns(table):
    """The texts of each column, by its two lines of header."""
    heads = [(c.text, c.note) for c in table.header]
    return {head: [row[i].text for row in table.rows] for i, head in enumerate(heads)}


def test_every_unit_has_its_size_in_each_precision(read):
    run = read(kept=(KEPT,))
    found, units = columns(sizes_table(run)), run.manifest.units
    assert found["Unit", ""] == [*(u.name for u in units), "together"]
    for precision in ("fp32", "fp16", *INT8):
        sizes = {v.precision: v.size_bytes for u in units if u.name == KEPT for v in u.files}
        assert (precision in sizes) is (precision in ("fp32", "fp16"))
        texts = found[precision, "size"][:-1]
        assert texts == [next((f"{v.size_bytes} B" for v in u.files if v.precision == precision), "n/a") for u in units]
    row = next(r for r in sizes_table(run).rows if r[0].text == KEPT)
    assert [c.note for c in row[1:5]] == ["", "", "kept out", "kept out"]


def test_together_is_what_would_run(read):
    run = read(kept=(KEPT,))
    units = run.manifest.units
    whole = {head: texts[-1] for head, texts in columns(sizes_table(run)).items()}
    for precision in ("fp32", "fp16", *INT8):
        size = sum(u.at(p).size_bytes for u, p in zip(units, run.manifest.nearest(precision), strict=True))
        assert whole[precision, "size"] == (f"{size} B" if size < 1000 else f"{size / 1000:.2f} kB")


def test_a_precision_that_nothing_can_stand_in_for_has_no_sum(read):
    """A unit in fp16 alone cannot make way for int8 with its rest in fp32."""
    run = read()
    first, *others = run.manifest.units
    own = first.at("fp16")
    alone = msgspec.structs.replace(
        first, precision="fp16", file=own.file, sha256=own.sha256, size_bytes=own.size_bytes, variants=()
    )
    measured = msgspec.structs.replace(run.profile.units[first.name], precision="fp16")
    run = dataclasses.replace(
        run,
        bundle=msgspec.structs.replace(run.manifest, units=(alone, *others)),
        profiles=(
            dataclasses.replace(
                run.profiles[0],
                profile=msgspec.structs.replace(run.profile, units=run.profile.units | {first.name: measured}),
            ),
        ),
    )
    whole = {head: texts[-1] for head, texts in columns(sizes_table(run)).items()}
    assert whole["int8", "size"] == "n/a" != whole["int8-fp16", "size"]


def test_plans_and_defaults_are_told_apart(read):
    run = read(kept=(KEPT,), plans={"onnxruntime": PLAN, "another": PLAN})
    found = columns(sizes_table(run))
    assert found["onnxruntime", "plan"][:-1] == found["another", "plan"][:-1] == list(PLAN)
    bundle = Bundle(run.path / "bundle", run.manifest)
    assert found["tensorrt", "default"][:-1] == list(default_precisions(bundle, "tensorrt"))
    assert found["Profile", "measured in"][:-1] == ["fp32"] * len(run.manifest.units)
    assert set(NAMES) <= {name for name, _ in found}


def test_quality_stands_beside_that_in_fp32(read):
    run = read()
    found = columns(quality_table(run))
    splits = [q.split for q in run.manifest.exits[0].quality]
    assert list(found)[1:] == [(p, f"{s} split") for s in splits for p in ("fp32", *INT8)]
    notes = [[c.note for c in row] for row in quality_table(run).rows]
    for row, exit_ in enumerate(run.manifest.exits):
        for place, own in enumerate(exit_.quality):
            assert found["fp32", f"{own.split} split"][row] == f"{100 * own.value:.1f}%"
            assert notes[row][1 + 3 * place] == f"n {own.n:,}"
            for column, precision in enumerate(INT8, start=2):
                other = exit_.variant_quality[precision][place]
                assert found[precision, f"{own.split} split"][row] == f"{100 * other.value:.1f}%"
                assert notes[row][column + 3 * place] == f"−{100 * (own.value - other.value):.1f} points"


def test_a_regression_compares_errors_in_percent(read):
    run = read(task="regression")
    for row, exit_ in zip(quality_table(run).rows, run.manifest.exits, strict=True):
        own, other = exit_.quality[0], exit_.variant_quality["int8-fp16"][0]
        assert row[3].note == f"+{100 * (other.value / own.value - 1):.1f}%"
    assert "percent of that error" in quality_table(run).caption
    assert {f.name: f.value for f in ranges(run)}["Gate"] == "no exit may lose more than 5.0% of its error"


def test_an_exit_that_was_not_judged_reads_not_available(read):
    run = read()
    first, *others = run.manifest.exits
    exits = (msgspec.structs.replace(first, variant_quality={}), *others)
    run = dataclasses.replace(run, bundle=msgspec.structs.replace(run.manifest, exits=exits))
    assert [c.text for c in quality_table(run).rows[0][2:4]] == ["n/a", "n/a"]


def test_how_ranges_were_taken_and_what_was_kept(read):
    run = read(kept=(KEPT,))
    record = run.manifest.quantisation
    facts = {f.name: f for f in ranges(run)}
    assert facts["Ranges by"].value == record.method
    assert facts["Taken from"].value == f"{record.frames} frames of {record.data}"
    assert facts["SHA-256"].full == record.sha256
    assert facts["Gate"].value == "no exit may lose more than 1.0 points of accuracy"
    kept = record.kept[0]
    assert [[c.text for c in row] for row in kept_table(run).rows] == [[KEPT, kept.precision, kept.reason]]
    assert kept_table(read()) is None


def test_the_section_is_there_where_there_is_more_than_one_precision(make_run):
    page = page_of(make_run(int8=True, kept=(KEPT,), frames=None, history=False))
    assert "precisions" in page.ids
    assert "Kept out of int8" in page.plain
    page = page_of(make_run(int8=True, frames=None, history=False))
    assert "The gate kept no unit out of int8." in page.plain
    page = page_of(make_run(frames=None, history=False))
    assert "precisions" not in page.ids


def test_half_precision_alone_has_sizes_and_nothing_of_int8(read, make_run):
    run = read()
    units = tuple(msgspec.structs.replace(u, variants=u.variants[:1]) for u in run.manifest.units)
    exits = tuple(msgspec.structs.replace(e, variant_quality={}) for e in run.manifest.exits)
    half = msgspec.structs.replace(run.manifest, units=units, exits=exits, quantisation=None)
    folder = make_run(frames=None, history=False, int8=True)
    for unit in run.manifest.units:
        for variant in unit.variants[1:]:
            (folder / "bundle" / variant.file).unlink()
    (folder / "bundle" / "manifest.json").write_bytes(msgspec.json.encode(half))
    page = page_of(folder)
    assert "precisions" in page.ids
    assert "How int8 came to be" not in page.plain and "Quality in each precision" not in page.plain
    assert quality_table(gather(folder)) is None and ranges(gather(folder)) == []


def test_where_the_gate_kept_every_unit_the_reasons_are_still_told(make_run):
    folder = make_run(frames=None, history=False)
    manifest = gather(folder).manifest
    record = with_int8(manifest, [u.name for u in manifest.units]).quantisation
    manifest = msgspec.structs.replace(manifest, quantisation=record)
    (folder / "bundle" / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    assert sizes_table(gather(folder)) is None
    page = page_of(folder)
    assert "precisions" in page.ids
    assert page.plain.count(record.kept[0].reason) == len(manifest.units)
