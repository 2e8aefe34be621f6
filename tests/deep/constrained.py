"""Names of generated leaves and the constraints over them: few of each, so that they often meet."""

from __future__ import annotations

import ipaddress
import random

from cryptography import x509

from tests import pki

HOSTS = ("a.example.cn", "b.a.example.cn", "example.org", "xa.example.cn", "A.Example.CN")
DNS_TREES = ("example.cn", "a.example.cn", "example.org", "b.a.example.cn")
MAILS = ("who@a.example.cn", "who@example.cn", "Who@example.cn", "other@example.org")
MAIL_TREES = ("example.cn", ".example.cn", "who@example.cn", "example.org", "a.example.cn")
URIS = ("https://a.example.cn/x", "ldap://example.cn:389/o=x", "https://who@b.a.example.cn", "https://example.org?q")
URI_TREES = (".example.cn", "example.cn", "a.example.cn", "example.org")
ADDRESSES = ("10.1.2.3", "10.2.0.1", "192.0.2.7", "2001:db8::1")
NETWORKS = ("10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0")
ORGANISATIONS = ("Test", "test", " Test  ", "Other")
UNITS = ("One", "Two")


def _directory(rnd: random.Random, *, leaf: bool) -> x509.Name:
    pairs = [("C", "CN"), ("O", rnd.choice(ORGANISATIONS if leaf else ("Test", "Other")))]
    if leaf or rnd.random() < 0.5:
        pairs.append(("OU", rnd.choice(UNITS)))
    if leaf:
        pairs.append(("CN", "Somebody"))
    return pki.name(pairs)


def _name(kind: int, rnd: random.Random) -> x509.GeneralName:
    if kind == 0:
        return x509.DNSName(rnd.choice(HOSTS))
    if kind == 1:
        return x509.RFC822Name(rnd.choice(MAILS))
    if kind == 2:
        return x509.UniformResourceIdentifier(rnd.choice(URIS))
    if kind == 3:
        return x509.IPAddress(ipaddress.ip_address(rnd.choice(ADDRESSES)))
    return x509.DirectoryName(_directory(rnd, leaf=True))


def _tree(kind: int, rnd: random.Random) -> x509.GeneralName:
    if kind == 0:
        return x509.DNSName(rnd.choice(DNS_TREES))
    if kind == 1:
        return x509.RFC822Name(rnd.choice(MAIL_TREES))
    if kind == 2:
        return x509.UniformResourceIdentifier(rnd.choice(URI_TREES))
    if kind == 3:
        return x509.IPAddress(ipaddress.ip_network(rnd.choice(NETWORKS)))
    return x509.DirectoryName(_directory(rnd, leaf=False))


def random_alternatives(rnd: random.Random) -> tuple[list[x509.GeneralName], x509.Name]:
    """Alternative names of all five types, and a subject."""
    names = [_name(kind, rnd) for kind in rnd.choices(range(5), k=rnd.choice((0, 1, 1, 2)))]
    return names, _directory(rnd, leaf=True)


def random_constraints(rnd: random.Random) -> tuple[list[x509.GeneralName], list[x509.GeneralName]]:
    """Permitted and excluded subtrees, one at least."""
    permitted = [_tree(rnd.choice((0, 1, 2, 3, 3, 4)), rnd) for _ in range(rnd.choice((0, 1, 2, 4)))]
    excluded = [_tree(rnd.choice((0, 1, 2, 3, 4)), rnd) for _ in range(rnd.choice((0, 0, 1)))]
    if not permitted and not excluded:
        excluded = [_tree(rnd.randrange(5), rnd)]
    # The CAs' own names are C=CN, O=Test, CN=…: a constraint on directory names must let some of them pass.
    if any(isinstance(tree, x509.DirectoryName) for tree in permitted):
        permitted.append(x509.DirectoryName(pki.name([("C", "CN"), ("O", "Test")])))
    return permitted, excluded
