"""Strict DER: certificates, CRLs, names, extensions.

`cryptography` reads every certificate and CRL first; what it refuses is refused.
"""
