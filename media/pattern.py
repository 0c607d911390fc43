"""Patterns that choose files, by the rules of RFC 8007 (5.2.4, PatternMatch).

A pattern is held against whole object keys, `titles/{title}/{package}/{path}`, and case counts.
`*` stands for any run of characters, slashes too, or none; `?` for exactly one; `$` takes its
meaning from a `$`, `*` or `?` behind it.
"""

import re
from functools import lru_cache
from itertools import takewhile
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

# An object key has less than 300 characters, and a run between two stars is tried at each of them:
# a pattern costs at most the product of both lengths, some 0.1 ms, whoever wrote it.
MAX_PATTERN_CHARS = 256
MAX_WILDCARDS = 32
_ROOT = "titles/"
_SPECIAL = "$*?"


def compile_pattern(text: str) -> re.Pattern[str]:
    """The pattern, to be asked by `match`. Nothing is tried twice: each run between two stars is
    taken where it first fits, and that is never gone back on (atomic groups), so the time grows
    with the key's length and not with its powers. Raises ValueError for what is no pattern."""
    runs = _runs(text)
    head, *middle = ("".join(re.escape(one) if one else "." for one in run) for run in runs)
    if not middle:
        return re.compile(head + r"\Z", re.DOTALL)
    *middle, tail = middle
    found = head + "".join(f"(?>.*?{run})" for run in middle if run)
    if tail:  # it lies behind all that was taken, and at the very end
        found += f"(?=.{{{len(runs[-1])}}}).*+(?<={tail})\\Z"
    return re.compile(found, re.DOTALL)


# Every worker reads all notices whenever they change, and patterns are mostly those of before.
@lru_cache(1024)
def check_pattern(text: str) -> str:
    """The text itself. Raises ValueError for a pattern that is too long, has too many wildcards,
    ends in the midst of an escape, or can match no key."""
    if len(text) > MAX_PATTERN_CHARS:
        raise ValueError(f"a pattern has at most {MAX_PATTERN_CHARS} characters")
    runs = _runs(text)
    if sum(run.count("") for run in runs) + len(runs) - 1 > MAX_WILDCARDS:
        raise ValueError(f"a pattern has at most {MAX_WILDCARDS} wildcards")
    begins = "".join(takewhile(bool, runs[0]))
    if not (begins.startswith(_ROOT) or (text != begins and _ROOT.startswith(begins))):
        raise ValueError("a pattern matches titles/{title}/{package}/{path}, from its beginning")
    return text


def _runs(text: str) -> list[list[str]]:
    """What stands between the stars: of each run its characters; "" for a `?`."""
    runs: list[list[str]] = [[]]
    characters = iter(text)
    for character in characters:
        if character == "$":
            escaped = next(characters, None)
            if escaped is None or escaped not in _SPECIAL:
                raise ValueError("in a pattern, $ is followed by $, * or ?")
            runs[-1].append(escaped)
        elif character == "*":
            runs.append([])
        else:
            runs[-1].append("" if character == "?" else character)
    return runs


Pattern = Annotated[
    str, StringConstraints(pattern=r"^[\x21-\x7e]+$"), AfterValidator(check_pattern)
]
