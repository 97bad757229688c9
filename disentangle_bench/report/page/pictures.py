"""Put pictures into the page, as WebP in data URIs, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from typing import Any


class Budget:
    """The number of bytes that pictures may still take in the page."""

    def __init__(self, size: int) -> None:
        self.left = size

    def spend(self, picture: bytes) -> str:
        """Return ``picture`` (WebP) as a data URI; empty if it is larger than what is left."""
        text = f"data:image/webp;base64,{base64.b64encode(picture).decode()}"
        if len(text) > self.left:
            return ""
        self.left -= len(text)
        return text


def webp(image: Any, quality: int) -> bytes:
    """Return a Pillow image as WebP, which takes a quarter of a PNG's bytes without visible loss."""
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "WEBP", quality=quality, method=2)
    return stream.getvalue()
