"""The local signer of a person's machine: tokens, its page, its rules (docs/signer.md, docs/contracts.md).

    hall's page ──fetch──▶ web.py ──▶ requests.py (one pending request, 60 s)
                             │           ▲
    person ──own window──▶ page.py ──────┘──▶ wallet.py ──▶ Token: pkcs11_token.py | file_token.py | (SKF next)

It signs one thing only: the challenge of `ca_bridge.crypto.challenge`, for a hall on the province's signed list, after
the person has seen who asks and typed the PIN on the signer's own page. There is no other way to a signature.
"""
