"""The table of error codes, and what is read of others' errors."""

import json

import pytest

from runtime.errors import Problem, as_json, problem_of


def test_a_problem_survives_its_json() -> None:
    said = Problem("not_a_video", "The file has no video track.")
    read = problem_of(json.dumps(as_json(said)).encode())
    assert read is not None and (read.code, read.detail) == (said.code, said.detail)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"\xff", b"Traceback"])
def test_what_is_none_of_ours_is_no_problem(raw: bytes) -> None:
    assert problem_of(raw) is None
    unknown = json.dumps(as_json(Problem("internal")) | {"code": "of_a_later_version"})
    assert problem_of(unknown.encode()) is None
