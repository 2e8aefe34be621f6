"""The bridge as an OpenID provider with one client, the node's realm; and what keeps its sessions honest.

request, server, client   authorization requests, codes and tokens by Authlib, private_key_jwt
tokens, keys              what is signed, by which key; rotation
realm_keys, http          what the realm signs, and how it is reached
attributes                what a window may know of a person, recorded
logout, watcher           sessions that end, here and at Keycloak
routes, front, logs       the addresses; what stands before every request; the operator's log
"""
