"""What a secret looks like, and what only stands where one would: templates, masks, examples, names of variables.

Each check takes the value as it stands in the text and answers yes or no; none raises for any string.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Final

# What stands where a secret would: templates, masks, and the words of documentation.
_PLACEHOLDER: Final = re.compile(
    r"^[<\[{(]|[$%#][{(]|\{[{%]|<[^>]*>|\{[^}]*\}|\[[^\]]*\]|^\$[A-Za-z_]\w*$|^%\w*%?$|\*{3}|x{4}|\.{3}|_{4}|(?:-x){3}|^(?:0+|1234567890?|0123456789(?:abcdef)?|abc123|abcdef\w*)$|"
    r"^(?:your|my|the|an?|some|any|new|old|enter|insert|example|sample|dummy|test|fake|mock|placeholder|redacted|removed|hidden|none|"
    r"null|nil|true|false|undefined|password|passwd|passphrase|pass|pw|pwd|secret|token|username|user|name|value|string|key|"
    r"api[_-]?key|change[_-]?me|change[_-]?it|foo|bar|baz|todo|tbd|n/?a|empty|default|required|optional|admin|root|private|"
    r"public|bearer|basic|generated|encrypted|masked|\w+_here)(?:$|[_\s.-])|"
    r"(?:^|[_-])(?:example|placeholder|here|replace[_-]?me|your|change[_-]?me)(?:$|[_-])|EXAMPLE|(?:^|[^a-z])(?:your|insert)[_-]?[a-z]",
    re.IGNORECASE,
)
# Expressions of programs: calls, attributes, environment variables, paths, references.
_EXPRESSION: Final = re.compile(
    r"^(?:os|process|env|self|this|config|settings|cfg|options|opts|args|params|request|req|ctx|context|secrets|vault|var|vars|"
    r"data|local|module|function|lambda|new|await|return|get|load|read|fetch|create|generate|decode|encode|input|crypto|"
    r"base64|hashlib|uuid|random|faker)[._(\[]|\w\(|\)$|::|->|^[/.~]|^\w+\.\w+(?:\.\w+)*$|^@|^#|^!\w|^\d{1,6}$|^[\w-]+/[\w/-]+$|\\"
)
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_DIGEST: Final = re.compile(r"^(?:sha(?:1|256|384|512)|md5)[-:]", re.IGNORECASE)
_TELLING: Final = re.compile(
    r"(?i)snapshot|release|\d+\.\d+\.\d+|\d{4}-\d{2}-\d{2}|\.(?:com|org|net|io|dev|json|yaml|yml|py|js|ts|go|txt|pem|key|crt|xml|html|"
    r"png|jpe?g|svg|csv)\b|^v?\d+\.|^arn:|^urn:|^projects/|//|^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$"
)
_IDENTIFIER: Final = re.compile(r"[A-Za-z]+(?:[_-][A-Za-z]+)*")
_SPECIAL: Final = re.compile(r"[!@#$%^&*?~+]")
_MOST_PASSWORD: Final = 64
_LEAST_ENTROPY: Final = 3.0


def entropy(value: str) -> float:
    """Return the bits per character of a string, by the shares of its own characters."""
    counts = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values()) if value else 0.0


def secret(value: str) -> bool:
    """Accept what somebody typed as a password: no template, no mask, no word of documentation."""
    return len(value) >= 3 and len(set(value)) > 2 and _PLACEHOLDER.search(value) is None


def random_secret(value: str) -> bool:
    """Accept what a machine made: letters and digits in it, and at least 3 bits of entropy per character."""
    if _PLACEHOLDER.search(value) or not _has_digit(value) or not any(map(str.isalpha, value)):
        return False
    return entropy(value) >= _LEAST_ENTROPY


def token(value: str) -> bool:
    """Accept the token of a vendor: not its example, not one character over and over, not a sequence."""
    return (
        "EXAMPLE" not in value.upper()
        and "xxxx" not in value.lower()
        and "your" not in value.lower()
        and len(set(value)) > 8
        and not re.search(r"(.)\1{7}", value)
        and (_has_digit(value) or (not value.islower() and entropy(value) > 3.5))
    )


def assigned_secret(value: str) -> bool:
    """Accept a value in quotation marks behind a name that says secret."""
    if not secret(value) or _EXPRESSION.search(value) or _UUID.fullmatch(value) or _DIGEST.match(value):
        return False
    if _IDENTIFIER.fullmatch(value):  # words: the name of a variable or of a setting, unless they are a random string
        camel = re.search(r"[a-z]{3}[A-Z][a-z]{2}|[a-z]{7}|[_-]", value)
        return len(value) >= 16 and entropy(value) > 3.8 and not camel and not value.islower()
    return (
        (_has_digit(value) or _SPECIAL.search(value) is not None)
        and len(value) >= 6
        and (len(value) <= _MOST_PASSWORD or entropy(value) >= _LEAST_ENTROPY)
    )


def unquoted_secret(value: str) -> bool:
    """Accept a bare value behind a name that says secret: letters and digits, or letters and signs."""
    value = value.rstrip(".,;)")
    if len(value) < 6 or not assigned_secret(value) or not any(map(str.isalpha, value)):
        return False
    if value.startswith(("http:", "https:", "--")) or re.match(r"^\w+[=:]", value):
        return False
    return _has_digit(value) and (entropy(value) >= 2.5) and not re.fullmatch(r"[a-z]+\d{1,2}", value)


def spoken_secret(value: str) -> bool:
    """Accept a password in a sentence: no word of the language, so it has a digit or a sign in it."""
    return secret(value) and len(value) >= 6 and (_has_digit(value) or _SPECIAL.search(value[:-1]) is not None)


def generated(value: str) -> bool:
    """Accept what only a machine writes: letters and digits mixed, much entropy, no path, version, date or digest."""
    if not random_secret(value) or _EXPRESSION.search(value) or _DIGEST.match(value) or _TELLING.search(value):
        return False
    words = [part for part in re.split(r"[^A-Za-z]+", value) if len(part) > 3]
    if words and sum(map(len, words)) > 0.6 * len(value) and all(word.islower() or word.istitle() for word in words):
        return False
    return entropy(value) >= (3.0 if re.fullmatch(r"[0-9a-fA-F-]+", value) else 3.3)


def private_key(value: str) -> bool:
    """Accept a header with something of the key behind it; the header by itself stands in programs and manuals."""
    body = value.rpartition("KEY-----")[2] if "-----END" not in value else value.split("KEY-----", 1)[-1]
    return re.search(r"[A-Za-z0-9+/=]{6}", body.partition("-----END")[0].replace("BLOCK-----", "")) is not None


def basic_credentials(value: str) -> bool:
    """Accept base64 of a name, a colon and a password."""
    try:
        decoded = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return False
    name, colon, password = decoded.partition(":")
    return bool(colon and name) and decoded.isprintable() and secret(password)


def _has_digit(value: str) -> bool:
    return any(map(str.isdigit, value))


SECRETS: Final[dict[str, Callable[[str], bool]]] = {
    check.__name__: check
    for check in (
        assigned_secret,
        basic_credentials,
        generated,
        private_key,
        random_secret,
        secret,
        spoken_secret,
        token,
        unquoted_secret,
    )
}
