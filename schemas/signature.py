"""The headers by which a message on a shared topic says whose key signed it, and the signature."""

from __future__ import annotations

from typing import Final

KEY_ID_HEADER: Final = "waybill-key-id"
"""The id of the key: printable ASCII."""
SIGNATURE_HEADER: Final = "waybill-signature"
"""HMAC-SHA256 of the message's value under the key's secret, in base64."""
