"""What stands beside a measured time: the processor, and nothing that tells whose it is."""

import platform
from pathlib import Path

_FAST = ("avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8")


def processor() -> str:
    """The processor's name, with what makes half precision and int8 fast on it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    told = {key.strip(): value.strip() for key, value in told.items()}
    flags = [flag for flag in _FAST if flag in told.get("flags", "").split()]
    return f"{told.get('model name', platform.machine())} ({', '.join(flags) or 'no bf16 or int8 instructions'})"
