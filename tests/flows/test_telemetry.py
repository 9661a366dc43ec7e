"""Who reports home: nobody, unless the user says so."""

import os
import subprocess
import sys
from configparser import ConfigParser

import pytest

from tests.support.tiny import ROOT

_ASK = "import {module}; from prefect.analytics import is_telemetry_enabled; print(is_telemetry_enabled())"


@pytest.mark.parametrize("module", ["flows.pipeline", "flows.worker"])
def test_prefect_reports_nothing_from_our_commands(module, tmp_path):
    # Prefect keeps quiet in a CI, whose variables are therefore left out too.
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "PREFECT_SERVER_ANALYTICS_ENABLED")}
    environment |= {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path)}
    command = [sys.executable, "-c", _ASK.format(module=module)]
    asked = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert asked.stdout.split() == ["False"]


def test_dvc_reports_nothing_and_looks_for_no_update():
    config = ConfigParser()
    config.read_string("\n".join(line.strip() for line in (ROOT / ".dvc/config").read_text().splitlines()))
    assert not config.getboolean("core", "analytics")
    assert not config.getboolean("core", "check_update")
