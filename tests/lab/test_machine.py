"""What processes use is counted as it is."""

import os
import subprocess
import sys
import time

from lab.machine import cpu_s, describe, family, resident_bytes, split, warm_memory


def test_cpu_time_counts_work_and_not_waiting() -> None:
    before, began = cpu_s([os.getpid()]), time.process_time()
    while time.process_time() < began + 0.2:
        pass
    worked = cpu_s([os.getpid()])
    time.sleep(0.2)
    waited = cpu_s([os.getpid()])
    assert 0.19 < worked - before < 0.4
    assert waited - worked < 0.1


def test_a_family_has_grandchildren_and_the_dead_use_nothing() -> None:
    nested = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    child = subprocess.Popen([sys.executable, "-c", nested], stdin=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 10
        while len(family(child.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(family(child.pid)) == 2
        assert cpu_s(family(child.pid)) > 0
        assert resident_bytes(child.pid) > 1_000_000
    finally:
        child.communicate(b"\n")
    assert cpu_s([child.pid]) == 0


def test_the_load_has_a_core_of_its_own_and_we_run_there() -> None:
    before = os.sched_getaffinity(0)
    with split() as (server, load):
        assert os.sched_getaffinity(0) == {load}
        assert len(before) == 1 or server != load
    assert os.sched_getaffinity(0) == before


def test_the_machine_is_named_without_host_or_path() -> None:
    said = str(describe())
    assert os.uname().nodename not in said and "/" not in said
    assert describe()["cores"] == len(os.sched_getaffinity(0))


def test_warming_leaves_no_memory_behind() -> None:
    before = resident_bytes(os.getpid())
    warm_memory(64 * 1024**2)
    assert resident_bytes(os.getpid()) - before < 32 * 1024**2
