"""What a hall must withstand in a sign-in: certificates, headers and challenges.

Each refusal has a page or an answer with a stable code, a line in the operator's log that says not who, and leaves no
session behind (`witness.refusal`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import quote, urlsplit

import pytest

from ca_bridge.ceremony import token
from ca_bridge.ceremony.transaction import peek
from ca_bridge.store import Box, Store, open_store
from ca_bridge.types import utc_now
from demo.browser import Browser
from demo.personas import persona
from demo.stack import Demo
from tests.live import raw
from tests.live.ceremony import begin, begin_in, button, sign
from tests.live.witness import assert_refused, codes, refusal, sids

pytestmark = pytest.mark.live
ZHANG, LI = persona("gd-zhang"), persona("gz-li")
HEADERS = ("X-Crosshall-Channel", "X-Crosshall-Client-Cert", "X-Crosshall-Client-Verify")


@pytest.fixture(name="store")
def _store(demo: Demo) -> Iterator[Store]:
    """The bridge's own store, opened by the test."""
    store = open_store(demo.settings.database.url, Box.from_file(demo.settings.bridge.keys / "attributes"))
    yield store
    store.close()


def certificate_host(demo: Demo) -> str:
    """A certificate host's name that was never used."""
    return demo.addresses.certificate_host.replace("*", "abcdefghijklmnopqrstuvwxyz").rpartition(":")[0]


def forged(demo: Demo, channel: str = "") -> dict[str, str]:
    """The three headers as nginx would set them, with Zhang's certificate."""
    pem = quote(ZHANG.files(demo.pki.folder).certificate.read_text(), safe="")
    return dict(zip(HEADERS, (channel, pem, "SUCCESS"), strict=True))


# ---- certificates and headers


def test_no_certificate(demo: Demo) -> None:
    """A browser without a certificate is told so by the bridge, not by nginx, and can go on another way."""
    here = begin_in(demo, Browser(demo.pki.tls_ca))
    with refusal(demo, "ceremony.no_certificate"):
        page = here.certificate_page()
    assert_refused(page, "ceremony.no_certificate")
    assert here.browser.get(here.address()).status == 200


@pytest.mark.parametrize("name", ["hall", "sso", "police"])
def test_forged_header_on_other_hosts(demo: Demo, name: str) -> None:
    """Headers that only the certificate host may set are cleared on every other host: nothing takes them for real."""
    here = begin_in(demo, Browser(demo.pki.tls_ca))
    before = sids(demo)
    base = demo.addresses.url(name)
    page = here.browser.once("GET", f"{base}/c/{here.transaction}", None, forged(demo, "x" * 43))
    assert page.status == 404
    back = here.browser.once("GET", here.address("/return?code=" + "A" * 43), None, forged(demo))
    assert_refused(back, "ceremony.code")
    assert sids(demo) == before


def test_forged_header_on_the_certificate_host(demo: Demo) -> None:
    """The certificate host overwrites what a client sends: a pasted certificate is no certificate."""
    here = begin_in(demo, Browser(demo.pki.tls_ca))
    url = f"https://{certificate_host(demo)}:{demo.addresses.port}/c/{here.transaction}"
    with refusal(demo, "ceremony.no_certificate"):
        page = here.browser.once("GET", url, None, forged(demo))
    assert_refused(page, "ceremony.no_certificate")


@pytest.mark.parametrize("channel", ["", "x" * 43, "wrong"])
def test_forged_header_at_the_socket(demo: Demo, channel: str) -> None:
    """Straight to the bridge's socket, a certificate without nginx's secret is refused as a fault of the channel."""
    here = begin_in(demo, Browser(demo.pki.tls_ca))
    url = f"https://{certificate_host(demo)}:{demo.addresses.port}/c/{here.transaction}"
    with refusal(demo, "ceremony.channel"):
        page = raw.ask_bridge(demo.folder.socket, url, forged(demo, channel))
    assert page.status >= 400
    assert_refused(page, "ceremony.channel")


_HALF = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def _broken(pem: str) -> str:
    """The PEM with one byte of its DER cut off."""
    lines = pem.strip().splitlines()
    return "\n".join([lines[0], *lines[2:-1], lines[-1]]) + "\n"


@pytest.mark.parametrize(
    ("spoil", "area"),
    [
        (lambda pem: pem + pem, "ceremony.two_certificates"),
        (lambda pem: pem.replace("-----BEGIN CERTIFICATE-----", ""), "ceremony.certificate_form"),
        (lambda pem: pem.replace("A", "!", 3), "ceremony.certificate_form"),
        (lambda pem: "\x00\xff" * 40, "ceremony.certificate_form"),
        (lambda pem: pem + "x" * 24_600, "ceremony.certificate_size"),
        (_broken, "asn1."),
        (lambda pem: _HALF, "asn1."),
    ],
    ids=["two", "no armour", "not base64", "bytes", "too long", "broken DER", "cut DER"],
)
def test_rubbish_in_the_header(demo: Demo, spoil: Callable[[str], str], area: str) -> None:
    """Whatever nginx might hand over that is not one whole certificate is refused by its own code, never a fault."""
    here = begin_in(demo, Browser(demo.pki.tls_ca))
    url = f"https://{certificate_host(demo)}:{demo.addresses.port}/c/{here.transaction}"
    secret = demo.settings.bridge.channel_secret_file.read_text().strip()
    pem = spoil(ZHANG.files(demo.pki.folder).certificate.read_text())
    before = sids(demo)
    page = raw.ask_bridge(demo.folder.socket, url, {**forged(demo, secret), HEADERS[1]: quote(pem, safe="")})
    assert page.status == 400
    assert [code for code in codes(page) if code.startswith(area)] == list(codes(page))
    assert sids(demo) == before


