"""Locks on a data folder."""

from pathlib import Path

import pytest

from runtime.errors import Problem
from runtime.folder_lock import CLUSTER, CONTROL, take_lock


def test_one_holds_it_alone_and_several_share_it(tmp_path: Path) -> None:
    with take_lock(tmp_path, CLUSTER), take_lock(tmp_path, CONTROL, shared=True):
        with take_lock(tmp_path, CONTROL, shared=True):
            pass
        for name in (CLUSTER, CONTROL):
            with pytest.raises(Problem) as caught:
                take_lock(tmp_path, name)
            assert caught.value.code == "data_in_use"
    for name in (CLUSTER, CONTROL):
        take_lock(tmp_path, name).close()
