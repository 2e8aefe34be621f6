"""RFC 5280 §6.1 on generated chains, by the slow path: each rule refuses with its own code."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from ca_bridge.asn1.certificate import parse_certificate
from ca_bridge.path.build import Result
from ca_bridge.path.state import Inputs
from ca_bridge.verdict.supplied import Supplied, validate
from tests.pki import DAY, NOW, Authority, build, ca, der, eku, name, policies, unknown, usage

ROOT = Authority.create("Root")
ISSUING = ROOT.subordinate("Issuing")


def check(leaf: x509.Certificate, *pool: Any, anchors: tuple[Authority, ...] = (ROOT,), **wishes: Any) -> Result:
    """The result for a leaf, with authorities and certificates as the pool."""
    certificates = [item.certificate if isinstance(item, Authority) else item for item in pool]
    supplied = Supplied(
        leaf=parse_certificate(der(leaf)),
        anchors=[parse_certificate(der(anchor.certificate)) for anchor in anchors],
        pool=[parse_certificate(der(certificate)) for certificate in certificates],
        **{"at": NOW, **wishes},
    )
    return validate(supplied)


def code(result: Result) -> str:
    """`ok`, or the first refusal's code."""
    return "ok" if result.found is not None else result.refusals[0].code


def test_a_plain_chain_is_accepted_with_its_path() -> None:
    """Leaf, issuing CA, anchor: the path is leaf first and holds no anchor."""
    leaf = ISSUING.issue("Leaf")
    result = check(leaf, ISSUING)
    assert result.found is not None
    assert [c.subject.get("CN") for c in result.found.outcome.path] == ["Leaf", "Issuing"]


def test_an_issuer_that_nobody_knows_is_refused() -> None:
    """No certificate of the issuer's name leads to an anchor."""
    assert code(check(ISSUING.issue("Leaf"))) == "path.unknown_issuer"
    assert code(check(ISSUING.issue("Leaf"), ISSUING, anchors=(Authority.create("Other"),))) == "path.unknown_issuer"
    assert code(check(ISSUING.issue("Leaf"), ISSUING, anchors=())) == "path.unknown_issuer"


def test_a_known_name_with_another_key_is_refused() -> None:
    """Trust is by key: an impostor of the root's name signs in vain (§6.1.3 (a)(1))."""
    impostor = Authority.create("Root")
    assert code(check(impostor.issue("Leaf"))) == "path.signature"


@pytest.mark.parametrize(
    ("moment", "wanted"),
    [
        (NOW - 31 * DAY, "path.not_yet_valid"),
        (NOW - 30 * DAY, "ok"),
        (NOW + 365 * DAY, "ok"),
        (NOW + 365 * DAY + timedelta(milliseconds=999), "ok"),
        (NOW + 365 * DAY + timedelta(seconds=1), "path.expired"),
        (NOW + 366 * DAY, "path.expired"),
    ],
)
def test_validity_includes_both_ends(moment: Any, wanted: str) -> None:
    """§6.1.3 (a)(2), §4.1.2.5: from notBefore through notAfter, inclusive."""
    assert code(check(ROOT.issue("Leaf"), at=moment)) == wanted


def test_an_expired_ca_is_told_apart_from_an_expired_leaf() -> None:
    """The holder of a good certificate is not told to renew it."""
    old = ROOT.subordinate("Old", not_after=NOW - DAY)
    result = check(old.issue("Leaf"), old)
    assert (code(result), result.refusals[0].depth) == ("path.ca_expired", 1)


def test_a_certificate_without_ca_signs_nothing() -> None:
    """§6.1.4 (k): no basicConstraints, or cA false."""
    for extensions in ([usage("key_cert_sign")], [(x509.BasicConstraints(ca=False, path_length=None), True)]):
        made = build(ISSUING.subject, ISSUING.key.public_key(), ROOT.subject, ROOT.key, extensions)
        assert code(check(ISSUING.issue("Leaf"), made)) == "path.not_a_ca"


def test_a_ca_needs_key_cert_sign() -> None:
    """§6.1.4 (n)."""
    basic = (x509.BasicConstraints(ca=True, path_length=None), True)
    made = build(ISSUING.subject, ISSUING.key.public_key(), ROOT.subject, ROOT.key, [basic, usage("crl_sign")])
    assert code(check(ISSUING.issue("Leaf"), made)) == "path.key_usage"