def test_a_chain_of_two_certificates(demo: Demo) -> None:
    """A client that sends its CA's certificate as well is judged by its leaf: nothing else of the chain arrives."""
    files = ZHANG.files(demo.pki.folder)
    browser = Browser(demo.pki.tls_ca, (files.chain, files.key))
    here = begin_in(demo, browser)
    there = here.certificate_page()
    assert ZHANG.name in there.text
    assert urlsplit(browser.submit(there, button(there)).url).hostname == demo.addresses.host("police")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_resumed_session(demo: Demo, version: str) -> None:
    """A TLS session of a connection with a certificate cannot be taken up again without it, by ticket or by ID.

    OpenSSL hands out tickets in TLS 1.3 whatever nginx is told: what counts is that none is taken.
    """
    here = begin(demo, ZHANG)
    files, host = ZHANG.files(demo.pki.folder), certificate_host(demo)
    request = f"GET /c/{here.transaction} HTTP/1.1\r\nHost: {host}:{demo.addresses.port}\r\nConnection: close\r\n\r\n"
    saved = demo.pki.folder / f"session{version}.pem"
    options = (version, "-sess_out", saved)
    first = raw.openssl(demo, host, request, *options, "-cert", files.certificate, "-key", files.key)
    assert ZHANG.name in first
    offered = ("-sess_in", saved) if saved.exists() else ()
    assert offered or version == "-tls1_2"  # there is no session ID to offer: nothing was handed out at all
    with refusal(demo, "ceremony.no_certificate"):
        second = raw.openssl(demo, host, request, version, *offered)
    assert "\nReused," not in second
    assert "ceremony.no_certificate" in second
    assert ZHANG.name not in second


def test_server_name_and_host_differ(demo: Demo) -> None:
    """A request for the certificate host on a connection to another name is refused: its certificate was not asked."""
    here, hall = begin(demo, ZHANG), demo.addresses.host("hall")
    files, there = ZHANG.files(demo.pki.folder), certificate_host(demo)
    request = "GET /c/{} HTTP/1.1\r\nHost: {}:{}\r\nConnection: close\r\n\r\n"
    asked = request.format(here.transaction, there, demo.addresses.port).encode()
    for name in (hall, demo.addresses.host("police")):
        status, text = raw.ask_front(demo, name, asked, certificate=(files.certificate, files.key))
        assert status == 421, text
        assert "upstream.refused" in text
        assert ZHANG.name not in text
    # the other way round, the certificate of the connection does not reach the hall
    asked = request.format(here.transaction, hall, demo.addresses.port).encode()
    status, text = raw.ask_front(demo, there, asked, certificate=(files.certificate, files.key))
    assert status in (404, 421), text
    assert ZHANG.name not in text


@pytest.mark.parametrize("name", ["hall", "sso", "police", "cert"])
def test_a_header_of_a_megabyte(demo: Demo, name: str) -> None:
    """A header of 1 MB is refused on every host with our own page; a body of 1 MB as well."""
    host = certificate_host(demo) if name == "cert" else demo.addresses.host(name)
    start = f"POST /authorize HTTP/1.1\r\nHost: {host}:{demo.addresses.port}\r\nConnection: close\r\n"
    status, text = raw.ask_front(demo, host, f"{start}X-Long: {'a' * 1_000_000}\r\n\r\n".encode())
    assert (status, "upstream.refused" in text) == (400, True), text[:300]
    length = f"{start}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000000\r\n\r\n"
    status, text = raw.ask_front(demo, host, length.encode())
    assert (status, "upstream.refused" in text) == (413, True), text[:300]


def test_a_header_of_a_megabyte_at_the_socket(demo: Demo) -> None:
    """Past nginx, the bridge refuses a header of 1 MB too, and goes on serving."""
    hall = demo.addresses.url("hall")
    try:
        page = raw.ask_bridge(demo.folder.socket, f"{hall}/", {"X-Long": "a" * 1_000_000})
    except (ConnectionResetError, BrokenPipeError):
        pass  # it stopped reading
    else:
        assert 400 <= page.status < 500
    assert raw.ask_bridge(demo.folder.socket, f"{hall}/health").status == 200


# ---- the token challenge


def test_a_good_proof_signs_in(demo: Demo) -> None:
    """The refusals below are worth something: the same steps done rightly end at the window."""
    for who, algorithm in ((ZHANG, "RS256"), (LI, "ES256")):
        here = begin(demo, who)
        answer = here.prove(sign(demo, who, here.challenge(), algorithm))
        assert answer.status == 200, answer.text
        page = here.browser.get(_continue(answer.text))
        assert urlsplit(page.url).hostname == demo.addresses.host("police"), page.url


