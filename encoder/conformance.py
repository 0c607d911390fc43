"""Conformance: what a package claims, held against what its bytes are, rule by rule.

`gather` reads, the rules look, and each gives one line of the answer. A rule whose evidence is
not there is skipped, which is no failure.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from encoder.dash_rules import DASH_RULES
from encoder.evidence import Evidence
from encoder.gather import gather
from encoder.hls_rules import HLS_RULES
from encoder.media_rules import MEDIA_RULES
from encoder.rule import LACKING, Rule
from encoder.text_rules import TEXT_RULES
from media.protection import ContentKey

RULES: tuple[Rule, ...] = (*MEDIA_RULES, *HLS_RULES, *TEXT_RULES, *DASH_RULES)

# Of a thousand wrong segments the first few tell the story.
MAX_SHOWN = 4
MAX_SEEN_CHARS = 600


class RuleResult(BaseModel):
    """What became of one rule; `ok` None: it was skipped, and `seen` says why."""

    id: str
    clause: str
    sentence: str
    severity: Literal["must", "should"]
    ok: bool | None
    seen: str


class Conformance(BaseModel):
    """All rules; `ok` when no `must` failed."""

    source: str
    ok: bool
    rules: tuple[RuleResult, ...]

    @property
    def failed(self) -> list[RuleResult]:
        """The `must` rules that failed."""
        return [rule for rule in self.rules if rule.ok is False and rule.severity == "must"]


async def check_package(
    source: str | Path, *, decode: bool = True, keys: Sequence[ContentKey] = ()
) -> Conformance:
    """Checks the package in a folder or at an address: of a package, of a multivariant playlist
    or of an MPD. Decoding takes most of the time, and can be left out. Raises Problem when there
    is nothing to check."""
    return judge(await gather(str(source), decode=decode, keys=keys))


def judge(evidence: Evidence) -> Conformance:
    """What the rules say of this evidence; pure."""
    results = Conformance(
        source=evidence.source, ok=True, rules=tuple(_result(rule, evidence) for rule in RULES)
    )
    return results.model_copy(update={"ok": not results.failed})


def _result(rule: Rule, evidence: Evidence) -> RuleResult:
    ok, seen = None, _skipped(rule, evidence)
    if not seen:
        wrong, otherwise = rule.look(evidence)
        ok, seen = not wrong, _shown(wrong) if wrong else otherwise
    return RuleResult(
        id=rule.id,
        clause=rule.clause,
        sentence=rule.sentence,
        severity=rule.severity,
        ok=ok,
        seen=_plain(seen),
    )


def _skipped(rule: Rule, evidence: Evidence) -> str:
    """Why the rule cannot be looked at; empty when it can."""
    for need in rule.needs:
        is_there, otherwise = LACKING[need]
        if not is_there(evidence):
            return f"skipped: {otherwise}"
    return ""


def _shown(wrong: list[str]) -> str:
    more = f"; and {len(wrong) - MAX_SHOWN} more" if len(wrong) > MAX_SHOWN else ""
    return "; ".join(wrong[:MAX_SHOWN]) + more


def _plain(text: str) -> str:
    """Names come from manifests of anyone: no control characters reach a terminal, nor a novel."""
    text = " ".join(text.split())
    short = text if len(text) <= MAX_SEEN_CHARS else f"{text[:MAX_SEEN_CHARS]}…"
    return "".join(character if character.isprintable() else "?" for character in short)
