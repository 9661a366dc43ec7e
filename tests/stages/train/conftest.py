"""What tests of training share, some of it with those of downloads."""

import pytest

from tests.support.interrupted import Steps
from tests.support.served_files import server  # noqa: F401 (fixture)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)
