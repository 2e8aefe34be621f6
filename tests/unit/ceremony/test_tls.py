"""The certificate header: believed with the channel's secret only, and only when it is exactly one PEM."""

from __future__ import annotations

from base64 import encodebytes
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca_bridge.ceremony import tls
from ca_bridge.errors import CeremonyError, ConfigError

SECRET = "s" * 40
DER = bytes(range(200))


def pem(der: bytes = DER, *, label: str = "CERTIFICATE", newline: str = "\n") -> str:
    """`der` in PEM, as OpenSSL writes it."""
    body = encodebytes(der).decode().replace("\n", newline)
    return f"-----BEGIN {label}-----{newline}{body}-----END {label}-----{newline}"


def headers(raw: str, **changed: str) -> dict[str, str]:
    """What nginx sends."""
    return {tls.CHANNEL: SECRET, tls.CERTIFICATE: raw, tls.VERIFY: "SUCCESS", **changed}


def code_of(raw: str, secret: str = SECRET) -> str:
    """The code of the refusal."""
    with pytest.raises(CeremonyError) as caught:
        tls.presented(headers(raw), secret)
    return caught.value.code


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_bytes_arrive_as_they_were(newline: str) -> None:
    """URL-encoded PEM to DER, nothing added or lost."""
    found = tls.presented(headers(quote(pem(newline=newline), safe="")), SECRET)
    assert (found.leaf, found.hint) == (DER, "SUCCESS")


@pytest.mark.parametrize(
    ("verify", "hint"),
    [("FAILED:unable to verify 张三", "FAILED"), ("NONE", "NONE"), ("SUCCESSFUL", ""), ("", ""), ("x:NONE", "")],
)
def test_the_hint_holds_no_free_text(verify: str, hint: str) -> None:
    """It goes to the log: the kind alone."""
    found = tls.presented(headers(quote(pem()), **{tls.VERIFY: verify}), SECRET)
    assert found.hint == hint


@pytest.mark.parametrize("secret", ["", "s" * 39, "s" * 41, "S" * 40, "é"])
def test_without_the_secret_nothing_counts(secret: str) -> None:
    """Before the certificate is looked at."""
    with pytest.raises(CeremonyError, match=r"ceremony\.channel"):
        tls.presented(headers(quote(pem()), **{tls.CHANNEL: secret}), SECRET)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("", "no_certificate"),
        ("  ", "no_certificate"),
        (quote(pem() + pem()), "two_certificates"),
        (f"{quote(pem(), safe='')},{quote(pem(), safe='')}", "two_certificates"),
        ("x" * (tls.MAX_HEADER + 1), "certificate_size"),
        (quote(pem(label="PRIVATE KEY")), "certificate_form"),
        (quote(pem() + "tail"), "certificate_form"),
        (quote("head" + pem()), "certificate_form"),
        (quote(pem(label="TRUSTED CERTIFICATE")), "certificate_form"),
        (quote("-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----"), "certificate_form"),
        (quote("-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----"), "certificate_form"),
        (quote("-----BEGIN CERTIFICATE-----\n=AAA\n-----END CERTIFICATE-----"), "certificate_form"),
        ("%zz", "certificate_form"),
        ("%", "certificate_form"),
    ],
)
def test_what_is_not_one_certificate(raw: str, code: str) -> None:
    """Each its own code."""
    assert code_of(raw) == f"ceremony.{code}"


@given(st.text(alphabet=st.characters(codec="latin-1"), max_size=300))
def test_any_header_is_an_answer_or_a_refusal(raw: str) -> None:
    """Whatever arrives: a CeremonyError at worst."""
    with pytest.raises(CeremonyError):
        tls.presented(headers(raw), SECRET)


def test_the_secret_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """nginx and bridge can be given a new one without a restart of the bridge."""
    file = tmp_path / "channel"
    file.write_text("a" * 40 + "\n")
    assert tls.channel_secret(file) == "a" * 40
    other = tmp_path / "new"
    other.write_text("b" * 40)
    other.replace(file)
    assert tls.channel_secret(file) == "b" * 40


@pytest.mark.parametrize("text", [None, "", "short", " " * 64])
def test_a_secret_that_is_none(tmp_path: Path, text: str | None) -> None:
    """Absent or too short: nobody is let in by an empty comparison."""
    file = tmp_path / "channel"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.channel"):
        tls.channel_secret(file)
