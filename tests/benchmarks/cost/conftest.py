"""One tiny model that several benchmarks start processes with."""

import pytest


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A folder whose subfolder `2` holds a model of two exits, cut, whole, and as PyTorch pickles it."""
    pytest.importorskip("torch")
    from benchmarks.cost.one_model import prepare
    from benchmarks.cost.record import in_process

    work = tmp_path_factory.mktemp("prepared")
    in_process(prepare, work / "2", "tiny", 32, 16, 2, 1)
    return work