def test_path_length_is_counted() -> None:
    """§6.1.4 (l)–(m): a CA with pathLen 0 has no CA below; self-issued ones are not counted."""
    short = ROOT.subordinate("Short", path_length=0)
    below = short.subordinate("Below")
    assert code(check(short.issue("Leaf"), short)) == "ok"
    assert code(check(below.issue("Leaf"), short, below)) == "path.path_length"
    rolled = Authority.create("Short")
    assert code(check(rolled.issue("Leaf"), short, short.certify(rolled))) == "ok"


def test_max_intermediates_is_an_input() -> None:
    """§6.1.2 (k): the caller's own limit on the path's length."""
    leaf = ISSUING.issue("Leaf")
    assert code(check(leaf, ISSUING, inputs=Inputs(max_intermediates=1))) == "ok"
    assert code(check(leaf, ISSUING, inputs=Inputs(max_intermediates=0))) == "path.path_length"


@pytest.mark.parametrize("where", ["leaf", "ca"])
def test_unknown_critical_extensions_refuse(where: str) -> None:
    """§6.1.4 (o), §6.1.5 (f): critical refuses, not critical is passed over."""
    for critical, wanted in ((True, "path.unknown_critical_extension"), (False, "ok")):
        odd = [unknown(critical=critical)]
        issuing = ROOT.subordinate("Sub", extensions=odd if where == "ca" else ())
        leaf = issuing.issue("Leaf", extensions=[usage("digital_signature"), *(odd if where == "leaf" else ())])
        assert code(check(leaf, issuing)) == wanted


def test_a_leaf_with_a_cas_powers_is_refused() -> None:
    """§4.2.1.3, §4.2.1.10: keyCertSign or nameConstraints without cA."""
    assert code(check(ROOT.issue("Leaf", extensions=[usage("key_cert_sign")]))) == "path.key_usage"
    constraints = (x509.NameConstraints([x509.DNSName("a.example")], None), True)
    assert code(check(ROOT.issue("Leaf", extensions=[constraints]))) == "path.leaf_constraints"


P1, P2 = "1.3.6.1.4.1.99999.2.1", "1.3.6.1.4.1.99999.2.2"


def test_policies_must_survive_the_path() -> None:
    """§6.1.5 (g): the intersection along the path, held against the caller's set."""
    issuing = ROOT.subordinate("Sub", extensions=[policies(P1, P2)])
    leaf = issuing.issue("Leaf", extensions=[policies(P1)])
    result = check(leaf, issuing, inputs=Inputs(require_policy=True))
    assert result.found is not None
    assert result.found.outcome.policies == {P1}
    wrong = Inputs(initial_policies=frozenset({P2}), require_policy=True)
    assert code(check(leaf, issuing, inputs=wrong)) == "path.policy"
    assert code(check(leaf, issuing, inputs=Inputs(initial_policies=frozenset(), require_policy=True))) == "path.policy"
    none = issuing.issue("Leaf", extensions=[])
    assert code(check(none, issuing, inputs=Inputs(require_policy=True))) == "path.policy"
    assert code(check(none, issuing)) == "ok"


def test_any_policy_can_be_inhibited() -> None:
    """§6.1.3 (d)(2): anyPolicy stands for each policy unless inhibited."""
    issuing = ROOT.subordinate("Sub", extensions=[policies("2.5.29.32.0")])
    leaf = issuing.issue("Leaf", extensions=[policies(P1)])
    assert code(check(leaf, issuing, inputs=Inputs(require_policy=True))) == "ok"
    stopped = Inputs(require_policy=True, inhibit_any_policy=True)
    assert code(check(leaf, issuing, inputs=stopped)) == "path.policy"


