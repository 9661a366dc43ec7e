"""Joining another node's training: what is asked for wrongly is said before anything is waited for."""

import pytest
from torch.distributed import TCPStore

from commands.join import main
from stages.train.nodes import JOINED, PARAMS


@pytest.mark.parametrize("place", ["nowhere", "host:", ":29500", "host:abc", "host:0", "host:70000"])
def test_an_address_that_is_none_is_refused(place, capsys):
    with pytest.raises(SystemExit) as end:
        main([place])
    assert end.value.code == 2
    assert f"{place!r} is no HOST:PORT, as in 10.0.0.5:29500" in capsys.readouterr().err


def test_a_time_and_a_host_that_cannot_be_are_refused_at_once(capsys):
    with pytest.raises(SystemExit):
        main(["127.0.0.1:29500", "--timeout", "0"])
    assert "--timeout 0 must be more than 0 seconds" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(["nowhere.invalid:29500"])
    assert "error: There is no host 'nowhere.invalid': " in str(end.value.code)


def test_one_machine_too_many_is_told_at_once(free_port):
    """Instead of waiting for a training that waits for somebody else."""
    store = TCPStore("127.0.0.1", free_port, is_master=True, wait_for_workers=False)
    store.set(PARAMS, "hardware: {num_nodes: 2}")
    store.add(JOINED, 1)
    with pytest.raises(SystemExit) as end:
        main([f"127.0.0.1:{free_port}"])
    assert f"error: All 2 places of the training at 127.0.0.1:{free_port} are taken" in str(end.value.code)


def test_nobody_there_is_said(free_port, capfd):
    with pytest.raises(SystemExit) as end:
        main([f"127.0.0.1:{free_port}", "--timeout", "1"])
    assert f"error: Nobody answered at 127.0.0.1:{free_port} for 1 s" in str(end.value.code)
    printed = capfd.readouterr()
    assert "waiting for the first node" in printed.out
