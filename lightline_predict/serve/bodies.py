"""The images in a request's body: bytes, multipart/form-data, or base64 in JSON."""

import base64
import binascii
import json
from email.message import Message
from email.parser import HeaderParser
from typing import Any, NamedTuple

from lightline_predict.batching.items import printable
from lightline_predict.serve.limits import Refused

# What curl says of --data-binary where it is told nothing else is the last one.
_PLAIN = ("", "application/octet-stream", "application/x-www-form-urlencoded")
_FORMS = (
    "send an image as it is (Content-Type: image/…), as multipart/form-data, "
    'or as JSON {"image": "base64"} or {"images": ["base64", …]}'
)


class Pictures(NamedTuple):
    """Encoded images of a body, and whether a list of answers is asked for; an image's name is for messages."""

    encoded: list[bytes]
    names: list[str]
    many: bool


def pictures_in(content_type: str, body: bytes, most: int) -> Pictures:
    """Find the images in a body.

    Raises:
        Refused: 400, 413 or 415: there is none, or more than `most`, or it has another form.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        found = _in_parts(content_type, body)
    elif kind == "application/json":
        found = _in_json(body)
    elif kind.startswith("image/") or kind in _PLAIN:
        found = Pictures([body], ["the image"], False)
    else:
        raise Refused(415, f"A body of {kind[:100]} is not understood: {_FORMS}.")
    if not found.encoded or not any(found.encoded):
        raise Refused(400, f"There is no image in the body: {_FORMS}.")
    if len(found.encoded) > most:
        raise Refused(413, f"{len(found.encoded)} images are more than {most} (--max-images); send several requests.")
    return found


def read_json(body: bytes) -> Any:
    """Read JSON.

    Raises:
        Refused: 400, it is none, or nested too deep.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body is no JSON: {error}.") from None


def _in_json(body: bytes) -> Pictures:
    said = read_json(body)
    if not isinstance(said, dict) or (("image" in said) == ("images" in said)):
        raise Refused(400, f"The JSON has no image: {_FORMS}.")
    many = "images" in said
    texts = said["images"] if many else [said["image"]]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Refused(400, f"The images in the JSON are no base64: {_FORMS}.")
    try:
        encoded = [base64.b64decode(text, validate=True) for text in texts]
    except (binascii.Error, ValueError) as error:
        raise Refused(400, f"The images in the JSON are no base64: {error}.") from None
    return Pictures(encoded, [f"image {number}" for number in range(1, len(encoded) + 1)], many)


def _in_parts(content_type: str, body: bytes) -> Pictures:
    """Cut multipart/form-data (RFC 7578) into its files; plain fields beside them are passed over."""
    header = Message()
    header["content-type"] = content_type
    try:
        boundary = header.get_param("boundary")
    except (ValueError, LookupError):  # in an encoding that is none
        boundary = None
    if not isinstance(boundary, str) or not boundary:
        raise Refused(400, "The multipart body's Content-Type names no boundary.")
    # The first boundary has no line end before it, all others have; what follows the last one begins with "--".
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))
    if len(parts) < 3 or not parts[-1].startswith(b"--"):
        raise Refused(400, "The multipart body is cut short, or not cut by the boundary in its Content-Type.")
    encoded, names = [], []
    for part in parts[1:-1]:
        head, between, content = part.partition(b"\r\n\r\n")
        if not between:
            raise Refused(400, "A part of the multipart body has no end of its headers.")
        said = HeaderParser().parsestr(head.lstrip(b" \t\r\n").decode("utf-8", "replace"))
        try:
            file, name = said.get_filename(), said.get_param("name", header="content-disposition")
        except (ValueError, LookupError):  # an encoding that is none
            raise Refused(400, "A part's name in the multipart body cannot be read.") from None
        if file is None and said.get_content_maintype() != "image":
            continue
        encoded.append(content)
        names.append(f"image {len(encoded)} ({printable(str(file or name)[:100])})")
    return Pictures(encoded, names, len(encoded) > 1)
