"""Extraction by profile: encodings, prefixes, patterns, and every case in which nobody is named."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from asn1crypto import core
from cryptography import x509

from ca_bridge.errors import IdentityError
from ca_bridge.identity.extract import acting, identify
from ca_bridge.identity.texts import texts_at
from ca_bridge.trust.profile import Profile
from ca_bridge.types import Capacity, IdentifierType

ID, OTHER, USCC = "440000198503140012", "440100199008080120", "91350100M000100Y43"
EXT, EXT2, ORG = "1.2.156.10260.4.1.1", "1.2.156.1.8888.148", "1.2.156.10260.4.1.4"
CN_RULE = {"type": "cn-id", "state": "CN", "from": f"extension:{EXT}"}
ORG_RULE = {"name": "subject.O", "identifier": {"type": "uscc", "state": "CN", "from": f"extension:{ORG}"}}


def profile(*rules: dict[str, str], asserts: tuple[str, ...] = tuple(IdentifierType), **kind: Any) -> Profile:
    """A profile with one type, `t`."""
    kind = {"id": "t", "kind": "person", "storage": "token", "capacities": ["citizen"], "identifiers": rules} | kind
    return Profile.model_validate(
        {
            "id": "ca",
            "version": 1,
            "domain": "gd",
            "accreditation": "acc-1",
            "name": dict.fromkeys(("zh-Hans", "zh-Hant", "en", "pt"), "CA"),
            "keys": ["0" * 64],
            "algorithms": ["rsa"],
            "asserts": asserts,
            "max_level": 4,
            "types": [{"name": {"from": "subject.CN"}} | kind],
        }
    )


def refused(code: str, *arguments: Any) -> None:
    """Extraction raises exactly `code`, without saying the number."""
    with pytest.raises(IdentityError) as caught:
        identify(*arguments)
    assert caught.value.code == code
    assert re.search(r"\d{6}", str(caught.value)) is None


ENCODINGS = {
    "utf8": core.UTF8String(ID).dump(),
    "printable": core.PrintableString(ID).dump(),
    "ia5": core.IA5String(ID).dump(),
    "bmp": core.BMPString(ID).dump(),
    "t61": core.TeletexString(ID).dump(),
    "visible": core.VisibleString(ID).dump(),
    "numeric": core.NumericString(ID).dump(),
    "universal": core.UniversalString(ID).dump(),
    "bare": ID.encode(),
    "full width": core.UTF8String("４４００００１９８５０３１４００１２").dump(),
    "bare, full width in GB 18030": "４４００００１９８５０３１４００１２".encode("gb18030"),
    "T61 with GB 18030 inside": b"\x14\x24" + "４４００００１９８５０３１４００１２".encode("gb18030"),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_encodings(leaf: Any, name: str) -> None:
    """One number in any encoding that CAs use is one identifier."""
    identity = identify(leaf([("CN", "张明华")], {EXT: ENCODINGS[name]}), profile(CN_RULE), "t")
    assert [found.value for found in identity.identifiers] == [ID]
    assert (identity.name, identity.organisation, identity.capacities) == ("张明华", None, (Capacity.CITIZEN,))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        core.UTF8String(ID).dump() + b"\0",
        core.UTF8String(ID).dump()[:-1],
        b"\x0c\x81\x12" + ID.encode(),
        b"\x0c\x02\xff\xfe",
        b"\x1e\x03\x00\x31\x00",
        core.SequenceOf([ID], spec=core.UTF8String).dump(),
        core.OctetString(ID.encode()).dump(),
        core.Integer(440000198503140012).dump(),
        core.Null().dump(),
        core.UTF8String(ID + "\n").dump(),
        core.UTF8String("\u200e" + ID).dump(),
        core.UTF8String("").dump(),
        core.UTF8String("1" * 257).dump(),
        ID.encode() + b"\0",
        b"\xff\xff\xff",
    ],
)
def test_broken_encodings(leaf: Any, value: bytes) -> None:
    """What is not exactly one text without control characters is refused, never read in part."""
    refused("identity.encoding", leaf([("CN", "x")], {EXT: value}), profile(CN_RULE), "t")


def test_names_of_rare_characters(leaf: Any) -> None:
    """Ideographs unknown to Python's tables, and GB 18030's private ones, are kept; direction marks are refused."""
    rare = "张\U0003134a\ue000"
    assert identify(leaf([("CN", rare)], {EXT: ID.encode()}), profile(CN_RULE), "t").name == rare
    refused("identity.encoding", leaf([("CN", "张\u202e三")], {EXT: ID.encode()}), profile(CN_RULE), "t")


def test_sources(leaf: Any) -> None:
    """Subject attributes by name or number, otherName by OID, mail, DNS and URI names."""
    san = [
        x509.OtherName(x509.ObjectIdentifier(EXT2), core.UTF8String(ID).dump()),
        x509.OtherName(x509.ObjectIdentifier(EXT), core.UTF8String(OTHER).dump()),
        x509.RFC822Name("a@b.c"),
        x509.UniformResourceIdentifier("urn:x"),
        x509.DNSName("b.c"),
    ]
    certificate = leaf([("CN", "n"), ("OU", "one"), ("OU", "two")], {}, san)
    assert texts_at(certificate, "subject.OU") == ("one", "two")
    assert texts_at(certificate, "subject.2.5.4.3") == ("n",)
    assert texts_at(certificate, f"san.{EXT2}") == (ID,)
    assert texts_at(certificate, "san.rfc822Name") == ("a@b.c",)
    assert texts_at(certificate, "san.URI") == ("urn:x",)
    assert texts_at(certificate, "san.dNSName") == ("b.c",)
    assert texts_at(certificate, f"extension:{EXT}") == ()
    for source in ("san.iPAddress", "san.nonsense", "issuer.CN", "serial"):
        with pytest.raises(IdentityError, match=r"identity\.profile"):
            texts_at(certificate, source)


class TestPrefixesAndPatterns:
    def test_prefix(self, leaf: Any) -> None:
        """The prefix is cut off; a value without it is refused."""
        rule = {"type": "hkid", "state": "HK", "from": "subject.serialNumber", "prefix": "HKID-"}
        good = leaf([("CN", "n"), ("serialNumber", "HKID-Z987654(6)")])
        assert identify(good, profile(rule), "t").identifiers[0].value == "Z9876546"
        for bad in ("Z987654(6)", "hkid-Z987654(6)", " HKID-Z987654(6)", "HKID"):
            refused("identity.prefix", leaf([("CN", "n"), ("serialNumber", bad)]), profile(rule), "t")

    @pytest.mark.parametrize("bad", [ID, f"SF{ID}.", f"xSF{ID}", f"SF{ID}\u3000", f"SF{ID[:-1]}"])
    def test_pattern(self, leaf: Any, bad: str) -> None:
        """A pattern matches the whole value or refuses it."""
        rule = CN_RULE | {"pattern": "SF([0-9]{17}[0-9X])"}
        assert identify(leaf([("CN", "n")], {EXT: f"SF{ID}".encode()}), profile(rule), "t").identifiers[0].value == ID
        refused("identity.prefix", leaf([("CN", "n")], {EXT: core.UTF8String(bad).dump()}), profile(rule), "t")

    def test_group_that_took_no_part(self, leaf: Any) -> None:
        """An optional group that matched nothing gives no number."""
        rule = CN_RULE | {"pattern": "none|([0-9]+)"}
        refused("identity.prefix", leaf([("CN", "n")], {EXT: b"none"}), profile(rule), "t")


class TestNobody:
    def test_nothing_there(self, leaf: Any) -> None:
        """Without an identifier there is no person, whatever the name says."""
        refused("identity.missing", leaf([("CN", "张明华")]), profile(CN_RULE), "t")
        refused("identity.missing", leaf([("CN", "张明华")], {EXT: ID.encode()}), profile(), "t")

    def test_two_values_in_one_place(self, leaf: Any) -> None:
        """Two different numbers in one place refuse; the same number twice is one."""
        rule = {"type": "cn-id", "state": "CN", "from": "subject.serialNumber"}
        names = [("CN", "n"), ("serialNumber", ID)]
        refused("identity.ambiguous", leaf([*names, ("serialNumber", OTHER)]), profile(rule), "t")
        same = leaf([*names, ("serialNumber", f" {ID}")])
        assert len(identify(same, profile(rule), "t").identifiers) == 1

    def test_two_places_that_differ(self, leaf: Any) -> None:
        """Two places for one type must agree; one may be empty."""
        two = profile(CN_RULE, CN_RULE | {"from": f"extension:{EXT2}"})
        refused("identity.ambiguous", leaf([("CN", "n")], {EXT: ID.encode(), EXT2: OTHER.encode()}), two, "t")
        for extensions in ({EXT: ID.encode(), EXT2: ID.encode()}, {EXT2: ID.encode()}):
            assert len(identify(leaf([("CN", "n")], extensions), two, "t").identifiers) == 1

    def test_second_value_broken(self, leaf: Any) -> None:
        """A right number does not excuse a broken one beside it."""
        two = profile(CN_RULE, CN_RULE | {"from": f"extension:{EXT2}"})
        bad = leaf([("CN", "n")], {EXT: ID.encode(), EXT2: (ID[:-1] + "3").encode()})
        refused("identity.check_digit", bad, two, "t")

    def test_two_names(self, leaf: Any) -> None:
        """Two different names refuse."""
        refused("identity.ambiguous", leaf([("CN", "a"), ("CN", "b")], {EXT: ID.encode()}), profile(CN_RULE), "t")

    def test_type_it_may_not_assert(self, leaf: Any) -> None:
        """A CA that may not assert a type names nobody by it, even when its profile slipped through unchecked."""
        unchecked = profile(CN_RULE).model_copy(update={"asserts": (IdentifierType.HKID,)})
        refused("identity.not_allowed_to_assert", leaf([("CN", "n")], {EXT: ID.encode()}), unchecked, "t")
        organisation = profile(CN_RULE, organisation=ORG_RULE).model_copy(update={"asserts": (IdentifierType.CN_ID,)})
        both = leaf([("CN", "n"), ("O", "o")], {EXT: ID.encode(), ORG: USCC.encode()})
        refused("identity.not_allowed_to_assert", both, organisation, "t")

    def test_wrong_profiles(self, leaf: Any) -> None:
        """An unknown type, an organisation's code as a human's, and the reverse are refused."""
        certificate = leaf([("CN", "n"), ("O", "o")], {EXT: ID.encode(), ORG: USCC.encode()})
        refused("identity.profile", certificate, profile(CN_RULE), "other")
        refused("identity.profile", certificate, profile(ORG_RULE["identifier"]), "t")  # type: ignore[arg-type]
        refused("identity.profile", certificate, profile(CN_RULE, organisation=ORG_RULE | {"identifier": CN_RULE}), "t")

    def test_too_many_values(self, leaf: Any) -> None:
        """A place stuffed with values is refused before they are compared."""
        names = [("CN", "n"), *[("OU", str(number)) for number in range(17)]]
        refused("identity.encoding", leaf(names), profile(CN_RULE | {"from": "subject.OU"}), "t")


class TestCapacities:
    OPERATOR: Callable[..., Profile] = staticmethod(
        lambda *rules, capacities: profile(*rules, kind="organisation", organisation=ORG_RULE, capacities=capacities)
    )

    def test_operator_who_is_a_citizen(self, leaf: Any) -> None:
        """One human, two capacities: the organisation counts for the operator, never for the citizen (R20)."""
        certificate = leaf([("CN", "林"), ("O", "广东示例科技有限公司")], {EXT: ID.encode(), ORG: USCC.encode()})
        identity = identify(certificate, self.OPERATOR(CN_RULE, capacities=["operator", "citizen"]), "t")
        assert identity.capacities == (Capacity.OPERATOR, Capacity.CITIZEN)
        assert identity.organisation is not None
        assert identity.organisation.name == "广东示例科技有限公司"
        human, organisation = identity.identifiers[0], identity.organisation.identifier
        assert acting(identity, Capacity.CITIZEN) == (human, None)
        assert acting(identity, Capacity.OPERATOR) == (human, organisation)
        with pytest.raises(IdentityError, match=r"identity\.capacity"):
            acting(identity, Capacity.OFFICER)

    def test_organisation_alone(self, leaf: Any) -> None:
        """A certificate that names no human acts as its organisation only."""
        identity = identify(leaf([("O", "o")], {ORG: USCC.encode()}), self.OPERATOR(capacities=["operator"]), "t")
        assert identity.identifiers == ()
        assert identity.organisation is not None
        assert acting(identity, Capacity.OPERATOR) == (identity.organisation.identifier,) * 2

    def test_organisation_alone_is_no_citizen(self, leaf: Any) -> None:
        """A certificate without a human's number never makes a citizen or an officer (nor a web server's)."""
        certificate = leaf([("CN", "www.example.invalid"), ("O", "o")], {ORG: USCC.encode()})
        for capacities in (["citizen"], ["operator", "citizen"], ["officer"]):
            refused("identity.missing", certificate, self.OPERATOR(capacities=capacities), "t")
        refused("identity.missing", certificate, self.OPERATOR(CN_RULE, capacities=["operator"]), "t")

    @pytest.mark.parametrize(
        ("subject", "extensions"),
        [([("CN", "n")], {ORG: USCC.encode()}), ([("CN", "n"), ("O", "o")], {}), ([("CN", "n")], {})],
    )
    def test_operator_without_organisation(self, leaf: Any, subject: Any, extensions: Any) -> None:
        """An operator needs the organisation's name and code."""
        certificate = leaf(subject, extensions | {EXT: ID.encode()})
        refused("identity.organisation", certificate, self.OPERATOR(CN_RULE, capacities=["operator"]), "t")
        without = profile(CN_RULE, kind="organisation", capacities=["operator"])
        refused("identity.organisation", certificate, without, "t")


