"""The cross-certification bridge: judges certificates and is an OpenID provider for one Keycloak realm.

Data flows one way: certificate bytes → strict parse (`asn1`) → verdict (`trust`, `path`, `revocation`, `verdict`)
→ identity and level (`identity`, `policy`) → proof of possession (`ceremony`) → claims (`provider`).
"""
