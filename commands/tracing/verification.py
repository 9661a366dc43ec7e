"""Every digest on the way from the data to a file, computed anew."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from commands.tracing.inside import Inside
from commands.tracing.lineage import FINGERPRINT
from commands.tracing.objects import Objects
from commands.tracing.records import Output, Record, code_at
from lightline.files import content_digest
from lightline_predict.provenance import envelope_beside


class Check(NamedTuple):
    """What was held to what; holds: None where something needed for it is not here."""

    what: str
    holds: bool | None


def verify(inside: Inside, record: Record, path: str | None, objects: Objects) -> list[Check]:
    """Hold a file to dvc.lock, that to what lies here, the fingerprint to its ingredients, these to their sources."""
    return [
        *([Check(f"the file is what dvc.lock has as {path}", True)] if path else []),
        *(_output(output, objects) for output in record.outputs.values()),
        *_of_fingerprint(inside, record, objects),
        *_of_statements(record, objects),
        *_beside(inside),
    ]


def _output(output: Output, objects: Objects) -> Check:
    """Hold what lies here of an output, in the cache and in the workspace, to its digest."""
    names = objects.listing(output) if output.is_folder else {}
    if names is None:
        return Check(f"{output.path} is what dvc.lock says", None)
    cached = [md5 for md5 in (output.md5, *names.values()) if objects.in_cache(md5).is_file()]
    is_right = all(objects.digests.of_file(objects.in_cache(md5)) == md5.removesuffix(".dir") for md5 in cached)
    is_whole = len(cached) == 1 + len(names) or _is_here(output, objects)
    return Check(f"{output.path} is what dvc.lock says", False if not is_right else True if is_whole else None)


def _is_here(output: Output, objects: Objects) -> bool:
    path = Path(output.path)
    return path.exists() and objects.digests.of(path) == output.md5


def _of_fingerprint(inside: Inside, record: Record, objects: Objects) -> Iterator[Check]:
    known = objects.json(record, FINGERPRINT)
    if not isinstance(known, dict):
        yield Check("the fingerprint is that of its ingredients", None)
        return
    ingredients = {name: value for name, value in known.items() if name != "fingerprint"}
    yield Check("the fingerprint is that of its ingredients", content_digest(ingredients) == known["fingerprint"])
    for name in ("fingerprint", "dataset", "params"):
        if inside.says.get(name) is not None:
            yield Check(f"the file has the run's {name}", inside.says[name] == known.get(name))
    yield Check("the data are those of the fingerprint", _dataset_is(record, objects, known["dataset"]))
    yield Check("the split is that of the fingerprint", _splits_are(record, objects, known["splits"]))
    yield Check("the parameters are those of the fingerprint", _params_are(record, known["params"]))
    names = list(known["code"])
    wrong = [name for name, content in zip(names, code_at(record.commit, names), strict=True)
             if content is None or hashlib.sha256(content).hexdigest() != known["code"][name]]  # fmt: skip
    where = f"commit {record.commit[:12]}" if record.commit else "the workspace"
    told = f", but for {', '.join(wrong)}" if wrong else ""
    yield Check(f"the code of {where} is that of the fingerprint{told}", not wrong)


def _dataset_is(record: Record, objects: Objects, digest: str) -> bool | None:
    """Compute the digest of the data anew from their index."""
    import pyarrow.parquet as pq

    from lightline.data.dataset import _identity

    files = objects.folder(record.outputs["data/dataset"]) if "data/dataset" in record.outputs else {}
    if not {"index.parquet", "dataset.json"} <= files.keys():
        return None
    classes = json.loads(files["dataset.json"].read_bytes())["classes"]
    return _identity(pq.read_table(files["index.parquet"]), classes) == digest


def _splits_are(record: Record, objects: Objects, digest: str) -> bool | None:
    from lightline.data.splits import read_splits

    output = record.outputs.get("data/splits.parquet")
    file = objects.file(output) if output else None
    return read_splits(file).digest == digest if file else None


def _params_are(record: Record, wanted: dict[str, Any]) -> bool | None:
    import yaml

    text = record.text("params.yaml")
    if text is None:
        return None
    values = yaml.safe_load(text)
    return all(agrees(values.get(name), section) for name, section in wanted.items())


def agrees(written: Any, used: Any, key: str = "") -> bool:
    """Tell whether parameters as params.yaml has them came to those that training used.

    What is null is chosen by training: sizes, and the digest of a weights file, of which it notes the name alone.
    """
    if isinstance(written, dict) and isinstance(used, dict):
        return written.keys() == used.keys() and all(agrees(written[name], used[name], name) for name in used)
    if key == "weights" and isinstance(written, str):
        return PurePosixPath(urlsplit(written).path).name == used
    return written is None or content_digest(written) == content_digest(used)


def _of_statements(record: Record, objects: Objects) -> Iterator[Check]:
    """Hold the statements of model files to the files, and to the checkpoint that these were made from."""
    for path in record.outputs:
        if not path.endswith(".intoto.json"):
            continue
        said = objects.json(record, path)
        if said is None:
            yield Check(f"{path} holds", None)
            continue
        made_of = said["predicate"]["buildDefinition"]["resolvedDependencies"]
        pairs = [(str(Path(path).with_name(entry["name"])), entry) for entry in said["subject"]]
        pairs += [(entry["name"], entry) for entry in made_of if entry.get("name") in record.outputs]
        for name, entry in pairs:
            if "sha256" in entry["digest"]:
                output = record.outputs.get(name)
                file = objects.file(output) if output else None
                found = hashlib.sha256(file.read_bytes()).hexdigest() == entry["digest"]["sha256"] if file else None
                yield Check(f"{path} holds for {name}", found)


def _beside(inside: Inside) -> Iterator[Check]:
    """Say whether what lies signed beside a model is about it; whose signature it is takes a key to tell."""
    envelope = envelope_beside(inside.path)
    if inside.kind != "model file" or not envelope.is_file():
        return
    import base64

    try:
        said = json.loads(base64.b64decode(json.loads(envelope.read_bytes())["payload"]))
        about = {entry["digest"]["sha256"] for entry in said["subject"]}
    except (ValueError, KeyError, TypeError):
        about = set()
    yield Check(f"{envelope} is about this file (whose it is: `lightline-predict verify`)", inside.sha256 in about)