def test_strongest_first(leaf: Any) -> None:
    """Identifiers come in the order of strength, whatever the profile's order: the first makes the person."""
    rules = [
        {"type": "private", "state": "CN", "from": "subject.OU"},
        {"type": "passport", "state": "CN", "from": "subject.serialNumber"},
        CN_RULE,
    ]
    certificate = leaf([("CN", "n"), ("OU", "7"), ("serialNumber", "E12345678")], {EXT: ID.encode()})
    identity = identify(certificate, profile(*rules), "t")
    assert [found.type for found in identity.identifiers] == ["cn-id", "passport", "private"]


def test_private_numbers_belong_to_their_ca(leaf: Any) -> None:
    """The same private number from two accreditations is two people; the accreditation outlives the profile's id."""
    rule = {"type": "private", "state": "HK", "from": "subject.OU"}
    certificate = leaf([("CN", "n"), ("OU", "0012345678")])
    one = identify(certificate, profile(rule), "t").identifiers[0]
    other = identify(certificate, profile(rule).model_copy(update={"accreditation": "acc-2"}), "t").identifiers[0]
    renamed = identify(certificate, profile(rule).model_copy(update={"id": "new"}), "t").identifiers[0]
    assert one.value == "acc-1:0012345678"
    assert one != other
    assert one == renamed
