"""Every test has an output directory of its own, and none reads the developer's environment."""

import signal

import pytest
import torch


@pytest.fixture(autouse=True)
def own_directories(tmp_path, monkeypatch):
    monkeypatch.setenv("AETRANSFER_OUTPUT_DIR", str(tmp_path / "outputs"))
    monkeypatch.setenv("AETRANSFER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("AETRANSFER_CACHE_DIR", raising=False)


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tensors here are tiny, and threads that wait for each other make every test slower."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def ctrl_c():
    """What a shell starts in the background, and xdist's processes, ignore Ctrl-C, and so would all that a test starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
