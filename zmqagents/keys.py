"""Cluster keys: one text that every process of a cluster has, and nobody else (SPEC.md section 11).

A key is what ``make_key`` made: ``zak1-`` and 48 characters of base64url, which hold 256 random bits and their CRC-32,
so that a typing mistake is told from another key. Any other text of at least ``MIN_CHARS`` visible ASCII characters is
taken as well, for those whose secrets come from elsewhere.

The secret half of a CURVE key pair is derived from it by HKDF-SHA256 (RFC 5869). The cluster's name goes in too:
clusters that have one key by mistake still don't meet. HKDF is not a password hash; that is why a short text is
refused, not stretched. It is two calls of ``hmac``, so that no dependency is needed for it.

Nothing here says a key in an error, because errors are logged and travel.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import zlib

from zmqagents.errors import ConfigError

PREFIX = "zak1-"
MIN_CHARS = 32  # 128 bits if they are hexadecimal digits
MAX_CHARS = 1_024  # a file given by mistake is told

CURVE_SECRET_BYTES = 32

_SECRET_BYTES = 32  # CURVE's security is 128 bits; as many as its own keys have
_CHECK_BYTES = 4  # with them the length is a multiple of three, so base64 needs no padding and has one form only
_DIGEST_BYTES = 32

_SALT = b"zmqagents cluster key 1"
_INFO = b"zmqagents CURVE key pair 1 "  # the cluster's name follows

_VISIBLE = re.compile(r"[!-~]+")
_ADVICE = "`zmqagents keygen` prints a good one"


def make_key() -> str:
    """A new key, with 256 bits from the operating system's random source."""
    secret = secrets.token_bytes(_SECRET_BYTES)
    return PREFIX + base64.urlsafe_b64encode(secret + _check(secret)).decode("ascii")


def check_key(key: object, setting: str) -> str:
    """``key``, if it is one. ConfigError otherwise, which names ``setting`` and doesn't show the key."""
    if not isinstance(key, str):
        raise ConfigError(f"{setting} is not a text; {_ADVICE}")
    if key.startswith(PREFIX):
        if not _is_whole(key):
            raise ConfigError(
                f"{setting} begins like a key made by `zmqagents keygen`, but a character of it is wrong, missing or"
                " too many; copy it again, whole"
            )
        return key
    if not MIN_CHARS <= len(key) <= MAX_CHARS:
        raise ConfigError(
            f"{setting} has {len(key):,} characters; a key has at least {MIN_CHARS}, and at most {MAX_CHARS:,};"
            f" {_ADVICE}"
        )
    if not _VISIBLE.fullmatch(key):
        raise ConfigError(f"{setting} has white space in it, or characters that are not ASCII; {_ADVICE}")
    return key


def curve_secret(key: str, cluster: str) -> bytes:
    """The secret half of the key pair that all processes of the cluster share."""
    return hkdf_sha256(key.encode(), salt=_SALT, info=_INFO + cluster.encode(), size_bytes=CURVE_SECRET_BYTES)


def hkdf_sha256(material: bytes, *, salt: bytes, info: bytes, size_bytes: int) -> bytes:
    """RFC 5869 with SHA-256. ValueError beyond 8,160 bytes (section 2.3)."""
    if not 0 < size_bytes <= 255 * _DIGEST_BYTES:
        raise ValueError(f"HKDF gives 1 to {255 * _DIGEST_BYTES:,} bytes, not {size_bytes:,}")
    pseudorandom = hmac.digest(salt or bytes(_DIGEST_BYTES), material, hashlib.sha256)
    block = okm = b""
    for number in range(1, -(-size_bytes // _DIGEST_BYTES) + 1):
        block = hmac.digest(pseudorandom, block + info + bytes([number]), hashlib.sha256)
        okm += block
    return okm[:size_bytes]


def _is_whole(key: str) -> bool:
    try:
        content = base64.b64decode(key[len(PREFIX) :].encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return False
    secret = content[:_SECRET_BYTES]
    return len(content) == _SECRET_BYTES + _CHECK_BYTES and content[_SECRET_BYTES:] == _check(secret)


def _check(secret: bytes) -> bytes:
    """CRC-32: finds every change of up to four bytes in a row, which is any five characters."""
    return zlib.crc32(PREFIX.encode() + secret).to_bytes(_CHECK_BYTES, "big")
