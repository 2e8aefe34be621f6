"""CMS proofs: both forms and every kind of key are accepted; whatever is bent about them is refused with a code."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import cms as asn1_cms
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from ca_bridge.asn1.certificate import Certificate, parse_certificate
from ca_bridge.crypto import challenge as challenges
from ca_bridge.crypto import cms, sm2
from ca_bridge.crypto import der as writer
from ca_bridge.crypto.challenge import Challenge
from ca_bridge.crypto.cms import Form
from ca_bridge.errors import CryptoError
from demo.pki import keys
from demo.pki.certificates import Template, extended_usage, issue, pem

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOLDER_ID = "holder-of-demo"
KINDS = {"RS256": "rsa-2048", "PS256": "rsa-2048", "ES256": "ecdsa-p256", "ES384": "ecdsa-p384", "SM2": "sm2"}
NATIONAL_DATA = "1.2.156.10197.6.1.4.2.1"
Tree = list  # [tag, octets or list of trees]


@dataclass(frozen=True)
class Holder:
    """A person's key with its certificate."""

    key: keys.Key
    leaf: Certificate

    def sign(self, algorithm: str) -> Callable[[bytes], bytes]:
        """The key's signature by one of `challenge.SCHEMES`."""

        def made(message: bytes) -> bytes:
            private = self.key.private
            if isinstance(private, sm2.PrivateKey):
                return sm2.sign(private, message, HOLDER_ID)
            if isinstance(private, rsa.RSAPrivateKey):
                mask = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
                return private.sign(message, mask if algorithm == "PS256" else padding.PKCS1v15(), hashes.SHA256())
            return private.sign(message, ec.ECDSA(hashes.SHA384() if algorithm == "ES384" else hashes.SHA256()))

        return made


def certify(key: keys.Key, serial: int = 7) -> Certificate:
    """A certificate for a key, by an issuer that nobody asks here."""
    issuer = keys.generate("ecdsa-p256")
    template = Template(
        [["C", "CN"], ["CN", "holder"]],
        [["C", "CN"], ["CN", "issuer"]],
        key.spki,
        NOW - timedelta(days=1),
        NOW + timedelta(days=1),
        (extended_usage(["client_auth"]),),
    )
    return parse_certificate(issue(template, issuer, serial))


@pytest.fixture(scope="module")
def holders() -> dict[str, Holder]:
    """A holder for each kind of key."""
    made = {kind: keys.generate(kind) for kind in set(KINDS.values())}
    return {kind: Holder(key, certify(key)) for kind, key in made.items()}


def asked(leaf: Certificate) -> Challenge:
    """A challenge for the leaf's key."""
    return Challenge(
        "https://hall.gd.localhost:8443", "t" * 24, "n" * 24, leaf.spki_sha256, NOW + timedelta(seconds=50)
    )


def made(holder: Holder, algorithm: str, form: Form = Form.IETF) -> bytes:
    """A good CMS proof."""
    return cms.build(asked(holder.leaf), holder.leaf, algorithm, holder.sign(algorithm), form)


def check(holder: Holder, data: bytes, **changes: object) -> None:
    """`cms.check` with what belongs to the holder."""
    wanted = {"challenge": asked(holder.leaf), "leaf": holder.leaf, "sm2_id": HOLDER_ID, "now": NOW, **changes}
    now = wanted.pop("now")
    cms.check(wanted["challenge"], wanted["leaf"], data, wanted["sm2_id"], now=now)  # type: ignore[arg-type]


def refused(holder: Holder, data: bytes, **changes: object) -> str:
    """The code with which a proof is refused."""
    with pytest.raises(CryptoError) as caught:
        check(holder, data, **changes)
    return caught.value.code


def parse(data: bytes) -> Tree:
    """A DER value as a tree."""
    tag, content, end = read(data, 0)
    assert end == len(data)
    return tree(tag, content)


def read(data: bytes, offset: int) -> tuple[int, bytes, int]:
    """One value: tag, content, end."""
    size, start = data[offset + 1], offset + 2
    if size & 0x80:
        count = size & 0x7F
        size, start = int.from_bytes(data[start : start + count], "big"), start + count
    return data[offset], data[start : start + size], start + size


def tree(tag: int, content: bytes) -> Tree:
    """A value taken apart when it is constructed."""
    if not tag & 0x20:
        return [tag, content]
    children, offset = [], 0
    while offset < len(content):
        found, inner, offset = read(content, offset)
        children.append(tree(found, inner))
    return [tag, children]