def _continue(text: str) -> str:
    return text.split('"continue":')[1].split('"')[1]


def test_a_challenge_replayed(demo: Demo) -> None:
    """A challenge is good for one proof, right or wrong; so is the code that a right one yields."""
    here = begin(demo, ZHANG)
    proof = sign(demo, ZHANG, here.challenge(), "RS256")
    onward = _continue(here.prove(proof).text)
    with refusal(demo, "ceremony.challenge"):
        again = here.prove(proof)
    assert_refused(again, "ceremony.challenge")
    assert here.browser.once("GET", onward).headers.get("Refresh")
    with refusal(demo, "ceremony.code"):
        other = begin(demo, ZHANG)
        assert_refused(other.browser.get(onward.replace(here.transaction, other.transaction)), "ceremony.code")


def test_a_wrong_proof_uses_the_challenge_up(demo: Demo) -> None:
    """After a wrong proof the right one is too late: a challenge cannot be tried out."""
    here = begin(demo, ZHANG)
    asked = here.challenge()
    assert here.prove(sign(demo, ZHANG, asked, "RS256", nonce="x" * 43)).status >= 400
    with refusal(demo, "ceremony.challenge"):
        assert_refused(here.prove(sign(demo, ZHANG, asked, "RS256")), "ceremony.challenge")


def test_a_challenge_of_61_seconds(demo: Demo, store: Store) -> None:
    """A challenge made 61 s ago, as the hall keeps it, is over; a proof over a later end does not fit it."""
    here = begin(demo, ZHANG)
    now = utc_now()
    with refusal(demo, "ceremony.challenge"):
        asked = token.ask(
            store, peek(store, here.transaction, now), demo.addresses.url("hall"), now - timedelta(seconds=61)
        )
        old = _as_sent(asked)
        assert_refused(here.prove(sign(demo, ZHANG, old, "RS256")), "ceremony.challenge")
    with refusal(demo, "crypto.challenge_expired"):  # kept by mistake: the end inside it still counts
        value = {"origin": asked.origin, "nonce": asked.nonce, "expires": asked.expires.isoformat()}
        store.put("challenge", asked.transaction, value, now + timedelta(seconds=60))
        assert_refused(here.prove(sign(demo, ZHANG, old, "RS256")), "crypto.challenge_expired")
    with refusal(demo, "crypto.signature"):
        later = utc_now().replace(microsecond=0) + timedelta(seconds=600)
        assert_refused(here.prove(sign(demo, ZHANG, here.challenge(), "RS256", expires=later)), "crypto.signature")


def _as_sent(asked: token.Asked) -> dict[str, str]:
    names = ("origin", "transaction", "nonce")
    return {**{name: getattr(asked, name) for name in names}, "expires": asked.expires.isoformat()}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"origin": "https://hall.evil.localhost"}, "crypto.signature"),
        ({"transaction": "t" * 43}, "crypto.signature"),
        ({"nonce": "n" * 43}, "crypto.signature"),
        ({"key": "0" * 64}, "crypto.signature"),
        ({"signer": persona("gd-zhang-file")}, "crypto.signature"),
    ],
    ids=["origin", "transaction", "nonce", "key", "signed by another"],
)
def test_a_proof_of_something_else(demo: Demo, changed: dict[str, object], code: str) -> None:
    """What was signed for another origin, transaction, nonce or key, or by another key, proves nothing here."""
    here = begin(demo, ZHANG)
    with refusal(demo, code):
        answer = here.prove(sign(demo, ZHANG, here.challenge(), "RS256", **changed))
    assert_refused(answer, code)


@pytest.mark.parametrize("algorithm", ["ES256", "SM2", "none", "HS256", "RS1", "rs256"])
def test_a_wrong_algorithm(demo: Demo, algorithm: str) -> None:
    """The algorithm must be one of ours and fit the key: nothing is guessed, nothing falls back."""
    here = begin(demo, ZHANG)
    proof = sign(demo, ZHANG, here.challenge(), "RS256")
    with refusal(demo, "crypto.challenge_algorithm"):
        answer = here.prove({**proof, "algorithm": algorithm})
    assert_refused(answer, "crypto.challenge_algorithm")


@pytest.mark.parametrize("field", ["certificate", "algorithm", "signature"])
@pytest.mark.parametrize("value", ["", "\x00", "🙂" * 40, "A" * 20_000, None, 7, ["x"]], ids=lambda v: repr(v)[:8])
def test_a_broken_proof(demo: Demo, field: str, value: object) -> None:
    """A proof with a field absent, empty, too long or of another kind has a typed answer of 4xx, never a fault."""
    here = begin(demo, ZHANG)
    proof: dict[str, object] = dict(sign(demo, ZHANG, here.challenge(), "RS256"))
    before = sids(demo)
    answer = here.post("/proof", {**proof, field: value})
    assert 400 <= answer.status < 500, answer.text
    assert len(codes(answer)) == 1
    assert sids(demo) == before
