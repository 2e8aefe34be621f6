"""Both ways through to a session, and every bad input on the way (issue 3; design §5)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ca_bridge.ceremony import transaction
from ca_bridge.types import Capacity, Way
from tests.unit.web.hall import CHANNEL, ISSUER, SIGNER, Authority, Hall, Held, code_of, session_of, sign

OTHER_HOST = f"https://{'b' * 26}.cert.hall.test:8443"


class TestTheTlsWay:
    """A certificate in the handshake, a click, a one-time code."""

    def test_ends_in_a_session_of_this_proof(self, hall: Hall, li: Held) -> None:
        """Level, way and time of the session are of this proof; the transaction is done."""
        browser = hall.browser()
        tx = browser.begin(level=3)
        page = browser.tls(tx.id, li)
        session = session_of(browser)
        assert page.status_code == 200
        assert page.headers["Refresh"] == f"0; url=/authorize/continue?tx={tx.id}"
        assert (session.level, session.way, session.capacity) == (3, Way.TLS, Capacity.CITIZEN)
        assert session.auth_time == hall.clock()
        assert set(session.subjects) == {"police"}
        done = transaction.finish(hall.services.store, tx.id, browser.cookie, hall.clock())
        assert done.sid == session.sid

    def test_showing_the_certificate_changes_nothing(self, hall: Hall, li: Held) -> None:
        """GET names the holder and issues no code; only the button acts."""
        browser = hall.browser()
        tx = browser.begin()
        page = browser.at_certificate_host(tx.id, li)
        assert "李示范" in page.text
        assert "code=" not in page.text
        assert hall.snapshots.judged == 0

    @pytest.mark.parametrize(
        ("certificate", "code"),
        [
            ("", "ceremony.no_certificate"),
            ("two", "ceremony.two_certificates"),
            ("joined", "ceremony.two_certificates"),
            ("-----BEGIN%20CERTIFICATE-----", "ceremony.certificate_form"),
            ("-----BEGIN%20CERTIFICATE-----%0AAAA%0A-----END%20CERTIFICATE-----", "ceremony.certificate_form"),
            ("-----BEGIN%20CERTIFICATE-----%0AMAMCAQE%3D%0A-----END%20CERTIFICATE-----", "asn1.certificate"),
            ("A" * 1024 * 1024, "ceremony.certificate_size"),
            ("%00%ff%fe", "ceremony.certificate_form"),
        ],
    )
    def test_refuses_what_is_not_one_certificate(self, hall: Hall, li: Held, certificate: str, code: str) -> None:
        """None, two, broken PEM, broken DER, a megabyte: each its own code, a page, and no fault."""
        header = {"two": li.header + li.header, "joined": f"{li.header},{li.header}"}.get(certificate, certificate)
        browser = hall.browser()
        page = browser.at_certificate_host(browser.begin().id, li, certificate=header)
        assert code_of(page.text) == code
        assert page.status_code in (400, 403, 500)

    @pytest.mark.parametrize("secret", ["", "wrong", CHANNEL[:-1], CHANNEL.upper()])
    def test_a_forged_header_straight_to_the_bridge(self, hall: Hall, li: Held, secret: str) -> None:
        """Without the channel's secret no header counts, whatever else is right."""
        browser = hall.browser()
        page = browser.at_certificate_host(browser.begin().id, li, headers={"X-Crosshall-Channel": secret})
        assert (page.status_code, code_of(page.text)) == (403, "ceremony.channel")

    @pytest.mark.parametrize(
        "host",
        [
            ISSUER,
            "https://cert.hall.test:8443",
            "https://short.cert.hall.test:8443",
            f"https://{'a' * 26}.cert.hall.test",
            f"https://{'a' * 26}.evil.cert.hall.test:8443",
            f"https://{'a' * 26}.cert.hall.test.evil:8443",
        ],
    )
    def test_only_at_the_certificate_host(self, hall: Hall, li: Held, host: str) -> None:
        """The same request under any other name is no page."""
        browser = hall.browser()
        page = browser.at_certificate_host(browser.begin().id, li, host=host)
        assert (page.status_code, code_of(page.text)) == (404, "ceremony.no_page")

    @pytest.mark.parametrize("path", ["/", "/signed-out", "/sign-in/{tx}", "/sign-in/{tx}/capacity"])
    def test_nothing_of_the_hall_at_the_certificate_host(self, hall: Hall, path: str) -> None:
        """A click there can touch nothing here."""
        browser = hall.browser()
        answer = browser.get(path.format(tx=browser.begin().id), base_url=OTHER_HOST)
        assert answer.status_code == 404

    @pytest.mark.parametrize("origin", ["", "null", ISSUER, OTHER_HOST, "https://evil.test"])
    def test_a_click_from_elsewhere_is_refused(self, hall: Hall, li: Held, origin: str) -> None:
        """The POST must come from this host's own page."""
        browser = hall.browser()
        answer = browser.click(browser.begin().id, li, origin=origin)
        assert (answer.status_code, code_of(answer.text)) == (403, "ceremony.forged")

    @pytest.mark.parametrize("spoil", ["no cookie", "no token", "token of another transaction"])
    def test_a_click_without_our_page_is_refused(self, hall: Hall, li: Held, spoil: str) -> None:
        """Cookie and token belong together, and to one transaction."""
        browser = hall.browser()
        tx, other = browser.begin(), browser.begin()
        page = browser.at_certificate_host((other if "another" in spoil else tx).id, li)
        token = re.search(r'name="csrf" value="([^"]+)"', page.text)
        if spoil == "no cookie":
            browser.client.delete_cookie("__Host-crosshall-cert", domain=f"{'a' * 26}.cert.hall.test")
        data = {} if spoil == "no token" else {"csrf": token[1] if token else ""}
        headers = {"Origin": f"https://{'a' * 26}.cert.hall.test:8443"}
        answer = browser.at_certificate_host(tx.id, li, method="POST", headers=headers, data=data)
        assert (answer.status_code, code_of(answer.text)) == (403, "ceremony.forged")

    def test_a_name_never_used_before(self, hall: Hall) -> None:
        """Each page names another host, so that the browser asks again which certificate."""
        browser = hall.browser()
        tx = browser.begin()
        addresses = [browser.get(f"/sign-in/{tx.id}/certificate").headers["Location"] for _ in range(3)]
        assert len(set(addresses)) == 3
        assert all(re.match(rf"https://[a-z2-7]{{26}}\.cert\.hall\.test:8443/c/{tx.id}\?", one) for one in addresses)

    def test_the_header_s_hint_decides_nothing(self, hall: Hall, li: Held) -> None:
        """What nginx thinks of the certificate, good or bad, changes nothing."""
        for verify in ("SUCCESS", "NONE", "FAILED:certificate has expired", "\tx"):
            browser = hall.browser()
            page = browser.at_certificate_host(browser.begin().id, li, headers={"X-Crosshall-Client-Verify": verify})
            assert page.status_code == 200