def dump(node: Tree) -> bytes:
    """The tree as DER."""
    tag, body = node
    return writer.element(tag, body if isinstance(body, bytes) else b"".join(map(dump, body)))


def signed_data(root: Tree) -> Tree:
    """SignedData inside ContentInfo."""
    return root[1][1][1][0]


def signer(root: Tree) -> Tree:
    """The first SignerInfo."""
    return signed_data(root)[1][-1][1][0]


def bent(holder: Holder, change: Callable[[Tree], object], algorithm: str = "ES256", form: Form = Form.IETF) -> bytes:
    """A good proof, changed, and then signed anew by the holder: the change alone is what is wrong."""
    root = parse(made(holder, algorithm, form))
    change(root)
    info = signer(root)[1]
    attributes = next((part for part in info if part[0] == 0xA0), None)
    info[-1][1] = holder.sign(algorithm)(dump([0x31, attributes[1]]) if attributes else cms.content(asked(holder.leaf)))
    return dump(root)


@pytest.mark.parametrize("algorithm", KINDS)
def test_every_kind_of_key_signs_in_ietf_form(holders: dict[str, Holder], algorithm: str) -> None:
    """RSA (both paddings), ECDSA and SM2; another parser reads the same structure."""
    holder = holders[KINDS[algorithm]]
    data = made(holder, algorithm)
    check(holder, data)
    other = asn1_cms.ContentInfo.load(data, strict=True)
    assert other["content_type"].native == "signed_data"
    assert other["content"]["encap_content_info"]["content_type"].dotted == cms.CONTENT_TYPE
    assert other["content"]["encap_content_info"]["content"].native == cms.content(asked(holder.leaf))


def test_sm2_signs_in_national_form(holders: dict[str, Holder]) -> None:
    """GB/T 35275: its own type of structure, version 1, SM2 with SM3, under either OID of the algorithm."""
    holder = holders["sm2"]
    data = made(holder, "SM2", Form.NATIONAL)
    assert cms.verify(data, holder.leaf, cms.content(asked(holder.leaf)), HOLDER_ID) is Form.NATIONAL

    def older(root: Tree) -> None:
        signer(root)[1][4] = parse(bytes.fromhex("300b06092a811ccf55018 22d01".replace(" ", "")))

    check(holder, bent(holder, older, "SM2", Form.NATIONAL))


@pytest.mark.parametrize("form", list(Form))
def test_raw_sm2_signatures_are_read(holders: dict[str, Holder], form: Form) -> None:
    """r‖s of 64 octets, as tokens of GM/T 0016 give it; 63 and 65 octets are no form at all."""
    holder = holders["sm2"]
    root = parse(made(holder, "SM2", form))
    raw = sm2.to_raw(signer(root)[1][-1][1])
    for octets, code in ((raw, ""), (raw[1:], "crypto.signature_form"), (raw + b"\0", "crypto.signature_form")):
        signer(root)[1][-1][1] = octets
        if code:
            assert refused(holder, dump(root)) == code
        else:
            check(holder, dump(root))
    signer(root)[1][-1][1] = raw[32:] + raw[:32]
    assert refused(holder, dump(root)) == "crypto.signature"
    signer(root)[1][-1][1] = bytes(64)
    assert refused(holder, dump(root)) == "crypto.signature_form"


def test_the_holders_distinguishing_id_counts(holders: dict[str, Holder]) -> None:
    """An SM2 signature under another ID is another signature."""
    data = made(holders["sm2"], "SM2")
    assert refused(holders["sm2"], data, sm2_id=sm2.DEFAULT_ID) == "crypto.signature"
    assert refused(holders["sm2"], data, sm2_id="") == "crypto.sm2_id"


def test_what_is_signed_can_be_read_by_a_person() -> None:
    """The notice stands first, and the whole can be neither attributes (0x31) nor a bare challenge."""
    text = cms.content(Challenge("https://hall", "t" * 22, "n" * 22, "0" * 64, NOW))
    assert text.startswith(b"Crosshall sign-in only.")
    assert "仅用于" in text.decode("utf-8", errors="replace")
    assert text.endswith(challenges.message(Challenge("https://hall", "t" * 22, "n" * 22, "0" * 64, NOW)))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"now": NOW + timedelta(seconds=51)}, "crypto.challenge_expired"),
        ({"now": NOW - timedelta(seconds=51)}, "crypto.challenge_expired"),
    ],
)
def test_in_time_only(holders: dict[str, Holder], changes: dict[str, object], code: str) -> None:
    """60 seconds, as for every other proof."""
    assert refused(holders["ecdsa-p256"], made(holders["ecdsa-p256"], "ES256"), **changes) == code


