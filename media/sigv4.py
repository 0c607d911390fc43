"""Who asks an S3 store for an object: AWS Signature Version 4 for a GET. Pure.

botocore signs anything, and takes as long for it as an appliance for ten hits. The key is derived
once a second; what is left are two digests. (AWS, "Create a signed AWS API request".)
"""

import functools
import hashlib
import hmac
from datetime import UTC, datetime
from typing import NamedTuple

_NO_BODY = hashlib.sha256(b"").hexdigest()


class Credentials(NamedTuple):
    """Access key, secret key, and the session token of temporary ones."""

    access_key: str
    secret_key: str
    token: str | None


def signed(
    host: str, path: str, region: str, credentials: Credentials, now_s: float
) -> dict[str, str]:
    """The fields that sign a GET of the percent-encoded `path`, without a query, at a Unix time.
    Other fields, such as a range, are left unsigned."""
    moment, scope, key = _second(int(now_s), region, credentials.secret_key)
    fields = {"X-Amz-Content-SHA256": _NO_BODY, "X-Amz-Date": moment}
    names = "host;x-amz-content-sha256;x-amz-date"
    lines = f"host:{host}\nx-amz-content-sha256:{_NO_BODY}\nx-amz-date:{moment}\n"
    if credentials.token:
        fields["X-Amz-Security-Token"] = credentials.token
        names += ";x-amz-security-token"
        lines += f"x-amz-security-token:{credentials.token}\n"
    canonical = f"GET\n{path}\n\n{lines}\n{names}\n{_NO_BODY}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    fields["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return fields


@functools.lru_cache(maxsize=16)
def _second(now_s: int, region: str, secret_key: str) -> tuple[str, str, bytes]:
    """What all signatures of a second share: its name, the scope, and the day's key."""
    moment = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = (moment[:8], region, "s3", "aws4_request")
    key = f"AWS4{secret_key}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    return moment, "/".join(scope), key
