"""What an appliance tells of sessions in their traces: a sample of its answers. (Of fills, `fill`.)

An answer's span is made from its record in the access log, which leaves the worker in batches
anyway: a request pays nothing for it.
"""

import json
from collections.abc import Iterable, Sequence

from appliance.access_log import Record
from runtime import tracing

# Of one worker; enough to see how a session plays, and some 10 KB a second for the keeper.
MOST_PER_S = 32
_SENT = ('"cache":"hit"', '"cache":"fill"')  # files of a package: their paths are short
_PLAY = '"scope":"play"'


class Sample:
    """Takes the first answers of each second, at most MOST_PER_S. Pure."""

    def __init__(self) -> None:
        self._second = -1
        self._left = 0

    def take(self, records: Iterable[Record]) -> list[Record]:
        """Of these, those that are told."""
        taken = []
        for record in records:
            began_s, _, said, who = record
            if int(began_s) != self._second:
                self._second, self._left = int(began_s), MOST_PER_S
            if self._left and who.endswith(_PLAY) and any(part in said for part in _SENT):
                self._left -= 1
                taken.append(record)
        return taken


def tell_answers(records: Iterable[Sequence[object]]) -> None:
    """Each has a span in its session's trace. Raises ValueError for what is no record."""
    for began_s, took_us, said, who in records:
        fields = json.loads(f"{{{said},{who}}}")
        tracing.tell(
            "segment",
            str(fields["session_id"]),
            float(str(began_s)),
            int(str(took_us)),
            {
                "http.request.method": fields["method"],
                "http.response.status_code": fields["status"],
                "nearcast.path": fields["path"],
                "nearcast.bytes": fields["bytes"],
                "nearcast.cache": fields["cache"],
                "nearcast.session_id": fields["session_id"],
            },
        )