@pytest.mark.parametrize("field", ["origin", "transaction", "nonce"])
def test_another_challenge_is_refused(holders: dict[str, Holder], field: str) -> None:
    """A proof for one hall, transaction or nonce is none for another; nor one for another key."""
    holder = holders["ecdsa-p256"]
    other = {"origin": "https://evil.example", "transaction": "x" * 24, "nonce": "x" * 24}[field]
    data = made(holder, "ES256")
    assert refused(holder, data, challenge=replace(asked(holder.leaf), **{field: other})) == "crypto.cms_content"
    wrong = replace(asked(holder.leaf), key="0" * 64)
    assert refused(holder, data, challenge=wrong) == "crypto.challenge_key"


def no_attributes(root: Tree) -> None:
    """Take the signed attributes out."""
    signer(root)[1].pop(3)


def drop(position: int) -> Callable[[Tree], None]:
    """Take one signed attribute out."""
    return lambda root: signer(root)[1][3][1].pop(position)


def set_content_type(oid: str, *, inside: bool, attribute: bool) -> Callable[[Tree], None]:
    """Another content type."""
    encoded = [0x06, asn1_cms.ContentType(oid).dump()[2:]]

    def change(root: Tree) -> None:
        if inside:
            signed_data(root)[1][2][1][0] = encoded
        if attribute:
            signer(root)[1][3][1][0][1][1][1][0] = encoded

    return change


def wrong_digest(root: Tree) -> None:
    """Another message digest, signed."""
    signer(root)[1][3][1][1][1][1][1][0][1] = bytes(32)


def wrong_content(root: Tree) -> None:
    """Other content with its right digest, signed."""
    body = b"I owe you a house."
    digest = hashes.Hash(hashes.SHA256())
    digest.update(body)
    signed_data(root)[1][2][1][1][1][0][1] = body
    signer(root)[1][3][1][1][1][1][1][0][1] = digest.finalize()


def two_signers(root: Tree) -> None:
    """The same signer twice."""
    signed_data(root)[1][-1][1].append(signer(root))


def no_signer(root: Tree) -> None:
    """An empty set of signers, after a signer for the helper's sake."""
    signed_data(root)[1][-1] = [0x31, []]


def add(attribute: Tree) -> Callable[[Tree], None]:
    """One more signed attribute, all in order."""

    def change(root: Tree) -> None:
        rows = [*signer(root)[1][3][1], attribute]
        signer(root)[1][3][1] = sorted(rows, key=dump)

    return change


def attribute(oid: str, value: Tree) -> Tree:
    """An attribute with one value."""
    return [0x30, [[0x06, asn1_cms.CMSAttributeType(oid).dump()[2:]], [0x31, [value]]]]


UNKNOWN = attribute("1.2.840.113549.1.9.99", [0x05, b""])
TIME = attribute("1.2.840.113549.1.9.5", [0x17, b"260601120000Z"])
SIGNED: list[tuple[str, Callable[[Tree], object], str]] = [
    ("two signers", two_signers, "crypto.cms_signer"),
    ("no signed attributes", no_attributes, "crypto.cms"),
    ("no content type attribute", drop(0), "crypto.cms"),
    ("no message digest", drop(1), "crypto.cms"),
    ("wrong digest", wrong_digest, "crypto.cms_content"),
    ("another content", wrong_content, "crypto.cms_content"),
    ("id-data inside", set_content_type("1.2.840.113549.1.7.1", inside=True, attribute=False), "crypto.cms_content"),
    ("id-data signed", set_content_type("1.2.840.113549.1.7.1", inside=False, attribute=True), "crypto.cms_content"),
    ("id-data both", set_content_type("1.2.840.113549.1.7.1", inside=True, attribute=True), "crypto.cms_content"),
    ("national data", set_content_type(NATIONAL_DATA, inside=True, attribute=True), "crypto.cms_content"),
    ("attributes out of order", lambda r: signer(r)[1][3][1].reverse(), "crypto.cms"),
    ("attribute twice", lambda r: signer(r)[1][3][1].insert(0, signer(r)[1][3][1][0]), "crypto.cms"),
    ("two values", lambda r: signer(r)[1][3][1][1][1][1][1].append([0x04, bytes(32)]), "crypto.cms"),
    ("no value", lambda r: signer(r)[1][3][1][1][1][1][1].clear(), "crypto.cms"),
    ("unknown attribute", add(UNKNOWN), "crypto.cms"),
    ("unsigned attributes", lambda r: signer(r)[1].insert(6, [0xA1, [UNKNOWN]]), "crypto.cms"),
    ("CRLs", lambda r: signed_data(r)[1].insert(4, [0xA1, [[0x30, []]]]), "crypto.cms"),
    ("no certificates in the set", lambda r: signed_data(r)[1][3][1].clear(), "crypto.cms"),
    ("the leaf twice", lambda r: signed_data(r)[1][3][1].append(signed_data(r)[1][3][1][0]), "crypto.cms_signer"),
    ("SignedData version", lambda r: signed_data(r)[1].__setitem__(0, [2, b"\1"]), "crypto.cms"),
    ("SignerInfo version 3", lambda r: signer(r)[1].__setitem__(0, [2, b"\3"]), "crypto.cms"),
    ("another serial", lambda r: signer(r)[1][1][1].__setitem__(1, [2, b"\x08"]), "crypto.cms_signer"),
    ("another issuer", lambda r: signer(r)[1][1][1].__setitem__(0, [0x30, []]), "crypto.cms_signer"),
    ("detached", lambda r: signed_data(r)[1][2][1].pop(1), "crypto.cms"),
    ("constructed octets", lambda r: signed_data(r)[1][2][1][1].__setitem__(1, [[0x24, []]]), "crypto.cms"),
    ("SHA-1", lambda r: signer(r)[1].__setitem__(2, parse(bytes.fromhex("300706052b0e03021a"))), "crypto.algorithm"),
    ("two digest algorithms", lambda r: signed_data(r)[1][1][1].append(signed_data(r)[1][1][1][0]), "crypto.cms"),
]


