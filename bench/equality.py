"""K=equality: two nodes of a province give one verdict, field by field, of 10,000 certificates.

    authorities ─▶ certificates, some revoked ─▶ source bundle ─▶ TUF repository ─┬─ HTTP ─▶ gd/guangzhou ─┐
                                                                                  └─ disk ─▶ gd/shenzhen ──┴▶ compared

Each node is a process of its own (other hash seeds) with a folder of its own, filled by the sync agent. The first has
lived through an earlier version of the bundle and judges forwards; the second begins with the last and judges
backwards. What they do not share is written out, with both bundles: `crosshall check` shows each side again.
"""

from __future__ import annotations

import functools
import http.server
import json
import multiprocessing
import random
import secrets
import shutil
import sys
import tempfile
import threading
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signer

from bench.leaves import Maker, Sample
from ca_bridge.asn1.certificate import parse_certificate
from ca_bridge.errors import CrosshallError
from ca_bridge.identity.extract import identify
from ca_bridge.identity.keys import PersonKeys, node_key
from ca_bridge.policy.levels import decide
from ca_bridge.policy.rungs import Rung, admit
from ca_bridge.policy.trusted_time import FILE, TimeSource
from ca_bridge.types import Way, utc_now
from ca_bridge.verdict.snapshot import Snapshot, SnapshotSource
from demo.pki.authorities import Authorities, generate_authorities, write_certificates, write_crls
from demo.pki.bundle import rfc3339, write_manifest, write_static
from demo.pki.description import read_federation
from nodes.carry import export
from nodes.drafts import sign_draft
from nodes.held import Folder
from nodes.keys import new_key
from nodes.own_role import OwnRole
from nodes.publish import Publisher
from nodes.sync import Agent, AgentSettings
from nodes.transport import FileSource

COUNT = 10_000
PER_NODE = ("person",)
"""What must differ, and is compared otherwise: the node's own person key (design §5)."""
NAMES = ("gd/guangzhou", "gd/shenzhen")
REVOKED = 0.06
"""Part of the certificates that their CAs, the province or the city refuse by serial number."""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Differing:
    """A certificate that is not judged alike: of each field that differs, what the first says and what the second."""

    sample: Sample
    fields: Mapping[str, tuple[Any, Any]]


class Province:
    """Source bundle and repository of the province, below `folder`; it publishes to `folder/web`."""

    def __init__(self, folder: Path, authorities: Authorities, now: datetime) -> None:
        self.authorities = authorities
        self.now = now
        self.source = folder / "source"
        self.web = folder / "web"
        self._publisher = Publisher(folder / "home", utc_now)
        self._holder: Signer = new_key("ed25519")
        self._city: Signer = new_key("ecdsa")
        self._lane = folder / "lane"
        write_certificates(authorities, folder / "certificates", now)
        write_static(authorities, folder / "certificates", self.source)
        keys = [self._holder.public_key]
        self._publisher.init(
            "gd", root=keys, root_threshold=1, targets=keys, targets_threshold=1, border=keys, border_threshold=1
        )
        self._publisher.delegate(NAMES[0], [self._city.public_key])

    def publish(self, name: str, refused: Sequence[Sample]) -> bytes:
        """Publish the source bundle as `name` below `web`; of `refused` each is revoked, or denied by province or city.

        Returns the first root.
        """
        crls: dict[str, list[tuple[int, datetime]]] = {}
        denied, by_city = [], []
        for number, sample in enumerate(refused):
            crls.setdefault(sample.authority, []).append((sample.serial, self.now - timedelta(days=1)))
            if number % 8 == 0:
                denied.append(self._row(crls[sample.authority].pop()[0], sample))
            elif number % 8 == 1 and sample.authority == "gz-public":  # of its own namespace alone
                by_city.append(self._row(crls[sample.authority].pop()[0], sample))
        write_crls(self.authorities, self.source / "crls", crls, self.now)
        (self.source / "denials" / "stolen.toml").write_text("".join(denied))
        write_manifest(self.source, self.now)
        self._publisher.publish(self.source)
        for draft in sorted((self._publisher.home / "drafts").glob("*.json")):
            sign_draft(draft, self._holder)
        self._publisher.assemble()
        # the status role, which the first publication has only now
        self._publisher.publish(self.source)
        OwnRole(self._lane, NAMES[0], [self._city], utc_now).refuse({"stolen.toml": "".join(by_city).encode()})
        self._publisher.collect(FileSource(self._lane))
        self._publisher.stamp()
        shutil.copytree(self._publisher.home / "public", self.web / name)
        return self._publisher.first_root()

    def _row(self, serial: int, sample: Sample) -> str:
        issuer = parse_certificate(self._certificate(sample.authority)).spki_sha256
        return f'[[deny]]\nwhy = "stolen"\ncertificate = "{issuer}:{serial:x}"\n'

    @functools.lru_cache(maxsize=32)  # noqa: B019 - lives as long as the measurement
    def _certificate(self, authority: str) -> bytes:
        rows = self.authorities.federation.crossings
        crossing = next(row for row in rows if row.subject == authority)
        text = (self.source.parent / "certificates" / crossing.file).read_text()
        return b64decode("".join(text.splitlines()[1:-1]))


