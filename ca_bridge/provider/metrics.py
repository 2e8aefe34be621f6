"""`/metrics` in Prometheus' text format: what the workers counted, and what is looked up when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from werkzeug.datastructures import Headers

from ca_bridge import metrics
from ca_bridge.ceremony.services import Services
from ca_bridge.errors import CrosshallError
from ca_bridge.policy.rungs import Rung
from ca_bridge.provider.health import Health
from ca_bridge.store.logouts import Logouts

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_FRONTS = ("X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "Via")


def came_through_a_front(headers: Headers) -> bool:
    """Whether a proxy handed the request on: our nginx sets the first two on each."""
    return any(name in headers for name in _FRONTS)


class Now:
    """Collects what is known now; what cannot be told is left out, and `/health` says why."""

    def __init__(self, services: Services, health: Health) -> None:
        self._services = services
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """Every gauge that can be told."""
        for part in (self._time, self._sessions, self._logouts, self._trust, self._roles, self._cut):
            with suppress(CrosshallError):
                yield from tuple(part())

    def _time(self) -> Iterator[Metric]:
        time = self._services.trusted()
        if not time.code:
            yield _gauge("crosshall_trust_age_seconds", "Age of the trust data", time.age.total_seconds())
            skew = (self._services.clock() - time.now).total_seconds()
            yield _gauge("crosshall_clock_skew_seconds", "The machine's clock less trusted time", skew)
        rung = GaugeMetricFamily("crosshall_rung", "1 for the rung that the node is on", labels=("rung",))
        for one in Rung:
            rung.add_metric((one.value,), float(one is time.rung))
        yield rung

    def _sessions(self) -> Iterator[Metric]:
        yield _gauge("crosshall_sessions", "Live sessions", self._services.sessions.count())

    def _logouts(self) -> Iterator[Metric]:
        waiting = Logouts(self._services.store).waiting()
        yield _gauge("crosshall_logouts_pending", "Logouts that Keycloak has still to be told", waiting)

    def _trust(self) -> Iterator[Metric]:
        time = self._services.trusted()
        if time.code:
            return
        snapshot = self._services.snapshots.current()
        age = (time.now - snapshot.bundle.issued) / timedelta(seconds=1)
        yield _gauge("crosshall_snapshot_age_seconds", "Since the bundle in force was issued", age)
        ages = GaugeMetricFamily("crosshall_crl_age_seconds", "Age of a CA's oldest CRL in force", labels=("ca",))
        stale = GaugeMetricFamily("crosshall_crl_stale", "1 when a CA lacks a CRL in force", labels=("ca",))
        for known in self._health.crls(snapshot):
            stale.add_metric((known.ca,), float(known.stale(time.now)))
            if (issued := known.issued(time.now)) is not None:
                ages.add_metric((known.ca,), (time.now - issued).total_seconds())
        yield ages
        yield stale

    def _roles(self) -> Iterator[Metric]:
        told = self._health.roles()
        if told is None:
            return
        name = "crosshall_role_expiry_timestamp_seconds"
        expiry = GaugeMetricFamily(name, "When a role's metadata expires", labels=("role",))
        for role, moment in sorted(told.expires.items()):
            expiry.add_metric((role,), moment.timestamp())
        yield expiry

    def _cut(self) -> Iterator[Metric]:
        if self._services.cuts is not None:
            waiting = self._services.cuts.waiting()
            yield _gauge("crosshall_cut_sign_ins_waiting", "Sign-ins of a cut that are not yet judged again", waiting)


def exposition(services: Services, health: Health) -> bytes:
    """All metrics of the node's bridge."""
    registry = CollectorRegistry()
    registry.register(Now(services, health))
    return generate_latest(registry) + generate_latest(metrics.counted())


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
