"""Verifies the `v1a` signature of a webhook: ed25519, with the package `cryptography` from PyPI.

Take `verify` into your program. As a program it reads {"public_keys", "headers", "body"} from its input and ends with 3
when it refuses; the tests run it so.
"""

import base64
import json
import sys
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TOLERANCE_SECONDS = 300


class Refused(Exception):
    """The request is not what its sender signed, or was not sent just now."""


def verify(public_keys: list[str], headers: dict[str, str], body: bytes) -> None:
    """`public_keys`: `whpk_…`, several while they are exchanged; `headers`: with names in lower case; `body`: as it came."""
    try:
        event_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
        entries = headers["webhook-signature"].split(" ")
        age = abs(time.time() - int(timestamp))
    except (KeyError, ValueError) as error:
        raise Refused("a header is missing or malformed") from error
    if age > TOLERANCE_SECONDS:
        raise Refused("it is too old, or one of the two clocks is wrong")
    signed = f"{event_id}.{timestamp}.".encode() + body
    for entry in entries:
        version, _, signature = entry.partition(",")
        if version != "v1a":
            continue
        for text in public_keys:
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(text.removeprefix("whpk_")))
            try:
                key.verify(base64.b64decode(signature), signed)
                return
            except (InvalidSignature, ValueError):
                pass
    raise Refused("no v1a signature matches")


if __name__ == "__main__":
    given = json.load(sys.stdin)
    try:
        verify(given["public_keys"], given["headers"], given["body"].encode())
    except Refused as error:
        print(error, file=sys.stderr)
        sys.exit(3)
