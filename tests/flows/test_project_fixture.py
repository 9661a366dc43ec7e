"""The fixtures of conftest.py give what they promise."""


def test_project_is_committed_and_apart(project):
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert project.run("dvc", "cache", "dir").stdout.strip().startswith(str(project.path))


def test_finished_project_has_all_outputs(finished_project):
    status = finished_project.run("dvc", "data", "status", "--granular").stdout
    assert "No changes." in status
