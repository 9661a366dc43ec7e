"""What is told of the machine beside a measured time."""

import platform
from pathlib import Path

import pytest

from lightline.model_file.machine import processor

CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPUINFO.exists(), reason="only Linux lists its processors there")
def test_it_is_the_processor_and_what_makes_int8_fast():
    name, _, flags = processor().partition(" (")
    content = CPUINFO.read_text()
    assert f": {name}\n" in content or name == platform.machine()
    assert ("avx512_vnni" in content.split()) == ("avx512_vnni" in flags)


def test_it_does_not_tell_whose_machine_it_is():
    assert processor()
    assert platform.node() not in processor().split()
