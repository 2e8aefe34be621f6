"""Every address that a browser of the live tests asked for; `test_zz_privacy` looks for people in them."""

from __future__ import annotations

URLS: set[str] = set()
