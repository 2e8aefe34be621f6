"""Owns cryptography: which algorithms and keys are accepted, SM2 through libcrypto, and the challenge a person signs.

`signatures.verify` is the one place that decides over a signature; `sm2` has a three-method interface so that an HSM
can take libcrypto's place; `challenge` fixes the bytes that are signed at sign-in. Nothing here knows of certificates
or people.
"""
