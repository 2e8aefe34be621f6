"""K=crl: a CRL of 1,000,000 entries: loaded once, verified, asked; time of a look-up and memory.

Each round is a process of its own, because memory is measured: resident before and after, and at the peak (loading and
verifying included). Serials have 16 random octets; every second entry gives a reason. CPU seconds, medians of 5 rounds.
"""

from __future__ import annotations

import gc
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ENTRIES = 1_000_000
LOOK_UPS = 100_000
ROUNDS = 5
_ALGORITHM = bytes.fromhex("300a06082a8648ce3d040302")
_NAME = bytes.fromhex("301b310b3009060355040613024341310c300a06035504030c03426967")
_REASON = bytes.fromhex("300c300a0603551d1504030a0101")


def run() -> None:
    """Print `rate` and `bytes` lines."""
    with tempfile.TemporaryDirectory(prefix="crosshall-bench-") as folder:
        path, spki = Path(folder) / "big.crl", Path(folder) / "spki"
        key = ec.generate_private_key(ec.SECP256R1())
        path.write_bytes(build(ENTRIES, key))
        spki.write_bytes(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        rounds = [_round(path, spki) for _ in range(ROUNDS)]
        size = path.stat().st_size
    print(f"bytes crl.1m.octets {size}")
    for name in ("resident", "peak"):
        print(f"bytes crl.1m.{name} {statistics.median(r[name] for r in rounds):.0f}")
    print(f"rate crl.1m.load {ENTRIES / statistics.median(r['load'] for r in rounds):.0f} entries/s")
    for name in ("hit", "miss"):
        print(f"rate crl.1m.{name} {LOOK_UPS / statistics.median(r[name] for r in rounds):.0f} look-ups/s")


def serials(count: int) -> list[bytes]:
    """Distinct positive serial numbers of 16 octets, the same each time."""
    source = random.Random(1)
    return [bytes([0x40 | i & 0x3F]) + source.randbytes(11) + i.to_bytes(4, "big") for i in range(count)]


def build(count: int, key: ec.EllipticCurvePrivateKey, name: bytes = _NAME, number: int = 1) -> bytes:
    """A CRL of `count` entries, valid in June 2026, signed by `key`; `name`: its issuer, DER; `number`: below 128."""
    when = b"\x17\x0d260501000000Z"
    entries = b"".join(
        _tlv(0x30, b"\x02\x10" + serial + when + (_REASON if i % 2 else b"")) for i, serial in enumerate(serials(count))
    )
    numbered = _tlv(0xA0, _tlv(0x30, bytes.fromhex("300a0603551d1404030201") + bytes([number])))
    dates = b"\x17\x0d260531120000Z" + b"\x17\x0d260630120000Z"
    tbs = _tlv(0x30, b"\x02\x01\x01" + _ALGORITHM + name + dates + _tlv(0x30, entries) + numbered)
    return _tlv(0x30, tbs + _ALGORITHM + _tlv(0x03, b"\x00" + key.sign(tbs, ec.ECDSA(hashes.SHA256()))))


def child(path: Path, spki: Path) -> None:
    """One round; prints JSON."""
    from ca_bridge.asn1.crl import parse_crl  # noqa: PLC0415 - each round is a process
    from ca_bridge.crypto import signatures  # noqa: PLC0415

    wanted = serials(ENTRIES)[:: ENTRIES // LOOK_UPS]
    hits = [int.from_bytes(serial, "big") for serial in wanted]
    del wanted
    misses = [serial + 1 for serial in hits]
    gc.collect()
    parse_crl(build(1, ec.generate_private_key(ec.SECP256R1())))
    before = _resident()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins again here
    started = time.process_time()
    crl = parse_crl(path.read_bytes())
    load = time.process_time() - started
    signatures.verify(spki.read_bytes(), crl.signature_algorithm, None, crl.tbs, crl.signature, sm2_id="x")
    result = {"load": load, "resident": _resident() - before, "peak": _status("VmHWM") - before}
    for name, asked in (("hit", hits), ("miss", misses)):
        started = time.process_time()
        found = sum(crl.find(crl.issuer, serial) is not None for serial in asked)
        result[name] = time.process_time() - started
        assert found == (len(asked) if name == "hit" else 0)
    print(json.dumps(result))


def _round(path: Path, spki: Path) -> dict[str, float]:
    code = f"from pathlib import Path; from bench.crl import child; child(Path({str(path)!r}), Path({str(spki)!r}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _resident() -> int:
    return _status("VmRSS")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def _tlv(tag: int, body: bytes) -> bytes:
    size = len(body)
    octets = size.to_bytes((size.bit_length() + 7) // 8 or 1, "big")
    return bytes([tag]) + (octets if size < 0x80 else bytes([0x80 | len(octets)]) + octets) + body
