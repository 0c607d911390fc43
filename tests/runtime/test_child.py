"""Programs that we run: limits hold, failures can be pasted, nothing is left behind."""

import asyncio
import os
import select
import sys
from pathlib import Path

import pytest

from runtime.child import ChildFailed, ChildTimeout, Limits, run_child

PYTHON = sys.executable


async def test_output_and_lines() -> None:
    assert await run_child([PYTHON, "-c", "print('a b')"]) == b"a b\n"
    lines: list[str] = []
    assert await run_child([PYTHON, "-c", "print(1); print(2)"], on_line=lines.append) == b""
    assert lines == ["1", "2"]


async def test_a_failure_carries_its_command_and_last_words() -> None:
    with pytest.raises(ChildFailed, match="it is broken") as failed:
        await run_child([PYTHON, "-c", "import sys; print('x'); sys.exit('it is broken')"])
    assert failed.value.code == 1
    assert failed.value.command.startswith(PYTHON) and "'import sys;" in failed.value.command


async def test_time_and_file_size_are_limited(tmp_path: Path) -> None:
    with pytest.raises(ChildTimeout):
        await run_child([PYTHON, "-c", "import time; time.sleep(60)"], limits=Limits(0.5))
    with pytest.raises(ChildFailed):
        await run_child(
            [PYTHON, "-c", "open('big', 'wb').write(bytes(10**6))"],
            cwd=tmp_path,
            limits=Limits(file_bytes=1000),
        )
    assert (tmp_path / "big").stat().st_size <= 1000


async def test_an_endless_line_is_a_failure() -> None:
    with pytest.raises(ChildFailed, match="printed a line of more than"):
        await run_child([PYTHON, "-c", "print('x' * 3_000_000)"], on_line=lambda _: None)


async def test_a_limit_of_our_own_is_never_raised() -> None:
    """Nor tried to be: without privileges the program would not start."""
    script = (
        "import asyncio, resource\n"
        "from runtime.child import run_child\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))\n"
        "print(asyncio.run(run_child(['sh', '-c', 'ulimit -H -f'])).decode())\n"
    )
    blocks = await run_child([PYTHON, "-c", script], cwd=Path(__file__).parents[2])
    assert int(blocks) in (2**30 // 512, 2**30 // 1024)  # as the shell counts them


async def test_cancelling_ends_the_whole_group(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    script = (
        "import os, subprocess, sys, time;"
        f"p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"open({str(note)!r}, 'w').write(f'{{os.getpid()}} {{p.pid}}'); print('up', flush=True);"
        "time.sleep(60)"
    )
    up = asyncio.Event()
    task = asyncio.create_task(run_child([PYTHON, "-c", script], on_line=lambda _: up.set()))
    await up.wait()
    leader, grandchild = (int(pid) for pid in note.read_text().split())
    death = os.pidfd_open(grandchild)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(leader, 0)
    seen = select.poll()
    seen.register(death, select.POLLIN)  # readable once the process has ended
    assert seen.poll(5000), "the grandchild lives"
    os.close(death)
