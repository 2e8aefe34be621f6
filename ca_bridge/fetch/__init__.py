"""The background fetcher: keeps CRLs, delta CRLs and OCSP answers fresh, never on the way of a sign-in.

    profiles of the bundle ─▶ plan ─▶ due? ─▶ address (allowed, resolved, pinned) ─▶ http (capped, timed)
        ─▶ check (signed by the CA's key in the bundle, newer than the last) ─▶ overlay beside the bundle

What a server sends can only ever replace older data of the same CA by newer data that this CA has signed.
"""
