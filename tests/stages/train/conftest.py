"""What tests of training share, some of it with those of downloads."""

import pytest

from stages.train import fit
from tests.support.interrupted import Steps
from tests.support.served_files import server  # noqa: F401 (fixture)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes what would be drawn: to draw takes as long as these trainings. Figures have tests of their own."""
    monkeypatch.setattr(fit, "draw_curves", lambda rows, best, path: path.write_text(repr((rows, best))))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)