def names(*wanted: x509.GeneralName) -> list[Any]:
    """An alternative name beside digitalSignature."""
    return [usage("digital_signature"), (x509.SubjectAlternativeName(list(wanted)), False)]


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        (x509.DNSName("example.com"), x509.DNSName("a.example.com"), x509.DNSName("badexample.com")),
        (x509.DNSName("example.com"), x509.DNSName("EXAMPLE.com"), x509.DNSName("example.com.")),
        (x509.RFC822Name("example.com"), x509.RFC822Name("a@example.com"), x509.RFC822Name("a@b.example.com")),
        (x509.RFC822Name(".example.com"), x509.RFC822Name("a@b.example.com"), x509.RFC822Name("a@example.com")),
        (
            x509.RFC822Name("example.com"),
            x509.RFC822Name("a@EXAMPLE.com"),
            x509.RFC822Name._init_without_validation("a@b@example.com"),
        ),
        (x509.RFC822Name("a@example.com"), x509.RFC822Name("a@Example.com"), x509.RFC822Name("A@example.com")),
        (
            x509.UniformResourceIdentifier(".example.com"),
            x509.UniformResourceIdentifier("https://u@a.example.com:8443/x"),
            x509.UniformResourceIdentifier("https://example.com/"),
        ),
        (
            x509.UniformResourceIdentifier("example.com"),
            x509.UniformResourceIdentifier("ldap://example.com/x"),
            x509.UniformResourceIdentifier("https://192.0.2.1/"),
        ),
    ],
)
def test_permitted_names(constraint: x509.GeneralName, good: x509.GeneralName, bad: x509.GeneralName) -> None:
    """§4.2.1.10, kind by kind: inside is accepted, outside refused, other kinds are not bound."""
    issuing = ROOT.subordinate("Sub", extensions=[(x509.NameConstraints([constraint], None), True)])
    assert code(check(issuing.issue("Leaf", extensions=names(good)), issuing)) == "ok"
    assert code(check(issuing.issue("Leaf", extensions=names(bad)), issuing)) == "path.name_constraints"
    other = names(x509.RegisteredID(x509.ObjectIdentifier("1.2.3")))
    assert code(check(issuing.issue("Leaf", extensions=other), issuing)) == "ok"


def test_excluded_names_win_and_wildcards_do_not_slip_through() -> None:
    """§6.1.3 (c): excluded is refused even where permitted; `*.example.com` covers an excluded host."""
    extension = x509.NameConstraints([x509.DNSName("example.com")], [x509.DNSName("secret.example.com")])
    issuing = ROOT.subordinate("Sub", extensions=[(extension, True)])
    for host, wanted in (("a.example.com", "ok"), ("b.secret.example.com", "x"), ("*.example.com", "x")):
        found = code(check(issuing.issue("Leaf", extensions=names(x509.DNSName(host))), issuing))
        assert found == ("ok" if wanted == "ok" else "path.name_constraints"), host


def test_directory_names_bind_subjects_and_narrow_downwards() -> None:
    """§6.1.4 (g): what a CA below permits cannot widen what one above permitted."""
    wide = [("C", "CN"), ("O", "Other")]
    first = ROOT.subordinate(
        [("C", "CN"), ("O", "Test"), ("CN", "A")],
        extensions=[(x509.NameConstraints([x509.DirectoryName(name([("C", "CN"), ("O", "Test")]))], None), True)],
    )
    second = first.subordinate(
        [("C", "CN"), ("O", "Test"), ("CN", "B")],
        extensions=[(x509.NameConstraints([x509.DirectoryName(name(wide))], None), True)],
    )
    assert code(check(first.issue([("C", "CN"), ("O", "  TEST "), ("CN", "x")]), first)) == "ok"
    assert code(check(first.issue(wide), first)) == "path.name_constraints"
    assert code(check(second.issue(wide), first, second)) == "path.name_constraints"


def test_purposes() -> None:
    """§4.2.1.12: extended key usage of the leaf and of the CAs above; §4.2.1.3 for the key."""
    client, server = "1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1"
    leaf = ROOT.issue("Leaf", extensions=[usage("digital_signature"), eku(server)])
    assert code(check(leaf, purpose="any")) == "ok"
    assert code(check(leaf, purpose="server")) == "ok"
    assert code(check(leaf, purpose="client")) == "path.extended_key_usage"
    assert code(check(leaf, purpose="ca")) == "path.not_a_ca"
    narrowed = ROOT.subordinate("Sub", extensions=[eku(client)])
    assert code(check(narrowed.issue("Leaf"), narrowed, purpose="server")) == "path.extended_key_usage"
    assert code(check(ROOT.issue("Leaf", extensions=[usage("crl_sign")]), purpose="client")) == "path.key_usage"
    assert code(check(ROOT.subordinate("Sub").certificate, purpose="ca")) == "ok"


def test_the_anchors_own_constraints_bind_only_when_asked() -> None:
    """RFC 5937: dates, path length and policies of the anchor's certificate."""
    tight = Authority.create("Tight", extensions=ca(0), not_after=NOW - DAY)
    issuing = tight.subordinate("Sub")
    assert code(check(issuing.issue("Leaf"), issuing, anchors=(tight,))) == "ok"
    assert code(check(issuing.issue("Leaf"), issuing, anchors=(tight,), anchor_constraints=True)) == "path.anchor_time"
    short = Authority.create("Short", extensions=ca(0))
    issuing = short.subordinate("Sub")
    assert code(check(issuing.issue("Leaf"), issuing, anchors=(short,), anchor_constraints=True)) == "path.path_length"
