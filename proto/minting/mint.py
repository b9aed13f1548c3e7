"""Makes recipients' links offline: the token format of proto/README.md, with Python's own library alone.

    python3 mint.py KEY_FILE URL_PREFIX TEMPLATE RECIPIENT [ENDS_ON]
    python3 mint.py --check vectors.json
"""

import base64
import datetime
import hashlib
import hmac
import json
import sys

CONTEXT = b"clickwire recipient link v1\0"
EPOCH = datetime.date(2025, 1, 1)


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def token(key: str, template: int, recipient: int, ends_on: datetime.date | None = None) -> str:
    """The token of one recipient; the link leads nowhere from the beginning (UTC) of `ends_on` on."""
    beginning, number, secret = key.split("_", 2)
    if beginning != "mint" or not 0 <= int(number) < 64:
        raise ValueError("not a minting key")
    if not 0 < template < 1 << 32 or not 0 <= recipient < 1 << 64:
        raise ValueError("a template has 32 bits, a recipient 64")
    said = bytes([0x40 | int(number)]) + varint(template) + varint(recipient)
    if ends_on is not None:
        said += (ends_on - EPOCH).days.to_bytes(2, "big")
    signature = hmac.new(base64.urlsafe_b64decode(secret + "="), CONTEXT + said, hashlib.sha256).digest()[:8]
    return base64.urlsafe_b64encode(said + signature).rstrip(b"=").decode()


def check(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        good = json.load(file)["good"]
    for vector in good:
        ends_on = vector["ends_on"] and datetime.date.fromisoformat(vector["ends_on"])
        made = token(vector["key"], vector["template"], int(vector["recipient"]), ends_on)
        assert made == vector["token"], f"{vector}: made {made}"
    assert good
    print(f"{len(good)} tokens are as they should be")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        check(sys.argv[2])
    else:
        key_file, prefix, template, recipient, *ends_on = sys.argv[1:]
        with open(key_file, encoding="ascii") as file:
            key = file.read().strip()
        ends_on = datetime.date.fromisoformat(ends_on[0]) if ends_on else None
        print(prefix + token(key, int(template), int(recipient), ends_on))
