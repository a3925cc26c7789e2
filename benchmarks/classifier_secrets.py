"""Generated texts with secrets in them, and texts that only look it: the labelled samples have no secrets.

The formats are those that vendors publish, filled at random from a seed; the hard negatives are what scanners are known
to fall for: digests, identifiers, placeholders, references to variables, encoded data. As whoever wrote the rules wrote
these too, the figure says less than one on texts of others.
"""

from __future__ import annotations

import base64
import random
import string
import uuid
from collections.abc import Iterator

HEX = "0123456789abcdef"
WORD = string.ascii_letters + string.digits
BASE32 = string.ascii_uppercase + "234567"
URLSAFE = WORD + "-_"
_ROUNDS = 12

# Prefix, characters, length of the rest.
TOKENS = (
    *(("AKIA", BASE32, 16), ("ASIA", BASE32, 16), ("ghp_", WORD, 36), ("gho_", WORD, 36), ("ghs_", WORD, 36)),
    *(("glpat-", URLSAFE, 20), ("sk_live_", WORD, 24), ("rk_live_", WORD, 24), ("sk-ant-api03-", URLSAFE, 95)),
    *(("sk-proj-", URLSAFE, 64), ("AIza", URLSAFE, 35), ("npm_", WORD, 36), ("pypi-AgEIcHlwaS5vcmc", URLSAFE, 80)),
    *(("dop_v1_", HEX, 64), ("shpat_", HEX, 32), ("hf_", string.ascii_letters, 34), ("GOCSPX-", URLSAFE, 28)),
    *(("SG.", WORD, 22), ("dapi", HEX, 32), ("lin_api_", WORD, 40), ("hvs.", URLSAFE, 96)),
    *(("xoxb-", string.digits, 12), ("sq0atp-", URLSAFE, 22), ("rubygems_", HEX, 48), ("glsa_", WORD, 32)),
)
AROUND = (
    "{}",
    "export API_TOKEN={}",
    'token = "{}"',
    "curl -H 'Authorization: Bearer {}' https://api.example.org/v1/me",
    "The new key is {} - please rotate the old one.",
    '{{"apiKey": "{}", "region": "eu-west-1"}}',
    "key: {}\nmode: fast",
)
ASSIGNED = (
    'DB_PASSWORD="{}"',
    "password: '{}'",
    "client_secret={}",
    '"secret_key": "{}",',
    "postgres://app:{}@db.internal:5432/app",
    "mysql://root:{}@10.0.0.5/shop",
    "<password>{}</password>",
    "My password is {}",
    "spring.datasource.password={}",
    'auth_token := "{}"',
    "curl -u admin:{} https://intranet.example.org",
)
NEGATIVE = (
    "commit {hex40}",
    "image: nginx@sha256:{hex64}",
    "request id {uuid} failed",
    'ETag: "{hex32}"',
    'password = "<your-password>"',
    'password = os.environ["DB_PASSWORD"]',
    "api_key: ${{API_KEY}}",
    "token = get_token(user)",
    "secret: {{{{ vault.secret }}}}",
    "PASSWORD=********",
    'api_key = "YOUR_API_KEY_HERE"',
    "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE",
    "md5 {hex32}  release.tar.gz",
    "data:image/png;base64,{blob}",
    '"integrity": "sha512-{blob}=="',
    "primary_key = 'customer_id'",
    "sort_key: created_at",
    "Bearer tokens are sent in a header.",
    "https://user:password@localhost/path",
    "keyboard = QWERTY-{digits}",
    "The password must have at least 12 characters.",
    "token_type: bearer, expires_in: 3600",
    "trace-id: {hex32}",
    'public_key = "{uuid}"',
    "session {uuid} closed after {digits} ms",
    "color tokens: #a1b2c3, #d4e5f6",
    "max_tokens: 4096",
    "-----BEGIN PUBLIC KEY-----\n{blob}\n-----END PUBLIC KEY-----",
    "csrf_token_name = 'csrftoken'",
    "author_key: smith2019",
)


def _drawn(pick: random.Random, alphabet: str, length: int) -> str:
    return "".join(pick.choices(alphabet, k=length))


def secrets(seed: int = 11) -> Iterator[tuple[str, str]]:
    """Yield texts, each with the secret in it."""
    pick = random.Random(seed)
    for _ in range(_ROUNDS):
        for prefix, alphabet, length in TOKENS:
            value = prefix + _drawn(pick, alphabet, length)
            if prefix == "SG.":
                value += "." + _drawn(pick, URLSAFE, 43)
            if prefix == "xoxb-":
                value += f"-{_drawn(pick, string.digits, 12)}-{_drawn(pick, WORD, 24)}"
            if prefix == "glsa_":
                value += "_" + _drawn(pick, HEX, 8)
            yield pick.choice(AROUND).format(value), value
        for around in ASSIGNED:
            value = _drawn(pick, WORD, pick.randint(9, 24)) + pick.choice("!#%+*") + _drawn(pick, string.digits, 2)
            yield around.format(value), value
        body = base64.b64encode(pick.randbytes(96)).decode()
        key = f"-----BEGIN RSA PRIVATE KEY-----\n{body[:64]}\n{body[64:]}\n-----END RSA PRIVATE KEY-----"
        yield f"ssh:\n{key}\n", key
        parts = [b'{"alg":"HS256"}', b'{"sub":"' + pick.randbytes(6).hex().encode() + b'"}', pick.randbytes(32)]
        jwt = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
        yield f"Cookie: session={jwt}; path=/", jwt


def negatives(seed: int = 12) -> Iterator[str]:
    """Yield texts without a secret."""
    pick = random.Random(seed)
    for _ in range(_ROUNDS):
        for form in NEGATIVE:
            yield form.format(
                hex32=_drawn(pick, HEX, 32),
                hex40=_drawn(pick, HEX, 40),
                hex64=_drawn(pick, HEX, 64),
                uuid=uuid.UUID(int=pick.getrandbits(128), version=4),
                digits=_drawn(pick, string.digits, 6),
                blob=base64.b64encode(pick.randbytes(60)).decode(),
            )
