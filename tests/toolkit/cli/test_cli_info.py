"""What `offramp info` says of what calibration found; how it shows the rest is in test_cli_commands.py."""

import msgspec
import pytest

from jetson import Bundle
from jetson.bundle import MANIFEST
from jetson.manifest import Kept, Quantisation
from tests.bundles import edit_manifest, make_quality, tiny_bundle
from tests.toolkit.report.records import with_beliefs
from toolkit.cli import main

INT8 = ("int8", "int8-fp16")
DROPS = (0.004, -0.012)


@pytest.fixture
def info(tmp_path, monkeypatch, capsys):
    """A function that writes a bundle as a change leaves it, and gives what info says of it and its manifest."""
    monkeypatch.chdir(tmp_path)

    def told(change, **bundle):
        made = tiny_bundle(tmp_path / "bundle", **bundle)
        (made.path / MANIFEST).write_bytes(msgspec.json.encode(change(made.manifest)))
        assert main(["info", "bundle"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out, Bundle.open("bundle").manifest

    return told


def judged_in_int8(manifest, kept=()):
    """The manifest as if its exits had been judged in int8 too."""
    exits = tuple(
        msgspec.structs.replace(
            e,
            variant_quality={
                p: (make_quality(manifest.task, e.quality[1].value - drop, "test"),)
                for p, drop in zip(INT8, DROPS, strict=True)
            },
        )
        for e in manifest.exits
    )
    record = Quantisation(method="entropy", frames=77, data="photos/", sha256="ab" * 32, max_drop=0.01, kept=kept)
    return msgspec.structs.replace(manifest, exits=exits, quantisation=record)


def rows(out, title):
    """The cells of the table under a title, its header first."""
    lines = out.splitlines()
    found = []
    for line in lines[lines.index(title) + 1 :]:
        if line[:1] not in "┏┃┡│└":
            break
        if line[0] in "┃│":
            found.append([cell.strip() for cell in line.strip("┃│").replace("┃", "│").split("│")])
    return found


def test_the_calibration_error_is_that_on_test(info):
    out, manifest = info(with_beliefs)
    first, second, *exits = rows(out, "Exits")
    place = first.index("calibration")
    assert second[place] == "error %, test"
    for row, exit_ in zip(exits, manifest.exits, strict=True):
        found = next(r for r in exit_.reliability if r.split == "test")
        assert row[place] == f"{100 * found.before:.1f} -> {100 * found.after:.1f}"


def test_an_exit_that_was_not_judged_on_test_reads_not_available(info):
    def change(manifest):
        first, *others = with_beliefs(manifest).exits
        return msgspec.structs.replace(
            manifest, exits=(msgspec.structs.replace(first, reliability=first.reliability[:1]), *others)
        )

    out, _ = info(change)
    first, _, *exits = rows(out, "Exits")
    place = first.index("calibration")
    assert exits[0][place] == "n/a" and all(" -> " in row[place] for row in exits[1:])


def test_int8_stands_beside_fp32(info):
    out, manifest = info(judged_in_int8)
    header, *exits = rows(out, "Precisions: accuracy %, test")
    assert header == ["exit", "name", "fp32", *INT8]
    for number, (row, exit_) in enumerate(zip(exits, manifest.exits, strict=True), start=1):
        own = exit_.quality[1].value
        others = [exit_.variant_quality[p][0].value for p in INT8]
        told = [f"{100 * v:.1f} ({100 * (v - own):+.1f})" for v in others]
        assert row == [str(number), exit_.name, f"{100 * own:.1f}", *told]
    assert "int8 ranges: entropy, 77 frames of photos/; kept out of int8: no unit" in out
    assert max(map(len, out[out.index("Precisions") :].splitlines())) <= 100


def test_a_regression_is_compared_in_percent(info):
    out, manifest = info(judged_in_int8, task="regression")
    _, *exits = rows(out, "Precisions: mean abs error, test")
    own = manifest.exits[0].quality[1].value
    assert exits[0][2:] == [f"{own:.3f}", *(f"{own - d:.3f} ({-100 * d / own:+.1f} %)" for d in DROPS)]


def test_units_that_were_kept_are_one_line(info):
    kept = tuple(Kept(unit=u, precision=p, reason="lost") for u, p in (("segment-1", "fp16"), ("head", "fp32")))
    out, _ = info(lambda manifest: judged_in_int8(manifest, kept))
    (line,) = [x for x in out.splitlines() if "kept out of int8" in x]
    assert line.endswith("kept out of int8: segment-1 (in fp16), head (in fp32)")


def test_a_bundle_without_such_records_says_nothing_of_them(info):
    out, _ = info(lambda manifest: manifest)
    assert "error %" not in out and "Precisions" not in out and "int8" not in out


def test_an_older_bundle_is_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def older(manifest):
        manifest["version"] = 2
        for key in ("joint", "quantisation", "plans"):
            del manifest[key]
        for exit_ in manifest["exits"]:
            for key in ("posterior", "interval", "reliability", "variant_quality"):
                del exit_[key]

    edit_manifest(tiny_bundle(tmp_path / "bundle").path, older)
    assert main(["info", "bundle"]) == 0
    out = capsys.readouterr().out
    assert "4:vit" in out and "error %" not in out


def test_units_have_a_size_in_each_precision(info):
    out, manifest = info(lambda manifest: manifest)
    first, second, *units = rows(out, "Units")
    assert list(zip(first, second, strict=True))[-1] == ("kB in", "fp32")
    assert [row[-1] for row in units] == [f"{u.size_bytes / 1e3:.0f}" for u in manifest.units]
