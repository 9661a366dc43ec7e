"""What a flow leaves to a command of the project it works for: flows import neither stages nor commands."""

import asyncio
import sys
from pathlib import Path

from lightline.redaction import redacted


async def run_own_command(home: Path, *arguments: str) -> tuple[int, list[str]]:
    """Run `python -m lightline …` in a project; gives its exit status and the lines that it printed."""
    command = (sys.executable, "-m", "lightline", *arguments)
    pipe, both = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    process = await asyncio.create_subprocess_exec(*command, cwd=home, stdout=pipe, stderr=both)
    printed, _ = await process.communicate()
    return await process.wait(), [redacted(line) for line in printed.decode(errors="replace").splitlines()]