@pytest.mark.parametrize(("change", "code"), [row[1:] for row in SIGNED], ids=[row[0] for row in SIGNED])
def test_a_structure_that_is_bent_is_refused(
    holders: dict[str, Holder], change: Callable[[Tree], object], code: str
) -> None:
    """Even when the holder signed it so: each rule refuses by itself, not by a wrong signature."""
    assert refused(holders["ecdsa-p256"], bent(holders["ecdsa-p256"], change)) == code


def test_a_signature_without_a_signer_is_refused(holders: dict[str, Holder]) -> None:
    """An empty set of signers proves nothing, however good the content."""
    root = parse(made(holders["ecdsa-p256"], "ES256"))
    no_signer(root)
    assert refused(holders["ecdsa-p256"], dump(root)) == "crypto.cms_signer"


def test_attributes_that_do_no_harm_are_taken(holders: dict[str, Holder]) -> None:
    """signingTime, which middleware adds; signing-certificate-v2, when it names the leaf."""
    holder = holders["ecdsa-p256"]
    check(holder, bent(holder, add(TIME)))

    def ess(digest: bytes) -> Tree:
        return attribute("1.2.840.113549.1.9.16.2.47", [0x30, [[0x30, [[0x30, [[0x04, digest]]]]]]])

    check(holder, bent(holder, add(ess(bytes.fromhex(holder.leaf.sha256)))))
    assert refused(holder, bent(holder, add(ess(bytes(32))))) == "crypto.cms_signer"
    empty = attribute("1.2.840.113549.1.9.16.2.47", [0x30, []])
    assert refused(holder, bent(holder, add(empty))) == "crypto.cms"


def test_a_swapped_certificate_is_refused(holders: dict[str, Holder]) -> None:
    """Another certificate inside, for the same key too; a chain beside the leaf is let be; none inside is enough."""
    holder = holders["ecdsa-p256"]
    twin = certify(holder.key, serial=8)
    same = certify(holder.key)  # issuer and serial alike, another issuer's key

    def inside(*certificates: Certificate) -> Callable[[Tree], None]:
        return lambda root: signed_data(root)[1].__setitem__(3, [0xA0, [parse(c.der) for c in certificates]])

    for other in (twin, same, holders["sm2"].leaf):
        assert refused(holder, bent(holder, inside(other))) == "crypto.cms_signer"
    assert refused(holder, made(holder, "ES256"), leaf=twin) == "crypto.cms_signer"
    check(holder, bent(holder, inside(holder.leaf, twin)))
    check(holder, bent(holder, lambda root: signed_data(root)[1].pop(3)))
    assert refused(holder, bent(holder, inside(holder.leaf, *[twin] * 8))) == "crypto.cms"


def test_another_key_did_not_sign(holders: dict[str, Holder]) -> None:
    """The holder's certificate with another key's signature."""
    holder = holders["ecdsa-p256"]
    thief = Holder(keys.generate("ecdsa-p256"), holder.leaf)
    assert refused(holder, made(thief, "ES256")) == "crypto.signature"