def run() -> None:
    """10,000 certificates; differences stay on the disk, and end the run with exit code 1."""
    seed = secrets.randbelow(1 << 32)
    with tempfile.TemporaryDirectory() as folder:
        samples, rows = measure(Path(folder), COUNT, seed)
        found = differences(samples, rows)
        report(samples, rows, found, seed)
        if found:
            kept = Path(tempfile.mkdtemp(prefix="equality-"))
            write(found, [Path(folder) / name / "bundle" for name in NAMES], kept)
            sys.exit(f"{len(found)} certificates are judged differently: {kept}/README")


def measure(folder: Path, count: int, seed: int, *, stale: bool = False) -> tuple[list[Sample], list[list[Row]]]:
    """`count` certificates as each node judges them. `stale`: the second node's disk is of before the refusals."""
    now = utc_now().replace(microsecond=0)
    authorities = generate_authorities(read_federation(), folder / "authorities")
    samples = list(Maker(authorities, now, seed).make(count))
    province = Province(folder, authorities, now)
    root = province.publish("first", ())
    known = [s for s in samples if authorities.row(s.authority).published]
    province.publish("second", random.Random(seed).sample(known, int(len(known) * REVOKED)))
    export(province.web / ("first" if stale else "second"), root, folder / "disk", "gd")
    with (folder / "corpus.jsonl").open("w") as corpus:
        for sample in samples:
            corpus.write(json.dumps([b64encode(sample.leaf).decode(), sample.at.isoformat()]) + "\n")
    with serving(province.web) as web:
        sources = ((f"{web}first/", f"{web}second/"), (f"file:{folder / 'disk'}",))
        work = [(folder, name, root, source) for name, source in zip(NAMES, sources, strict=True)]
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            pool.starmap(live, work)
    return samples, [_read(folder / name / "rows.jsonl") for name in NAMES]


def live(folder: Path, name: str, root: bytes, sources: Sequence[str]) -> None:
    """A node: it follows one source after the other, judges the corpus, and writes a row for each certificate."""
    home, clock = folder / name, _Clock()
    source = SnapshotSource(home / "bundle", clock, home / "state" / "status")
    Folder(home / "state" / "federation").start(root)
    for address in sources:
        Agent(AgentSettings(name, home / "state", home / "bundle", (address,), whole=True)).first()
        clock.now += timedelta(minutes=1)
        snapshot = source.current()
    trusted = TimeSource(home / "state" / FILE, utc_now, own=False)()
    keys = PersonKeys(node_key(bytes(32), name, 1))
    corpus = [(b64decode(leaf), datetime.fromisoformat(at)) for leaf, at in _read(folder / "corpus.jsonl")]
    order = range(len(corpus)) if name == NAMES[0] else range(len(corpus) - 1, -1, -1)
    rows: dict[int, Row] = {number: judge(snapshot, *corpus[number], trusted.rung, keys) for number in order}
    with (home / "rows.jsonl").open("w") as file:
        file.writelines(json.dumps(rows[number], default=_plain) + "\n" for number in range(len(corpus)))


