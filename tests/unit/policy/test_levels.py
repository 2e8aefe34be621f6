"""The level of a sign-in, the offline ladder, and held certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca_bridge.errors import IdentityError, PolicyDenied
from ca_bridge.policy.holding import Admission, admission, equal_to, require_admitted
from ca_bridge.policy.levels import decide
from ca_bridge.policy.rungs import CEILINGS, Rung, rung_of, worst
from ca_bridge.trust.rules import Equivalent, Levels
from ca_bridge.types import IdentifierType, Verdict, Way

LEVELS = Levels(ways={Way.TLS: 4, Way.TOKEN: 3})


def verdict(level: int, *, accepted: bool = True) -> Verdict:
    """A verdict that allows `level`."""
    return Verdict(
        accepted, "ok" if accepted else "path.no_path", "", "", datetime(2026, 1, 1, tzinfo=UTC), "h", level=level
    )


def denied(code: str, *arguments: object) -> PolicyDenied:
    """The decision denies with exactly `code`."""
    with pytest.raises(PolicyDenied) as caught:
        decide(*arguments)  # type: ignore[arg-type]
    assert caught.value.code == code
    return caught.value


@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from(list(Rung)), st.integers(1, 4))
def test_least_of_all(certificate: int, ceiling: int, rung: Rung, wanted: int) -> None:
    """The level is the least of certificate, way and rung; below what is wanted: a denial, never a lower answer."""
    levels = Levels(ways={Way.TOKEN: ceiling})
    least = min(certificate, ceiling, CEILINGS[rung])
    if least >= wanted:
        assert decide(verdict(certificate), Way.TOKEN, wanted, levels, rung) == least
    else:
        code = "policy.offline" if min(certificate, ceiling) >= wanted else "policy.level"
        error = denied(code, verdict(certificate), Way.TOKEN, wanted, levels, rung)
        assert error.facts == {"wanted": wanted, "reached": least}


def test_examples() -> None:
    """Ceilings by way; the third day offline leaves level 2; after it nobody signs in."""
    assert decide(verdict(4), Way.TLS, 1, LEVELS, "fresh") == 4
    assert decide(verdict(4), Way.TOKEN, 3, LEVELS, "near") == 3
    assert decide(verdict(4), Way.TLS, 2, LEVELS, "days") == 2
    denied("policy.level", verdict(4), Way.TOKEN, 4, LEVELS, "fresh")
    denied("policy.offline", verdict(4), Way.TLS, 3, LEVELS, "days")
    denied("policy.offline", verdict(4), Way.TLS, 1, LEVELS, "closed")
    denied("policy.level", verdict(2), Way.TLS, 3, LEVELS, "closed")


def test_fails_closed() -> None:
    """A refused certificate, one without a level, and a way without a ceiling reach nothing."""
    denied("policy.no_level", verdict(4, accepted=False), Way.TLS, 1, LEVELS, Rung.FRESH)
    denied("policy.no_level", verdict(0), Way.TLS, 1, LEVELS, Rung.FRESH)
    denied("policy.no_level", verdict(5), Way.TLS, 1, LEVELS, Rung.FRESH)
    denied("policy.way", verdict(4), Way.TLS, 1, Levels(ways={Way.TOKEN: 4}), Rung.FRESH)
    denied("policy.way", verdict(4), Way.TLS, 1, Levels(), Rung.FRESH)


@pytest.mark.parametrize("wanted", [0, 5, -1])
def test_no_such_level(wanted: int) -> None:
    """A wish for a level that does not exist is a programming error, not an easy one."""
    with pytest.raises(ValueError, match="level"):
        decide(verdict(4), Way.TLS, wanted, LEVELS, Rung.FRESH)


def test_no_such_rung() -> None:
    """An unknown rung is never taken for fresh."""
    with pytest.raises(ValueError, match="unknown"):
        decide(verdict(4), Way.TLS, 1, LEVELS, "unknown")


@pytest.mark.parametrize(
    ("age", "rung"),
    [
        (timedelta(0), Rung.FRESH),
        (timedelta(minutes=15), Rung.FRESH),
        (timedelta(minutes=15, microseconds=1), Rung.NEAR),
        (timedelta(hours=4), Rung.NEAR),
        (timedelta(hours=4, microseconds=1), Rung.DAY),
        (timedelta(hours=24), Rung.DAY),
        (timedelta(hours=24, microseconds=1), Rung.DAYS),
        (timedelta(hours=72), Rung.DAYS),
        (timedelta(hours=72, microseconds=1), Rung.CLOSED),
        (timedelta(days=4000), Rung.CLOSED),
        (timedelta(seconds=-60), Rung.FRESH),
        (timedelta(seconds=-61), Rung.CLOSED),
    ],
)
def test_rungs(age: timedelta, rung: Rung) -> None:
    """Each rung holds up to its age (design §6); data from the future is not fresh but suspect."""
    assert rung_of(age) is rung


@given(st.integers(0, 400_000), st.integers(0, 400_000))
def test_older_is_never_better(one: int, other: int) -> None:
    """Cutting the line does not pay: greater age never gives a better rung nor a higher ceiling."""
    younger, older = (rung_of(timedelta(seconds=age)) for age in sorted((one, other)))
    assert worst(younger, older) is older
    assert CEILINGS[younger] >= CEILINGS[older]


ROWS = (
    Equivalent(type=IdentifierType.CN_ID, accreditations=("gd", "gz")),
    Equivalent(type=IdentifierType.CN_ID, accreditations=("gz", "sz")),
    Equivalent(type=IdentifierType.HKID, accreditations=("gd", "hk")),
)


@pytest.mark.parametrize(
    ("known", "accreditation", "expected"),
    [
        (set(), "gz", Admission.ADMITTED),
        ({"gz"}, "gz", Admission.ADMITTED),
        ({"gd"}, "gz", Admission.EQUIVALENT),
        ({"gz"}, "gd", Admission.EQUIVALENT),
        ({"gd", "xx"}, "gz", Admission.EQUIVALENT),
        ({"gd"}, "sz", Admission.HELD),  # gd = gz and gz = sz do not make gd = sz
        ({"gd"}, "hk", Admission.HELD),  # equal for another type only
        ({"gd"}, "unknown", Admission.HELD),
        ({"gd"}, "", Admission.HELD),
    ],
)
def test_admission(known: set[str], accreditation: str, expected: Admission) -> None:
    """The first CA and known ones are admitted; a new one is held, unless one row names it equal to a known one."""
    found = admission(known, accreditation, IdentifierType.CN_ID, ROWS)
    assert found is expected
    if found is Admission.HELD:
        with pytest.raises(IdentityError, match=r"identity\.held"):
            require_admitted(found)
    else:
        require_admitted(found)


def test_equal_to() -> None:
    """All that rows of this type name beside the accreditation, itself left out."""
    assert equal_to(ROWS, IdentifierType.CN_ID, "gz") == {"gd", "sz"}
    assert equal_to(ROWS, IdentifierType.HKID, "gd") == {"hk"}
    assert equal_to(ROWS, IdentifierType.USCC, "gd") == frozenset()
    assert equal_to((), IdentifierType.CN_ID, "gd") == frozenset()
