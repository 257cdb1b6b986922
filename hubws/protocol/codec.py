"""The codec that runs: `_native` (C) or `_codec` (Python), one signature, chosen at import."""

from typing import TYPE_CHECKING

from ..native import choose

if TYPE_CHECKING:
    from ._codec import decode, encode_frame, encode_message, mask
else:
    _chosen = choose("hubws.protocol._native", "hubws.protocol._codec")
    decode = _chosen.decode
    encode_message = _chosen.encode_message
    encode_frame = _chosen.encode_frame
    mask = _chosen.mask

__all__ = ["NATIVE", "decode", "encode_frame", "encode_message", "mask"]

NATIVE: bool = decode.__module__ != "hubws.protocol._codec"
"""Whether the C twin runs."""