def judge(snapshot: Snapshot, leaf: bytes, at: datetime, rung: Rung, keys: PersonKeys) -> Row:
    """All that a node decides of a certificate: verdict, holder, admission and level by each way, person keys."""
    verdict = snapshot.judge(leaf, at)
    row: Row = {**asdict(verdict), "rung": rung}
    if not verdict.accepted:
        return row
    profile = snapshot.profile(verdict.ca)
    kind = profile.type(verdict.certificate_type)
    row["kind"] = kind.kind if kind is not None else ""
    levels = snapshot.bundle.levels
    row["levels"] = {way: _code(lambda way=way: decide(verdict, way, 1, levels, rung)) for way in Way}
    row["admitted"] = _code(lambda: admit(verdict, rung, snapshot.bundle.policy.offline, "gd"))
    try:
        identity = identify(parse_certificate(leaf), profile, verdict.certificate_type)
    except CrosshallError as error:
        return {**row, "identity": error.code}
    row["person"] = {capacity: keys.of(identity, capacity) for capacity in identity.capacities}
    return {**row, "identity": asdict(identity)}


def differences(samples: Sequence[Sample], rows: Sequence[Sequence[Row]]) -> list[Differing]:
    """What the two nodes do not share; person keys differ, but where one node sees one person the other does too."""
    found = []
    humans: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for sample, one, other in zip(samples, *rows, strict=True):
        names = sorted({*one, *other} - set(PER_NODE))
        fields = {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}
        for capacity in sorted({*one.get("person", {}), *other.get("person", {})}):
            pair = [str(row.get("person", {}).get(capacity)) for row in (one, other)]
            same = humans[0].setdefault(pair[0], pair[1]) == pair[1]
            same &= humans[1].setdefault(pair[1], pair[0]) == pair[0]
            if not same or pair[0] == pair[1]:
                fields[f"person {capacity}"] = (pair[0], pair[1])
        if fields:
            found.append(Differing(sample, fields))
    return found


def report(samples: Sequence[Sample], rows: Sequence[Sequence[Row]], found: Sequence[Differing], seed: int) -> None:
    """The lines of the benchmark."""
    codes = Counter(row["code"] for row in rows[0])
    persons = {key for row in rows[0] for key in row.get("person", {}).values()}
    shown = {
        "certificates": len(samples),
        "different": len(found),
        "accepted": codes["ok"],
        "persons": len(persons),
        "ways": len({sample.way for sample in samples}),
        "codes": len(codes),
        "fields": len({name for row in rows[0] for name in row}),
        "seed": seed,
    }
    print(f"ratio equality.verdicts {(len(samples) - len(found)) / len(samples)}")
    for name, number in shown.items():
        print(f"count equality.{name} {number}")
    for code, number in codes.most_common():
        print(f"count equality.code.{code} {number}")
    for ca, number in Counter(s.ca for s, row in zip(samples, rows[0], strict=True) if row["accepted"]).items():
        print(f"count equality.accepted.{ca} {number}")


def write(found: Iterable[Differing], bundles: Sequence[Path], into: Path) -> None:
    """Certificates, both bundles, and a README with a line for each that judges it again on either side."""
    for name, bundle in zip(("one", "other"), bundles, strict=True):
        shutil.copytree(bundle, into / name)
    with (into / "README").open("w", encoding="utf-8") as lines:
        for number, row in enumerate(found):
            leaf = into / f"{number}.der"
            leaf.write_bytes(row.sample.leaf)
            lines.write(f"# {row.sample.way} {row.sample.ca}: {json.dumps(row.fields, ensure_ascii=False)}\n")
            at = rfc3339(row.sample.at)
            lines.writelines(f"crosshall check {leaf} --at {at} --bundle {into / side}\n" for side in ("one", "other"))


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A plain web server of a folder on loopback."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


class _Clock:
    """Says when to look at the bundle again."""

    now = datetime(2026, 1, 1).astimezone()

    def __call__(self) -> datetime:
        return self.now


def _code(step: Any) -> Any:
    try:
        return step()
    except CrosshallError as error:
        return error.code


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else sorted(value)


def _read(path: Path) -> list[Any]:
    with path.open() as lines:
        return [json.loads(line) for line in lines]
