"""Say where a file comes from: commit, parameters, data, split, runs; of an image, which models saw it.

python -m lightline trace models/model.onnx
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightline.errors import DataError, LightlineError
from lightline.redaction import redacted


def main(arguments: Sequence[str]) -> int:
    """Print what is known; 1 where the file is of no known run, or --verify finds what does not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m lightline trace",
        description="Say where a file comes from: any output of a run, wherever it lies now, or an image of the data.",
    )
    parser.add_argument("file", type=Path, help="a model, checkpoint, page, table, …, or an image")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--verify", action="store_true", help="compute every digest on the way anew")
    options = parser.parse_args(arguments)
    try:
        found, checks = _trace(options.file, options.verify)
    except LightlineError as error:
        sys.exit(f"error: {redacted(str(error))}")
    _print(found, checks, options.json)
    return int(any(check.holds is False for check in checks))


def _trace(file: Path, verifying: bool) -> tuple[dict[str, Any], list[Any]]:
    from commands.tracing.inside import look_inside
    from commands.tracing.lineage import find, lineage
    from commands.tracing.objects import Objects
    from commands.tracing.pictures import is_picture, trace_picture
    from commands.tracing.records import read_records
    from commands.tracing.verification import verify

    inside, records, objects = look_inside(file), read_records(), Objects()
    if not records:
        raise DataError(f"{Path.cwd()} has no dvc.lock, in the workspace or in git; run this in the project's folder.")
    try:
        if is_picture(file) and not any(record.has(inside.md5) for record in records):
            found, those = trace_picture(file, records, objects)
            path = None
        else:
            those, path = find(inside, records, objects)
            found = lineage(inside, those, path, objects)
        checks = verify(inside, those[0], path, objects) if verifying else []
    finally:
        objects.digests.save()
    return found, checks


def _print(found: dict[str, Any], checks: list[Any], as_json: bool) -> None:
    from commands.tracing.text import told, told_checks
    from lightline.files import json_text

    if as_json:
        verified = [check._asdict() for check in checks]
        print(json_text({**found, **({"verified": verified} if checks else {})}), end="")
        return
    print(told(found))
    if checks:
        print(told_checks(checks))