class TestTheTokenWay:
    """A challenge bound to origin, transaction, nonce and key; 60 s; once."""

    def test_ends_in_a_session_of_this_proof(self, hall: Hall, li: Held) -> None:
        """A token reaches level 4 where TLS reaches 3 (the ceilings of this hall)."""
        browser = hall.browser()
        page = browser.token(browser.begin(level=4).id, li)
        session = session_of(browser)
        assert page.status_code == 200
        assert (session.level, session.way) == (4, Way.TOKEN)

    def test_the_challenge_is_what_the_signer_expects(self, hall: Hall) -> None:
        """Origin of the hall, this transaction, 60 s in whole seconds."""
        browser = hall.browser()
        tx = browser.begin(level=2)
        answer = browser.json(f"/sign-in/{tx.id}/challenge", tx.id, {}).json or {}
        assert answer["challenge"]["origin"] == ISSUER
        assert answer["challenge"]["transaction"] == tx.id
        assert answer["challenge"]["expires"] == "2026-11-23T08:01:00Z"
        assert (answer["level"], answer["languages"]) == (2, ["zh-Hans"])

    @pytest.mark.parametrize(
        "spoilt",
        [
            {"origin": "https://evil.test"},
            {"transaction": "B" * 43},
            {"nonce": "C" * 43},
            {"key": "0" * 64},
            {"expires": "2026-11-23T08:00:59+00:00"},
        ],
    )
    def test_signed_for_something_else(self, hall: Hall, li: Held, spoilt: dict[str, str]) -> None:
        """Another origin, transaction, nonce, key or end: the signature does not fit."""
        browser = hall.browser()
        tx = browser.begin()
        answer = browser.json(f"/sign-in/{tx.id}/proof", tx.id, sign(browser.challenge(tx.id), li, **spoilt))
        assert (answer.json or {})["code"] == "crypto.signature"
        assert session_of(browser) is None

    def test_another_s_certificate(self, hall: Hall, li: Held, wang: Held) -> None:
        """The certificate of one, the signature of another."""
        browser = hall.browser()
        tx = browser.begin()
        proof = {**sign(browser.challenge(tx.id), li), "certificate": wang.pem}
        assert (browser.json(f"/sign-in/{tx.id}/proof", tx.id, proof).json or {})["code"] == "crypto.signature"

    @pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES384", "SM2", "none", "HS256", "es256"])
    def test_a_wrong_algorithm(self, hall: Hall, li: Held, algorithm: str) -> None:
        """The algorithm must be one of ours and of this key's kind."""
        browser = hall.browser()
        tx = browser.begin()
        proof = sign(browser.challenge(tx.id), li, algorithm=algorithm)
        answer = browser.json(f"/sign-in/{tx.id}/proof", tx.id, proof)
        assert (answer.json or {})["code"] == "crypto.challenge_algorithm"

    def test_replayed(self, hall: Hall, li: Held) -> None:
        """The same proof again is refused: the challenge is gone."""
        browser = hall.browser()
        tx = browser.begin()
        proof = sign(browser.challenge(tx.id), li)
        assert browser.json(f"/sign-in/{tx.id}/proof", tx.id, proof).status_code == 200
        again = browser.json(f"/sign-in/{tx.id}/proof", tx.id, proof)
        assert (again.status_code, (again.json or {})["code"]) == (403, "ceremony.challenge")

    def test_a_wrong_proof_uses_the_challenge_up(self, hall: Hall, li: Held) -> None:
        """Nobody may try signature after signature on one challenge."""
        browser = hall.browser()
        tx = browser.begin()
        challenge = browser.challenge(tx.id)
        browser.json(f"/sign-in/{tx.id}/proof", tx.id, sign(challenge, li, nonce="D" * 43))
        answer = browser.json(f"/sign-in/{tx.id}/proof", tx.id, sign(challenge, li))
        assert (answer.json or {})["code"] == "ceremony.challenge"

    def test_a_newer_challenge_replaces_the_older(self, hall: Hall, li: Held) -> None:
        """One open challenge for a transaction."""
        browser = hall.browser()
        tx = browser.begin()
        older = browser.challenge(tx.id)
        browser.challenge(tx.id)
        answer = browser.json(f"/sign-in/{tx.id}/proof", tx.id, sign(older, li))
        assert (answer.json or {})["code"] == "crypto.signature"

    @pytest.mark.parametrize(("seconds", "status"), [(59, 200), (60, 403), (61, 403)])
    def test_the_sixty_seconds(self, hall: Hall, li: Held, seconds: int, status: int) -> None:
        """59 s old is good, 60 and 61 s old is not."""
        browser = hall.browser()
        tx = browser.begin()
        proof = sign(browser.challenge(tx.id), li)
        hall.clock.forward(seconds)
        assert browser.json(f"/sign-in/{tx.id}/proof", tx.id, proof).status_code == status

    @pytest.mark.parametrize(
        "body",
        [
            None,
            [],
            "text",
            {},
            {"certificate": 1, "algorithm": "ES256", "signature": "AA"},
            {"certificate": "x", "algorithm": "ES256", "signature": ""},
            {"certificate": "x" * 20000, "algorithm": "ES256", "signature": "AA"},
            {"certificate": "x", "algorithm": "ES256", "signature": "A" * 3000},
        ],
    )
    def test_a_proof_without_form(self, hall: Hall, body: Any) -> None:
        """Fields absent, of another kind, too long: refused before anything is read, the challenge untouched."""
        browser = hall.browser()
        tx = browser.begin()
        browser.challenge(tx.id)
        answer = browser.json(f"/sign-in/{tx.id}/proof", tx.id, body)
        assert (answer.status_code, (answer.json or {})["code"]) == (400, "ceremony.proof_form")

    @pytest.mark.parametrize(
        ("changed", "code"),
        [
            ({"signature": "!!!"}, "ceremony.proof_form"),
            ({"signature": "A"}, "ceremony.proof_form"),
            ({"certificate": "no pem"}, "asn1.pem"),
            ({"signature": "AAAA"}, "crypto.signature_form"),
        ],
    )
    def test_broken_parts(self, hall: Hall, li: Held, changed: dict[str, str], code: str) -> None:
        """Broken base64, PEM and DER: an error with its code, as JSON."""
        browser = hall.browser()
        tx = browser.begin()
        answer = browser.json(f"/sign-in/{tx.id}/proof", tx.id, sign(browser.challenge(tx.id), li, **changed))
        assert (answer.json or {})["code"] == code

    def test_too_large_a_body(self, hall: Hall) -> None:
        """More than 32 KiB is not read."""
        browser = hall.browser()
        tx = browser.begin()
        answer = browser.json(f"/sign-in/{tx.id}/proof", tx.id, {"certificate": "x" * 40000})
        assert answer.status_code in (400, 413)

    @pytest.mark.parametrize("step", ["challenge", "proof"])
    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": ""},
            {"Origin": "null"},
            {"Origin": SIGNER},
            {"Origin": f"{ISSUER}.evil"},
            {"X-Crosshall-CSRF": ""},
            {"X-Crosshall-CSRF": "A" * 43},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "cross-site"},
        ],
    )
    def test_not_from_our_page(self, hall: Hall, step: str, headers: dict[str, str]) -> None:
        """Origin, Sec-Fetch-Site and token: each alone refuses; the answer is JSON."""
        browser = hall.browser()
        tx = browser.begin()
        answer = browser.json(f"/sign-in/{tx.id}/{step}", tx.id, {}, headers=headers)
        assert (answer.status_code, (answer.json or {})["code"]) == (403, "ceremony.forged")
        assert set(answer.json or {}) == {"code", "say", "do", "request"}

    def test_an_unknown_key_of_a_known_name(self, hall: Hall, province: Authority, li: Held) -> None:
        """A proof by a good key says nothing of the certificate: the verdict decides, at the hall."""
        hall.snapshots.refuse = "crypto.signature"
        stranger = ec.generate_private_key(ec.SECP256R1())
        assert stranger.sign(b"", ec.ECDSA(hashes.SHA256()))
        browser = hall.browser()
        answer = browser.token(browser.begin().id, li)
        assert code_of(answer.text) == "crypto.signature"
        assert session_of(browser) is None
