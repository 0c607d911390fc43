"""Signatures of ours are those of botocore."""

import re
from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from media.sigv4 import Credentials, signed

KEYS = st.text("abcXYZ0189 ._()+@=-", min_size=1, max_size=40)
SECRETS = st.text("abcdefABCDEF0123456789/+=", min_size=1, max_size=60)


@given(
    st.lists(KEYS, min_size=1, max_size=4),
    st.sampled_from(["s3.example.org", "127.0.0.1:9000", "[::1]:8080"]),
    st.sampled_from(["us-east-1", "garage"]),
    SECRETS,
    SECRETS,
    st.none() | SECRETS,
    st.integers(1_000_000_000, 4_000_000_000),
)
def test_a_signature_is_botocore_s(
    key: list[str], host: str, region: str, access: str, secret: str, token: str | None, now_s: int
) -> None:
    path = f"/bucket/{quote('/'.join(key))}"
    request = AWSRequest("GET", f"http://{host}{path}")
    moment = datetime.fromtimestamp(now_s, UTC)
    with patch("botocore.auth.get_current_datetime", return_value=moment):
        S3SigV4Auth(ReadOnlyCredentials(access, secret, token), "s3", region).add_auth(request)
    ours = signed(host, path, region, Credentials(access, secret, token), now_s)
    assert ours == dict(request.headers.items())
    assert re.search(r"Signature=[0-9a-f]{64}$", ours["Authorization"])
