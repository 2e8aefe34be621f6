"""A city's or county's own role: its refusals and candidates, signed on the node, in its lane at once.

The lane lies in the folder that the node publishes (a mirror of the repository, for its counties); the province
collects it from there, and with its next snapshot what the node said counts everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from securesystemslib.signer import Key, Signer
from tuf.api.metadata import Metadata, Snapshot, Targets

from ca_bridge.errors import FederationError
from ca_bridge.types import Clock
from nodes import roles
from nodes.delegations import delegate_to
from nodes.metadata import parse
from nodes.refusals import check_refusals
from nodes.repository import Repository


class OwnRole:
    """What the node `domain` signs."""

    def __init__(self, public: Path, domain: str, signers: Sequence[Signer], clock: Clock) -> None:
        """`public`: the folder that the node publishes; `signers`: as many keys as its role's threshold asks."""
        self._repository = Repository(public)
        self._domain = domain
        self._role = roles.domain_role(domain)
        self._signers = signers
        self._clock = clock

    def refuse(self, files: Mapping[str, bytes]) -> int:
        """Exactly these refusals from now on, by name (`x.toml` denials, `x.crl`); the version that was signed.

        Raises FederationError `federation.refusals`, `.path`, `.size`.
        """
        return self._replace("refusals", files)

    def refusals(self) -> dict[str, bytes]:
        """The refusals in force, by name."""
        start = f"refusals/{self._domain}/"
        signed = self._signed()
        return {
            p.removeprefix(start): self._repository.file(f) for p, f in signed.targets.items() if p.startswith(start)
        }

    def propose(self, files: Mapping[str, bytes]) -> int:
        """Exactly these candidates from now on: certificates and profiles that the province may take or not."""
        return self._replace("candidates", files)

    def delegate(self, domain: str, keys: Sequence[Key], threshold: int = 1) -> int:
        """Give a county below this city these keys. Raises FederationError `federation.delegation`."""
        role = roles.domain_role(domain)
        if not roles.may_delegate(self._role, role):
            raise FederationError("federation.delegation", f"{domain} is not below {self._domain}")
        signed = self._signed()
        delegate_to(signed, role, keys, threshold)
        return self._publish(signed)

    def end(self, domain: str) -> int:
        """Take a county's keys away."""
        signed = self._signed()
        if signed.delegations is not None and signed.delegations.roles is not None:
            signed.delegations.roles.pop(roles.domain_role(domain), None)
            used = {keyid for row in signed.delegations.roles.values() for keyid in row.keyids}
            signed.delegations.keys = {k: key for k, key in signed.delegations.keys.items() if k in used}
        return self._publish(signed)

    def renew_when_old(self) -> bool:
        """Sign again when half of the role's time is over; whether it was done."""
        if not self._version() or self._signed().expires > self._clock() + roles.NODE_LIFETIME / 2:
            return False
        self._publish(self._signed())
        return True

    def _replace(self, folder: str, files: Mapping[str, bytes]) -> int:
        start = f"{folder}/{self._domain}/"
        signed = self._signed()
        kept = {path: file for path, file in signed.targets.items() if not path.startswith(start)}
        fresh = [self._repository.put_file(f"{start}{name}", data) for name, data in sorted(files.items())]
        signed.targets = {**kept, **{file.path: file for file in fresh}}
        check_refusals(signed, self._repository.file)
        return self._publish(signed)

    def _version(self) -> int:
        return max(self._repository.newest(self._role), self._repository.newest(self._role, lane=True))

    def _listed(self) -> int:
        """The version that the federation knows: of keys of before, when the node was admitted again."""
        if not self._repository.newest(roles.SNAPSHOT):
            return 0
        listed = self._repository.metadata(roles.SNAPSHOT, Snapshot).signed.meta.get(f"{self._role}.json")
        return 0 if listed is None else listed.version

    def _signed(self) -> Targets:
        newest = self._repository.newest(self._role, lane=True)
        if not self._version():
            return Targets(expires=self._clock())
        return self._repository.metadata(self._role, Targets, lane=newest == self._version()).signed

    def _publish(self, signed: Targets) -> int:
        signed.version = max(self._version(), self._listed()) + 1
        signed.expires = self._clock().replace(microsecond=0) + roles.NODE_LIFETIME
        metadata = Metadata(signed)
        for signer in self._signers:
            metadata.sign(signer, append=True)
        data = metadata.to_bytes()
        parse(data, self._role, Targets)
        self._repository.put_metadata(self._role, signed.version, data, lane=True)
        self._repository.put_lane_index()
        return signed.version
