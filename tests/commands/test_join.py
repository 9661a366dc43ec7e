"""Joining another node's training: what is asked for wrongly is said before anything is waited for."""

import pytest

from commands.join import main


@pytest.mark.parametrize("place", ["nowhere", "host:", ":29500", "host:abc", "host:0", "host:70000"])
def test_an_address_that_is_none_is_refused(place, capsys):
    with pytest.raises(SystemExit) as end:
        main([place])
    assert end.value.code == 2
    assert f"{place!r} is no HOST:PORT, as in 10.0.0.5:29500" in capsys.readouterr().err


def test_nobody_there_is_said(free_port, capsys):
    with pytest.raises(SystemExit) as end:
        main([f"127.0.0.1:{free_port}", "--timeout", "1"])
    assert f"error: Nobody answered at 127.0.0.1:{free_port} for 1 s" in str(end.value.code)
    assert "waiting for the first node" in capsys.readouterr().out
