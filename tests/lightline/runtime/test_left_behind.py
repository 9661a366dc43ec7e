"""What a run says of values that it leaves behind; when it says so is in tests/commands/test_keep.py."""

from lightline.runtime.left_behind import sentence


def test_values_that_say_nothing_are_only_counted():
    left = [("model.stem", None, "auto"), ("data.path", "photos", None), ("trainer.compile", False, True)]
    assert "conf/: data.path = 'photos' (now none) and 2 more. `make keep EXP=HEAD`" in sentence(left, "here", "HEAD")


def test_where_none_says_anything_the_first_are_shown():
    left = [(f"section.key_{number}", None, number) for number in range(5)]
    told = sentence(left, "here", "HEAD")
    assert "section.key_3 = none (now 3) and 1 more." in told
