"""A key in params.yaml is refused, and repeated nowhere."""

import pytest

from tests.support.params import (
    FOLDER,
    MNIST,
    changed,
    complaint,
)

SECRET = "0a1b2c3d4e5f60718293"


HOLDS_A_KEY = [
    ({"data": FOLDER | {"path": f"https://me:{SECRET}@host/a.zip", "sha256": "0" * 64}}, "data.path holds a user name"),
    (
        {"data": FOLDER | {"path": f"https://host/a?token={SECRET}", "sha256": "0" * 64}},
        "data.path holds the part 'token'",
    ),
    (
        {"data": MNIST | {"mirror": f"https://{SECRET}@host/"}},
        "data.mirror holds a user name or password in a URL, and",
    ),
    ({"tracking__entity": f"of-{SECRET[:10]}"}, "tracking.entity holds the value of the environment variable A_TOKEN"),
    (
        {"export__limits": f"see https://host/?sig={SECRET}"},
        "export.limits holds the part 'sig' of a URL's query, and ",
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), HOLDS_A_KEY, ids=[sentence for _, sentence in HOLDS_A_KEY])
def test_a_parameter_that_holds_a_key_is_refused_without_repeating_it(changes, sentence, monkeypatch):
    monkeypatch.setenv("A_TOKEN", f"of-{SECRET[:10]}")
    message = complaint(changed(**changes))
    assert f"\n  {sentence}" in message
    assert "would be written to params.yaml, dvc.lock, the model and W&B" in message
    assert SECRET[:10] not in message


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tracking__api_key": SECRET}, "tracking.api_key = … is not a parameter; allowed: mode, "),
        ({"data": MNIST | {"mirror": f"ftp://me:{SECRET}@host"}}, "data.mirror = 'ftp://host' is not allowed"),
        ({"model__name": f"https://me:{SECRET}@host"}, "model.name = 'https://host' is no known model"),
    ],
)
def test_no_other_complaint_repeats_a_key(changes, sentence):
    message = complaint(changed(**changes))
    assert sentence in message
    assert SECRET not in message
