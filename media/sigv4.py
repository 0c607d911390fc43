"""Who asks an S3 store for an object: AWS Signature Version 4 for a GET. Pure.

botocore signs anything, and takes as long for it as an appliance for ten hits. The key of a day is
derived once; what is left are two digests. (AWS, "Create a signed AWS API request".)
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
    moment = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    day = moment[:8]
    fields = {"X-Amz-Content-SHA256": _NO_BODY, "X-Amz-Date": moment}
    if credentials.token:
        fields["X-Amz-Security-Token"] = credentials.token
    names = ";".join(["host", *(name.lower() for name in fields)])  # in order as they stand
    lines = "".join(f"{name.lower()}:{value}\n" for name, value in fields.items())
    canonical = f"GET\n{path}\n\nhost:{host}\n{lines}\n{names}\n{_NO_BODY}"
    scope = f"{day}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
    signature = hmac.digest(_key(credentials.secret_key, day, region), to_sign.encode(), "sha256")
    fields["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature.hex()}"
    )
    return fields


@functools.lru_cache(maxsize=16)
def _key(secret_key: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
