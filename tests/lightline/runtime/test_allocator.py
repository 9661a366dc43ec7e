"""Freed memory that stays with the process."""

import subprocess
import sys

import pytest

CODE = """
import resource
from lightline.runtime.allocator import keep_freed_memory

CALL
for _ in range(20):
    b"x" * 2**25
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(call: str) -> int:
    """Pages that the system had to provide while blocks of 32 MiB were filled and freed."""
    code = CODE.replace("CALL", call)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the C library has no such option")
def test_blocks_are_used_again():
    assert faults("keep_freed_memory()") < faults("") / 4
