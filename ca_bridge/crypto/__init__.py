"""Owns cryptography: which algorithms and keys are accepted, SM2 through libcrypto, and the challenge a person signs.

`signatures.verify` is the one place that decides over a signature; `sm2` has a three-method interface so that an HSM
can take libcrypto's place; `challenge` fixes the bytes that are signed at sign-in. `cms` is
the same challenge in the dress that tokens and middleware know, and the one module that looks at a certificate. Nothing
here knows of people.
"""