def test_algorithms_must_fit_key_digest_and_form(holders: dict[str, Holder]) -> None:
    """No mixing: ECDSA in national form, another hash than announced, an SM2 key with ECDSA's OID."""
    ecdsa, tongsuo = holders["ecdsa-p256"], holders["sm2"]

    def national(root: Tree) -> None:
        root[1][0] = [0x06, bytes.fromhex("2a811ccf55060104020 2".replace(" ", ""))]
        signed_data(root)[1][0] = [2, b"\1"]

    def algorithm(text: str) -> Callable[[Tree], None]:
        return lambda root: signer(root)[1].__setitem__(4, parse(bytes.fromhex(text)))

    assert refused(ecdsa, bent(ecdsa, national)) == "crypto.algorithm_key"
    assert refused(ecdsa, bent(ecdsa, algorithm("300a06082a8648ce3d040303"))) == "crypto.algorithm"
    assert refused(tongsuo, bent(tongsuo, algorithm("300a06082a8648ce3d040302"), "SM2")) == "crypto.algorithm_key"
    assert refused(ecdsa, bent(ecdsa, algorithm("300a06082a811ccf55018375"))) == "crypto.algorithm"
    with pytest.raises(CryptoError, match="challenge_algorithm"):
        made(ecdsa, "ES256", Form.NATIONAL)
    rsa_holder = holders["rsa-2048"]
    check(rsa_holder, bent(rsa_holder, algorithm("300d06092a864886f70d0101010500"), "RS256"))
    assert (
        refused(rsa_holder, bent(rsa_holder, algorithm("300b06092a864886f70d01010a"), "RS256")) == "crypto.parameters"
    )


def test_bytes_around_it_are_refused(holders: dict[str, Holder]) -> None:
    """Trailing bytes, BER's indefinite and long lengths, nothing, much too much."""
    holder = holders["ecdsa-p256"]
    data = made(holder, "ES256")
    inside = data[4:]
    wrong = [
        data + b"\0",
        data[:-1],
        b"",
        b"\x30\x80" + inside + b"\0\0",
        b"\x30\x83\x00" + data[2:],
        bytes(cms.MAX_OCTETS + 1),
        data + bytes(10_000_000),
        b"\x30" * 5000,
        b"-----BEGIN PKCS7-----",
    ]
    assert {refused(holder, other) for other in wrong} == {"crypto.cms"}


def test_every_truncation_and_every_changed_byte_is_refused(holders: dict[str, Holder]) -> None:
    """Cut or flipped anywhere, it is refused with a code; only bytes of no certificate's own meaning could differ."""
    holder = holders["ecdsa-p256"]
    data = made(holder, "ES256")
    for position in range(len(data)):
        assert refused(holder, data[:position]) == "crypto.cms"
        changed = bytearray(data)
        changed[position] ^= 0x01
        assert refused(holder, bytes(changed)).startswith("crypto.")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_noise_is_refused(noise: bytes) -> None:
    """Never another exception, whatever comes."""
    holder = NOISE
    assert refused(holder, noise).startswith("crypto.")


_KEY = keys.generate("ecdsa-p256")
NOISE = Holder(_KEY, certify(_KEY))


def openssl(folder: Path, *arguments: str) -> bytes:
    """A run of the machine's OpenSSL."""
    return subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60).stdout


@pytest.mark.parametrize(("kind", "algorithm"), [("ecdsa-p256", "ES256"), ("rsa-2048", "RS256")])
def test_openssl_reads_ours_and_we_read_openssls(
    holders: dict[str, Holder], tmp_path: Path, kind: str, algorithm: str
) -> None:
    """Two implementations agree on the structure, both ways."""
    holder = holders[kind]
    (tmp_path / "leaf.pem").write_text(pem(holder.leaf.der))
    (tmp_path / "key.pem").write_bytes(holder.key.pem())
    (tmp_path / "content").write_bytes(cms.content(asked(holder.leaf)))
    (tmp_path / "ours").write_bytes(made(holder, algorithm))
    read_back = openssl(tmp_path, "cms", "-verify", "-noverify", "-binary", "-inform", "DER", "-in", "ours")
    assert read_back == cms.content(asked(holder.leaf))
    openssl(
        tmp_path, "cms", "-sign", "-binary", "-nodetach", "-econtent_type", cms.CONTENT_TYPE, "-md", "sha256",
        "-in", "content", "-signer", "leaf.pem", "-inkey", "key.pem", "-outform", "DER", "-out", "theirs",
    )  # fmt: skip
    check(holder, (tmp_path / "theirs").read_bytes())
