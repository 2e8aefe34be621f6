"""The hop from the proxy to the system behind: streamed, limited, no hop-by-hop headers (RFC 9110 §7.6.1).

What a client sends under a name of ours (`X-Crosshall-…`, however spelt) never arrives. WebSockets are not passed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.util import Timeout

from relying_party_sdk.errors import ProviderError, RequestError
from relying_party_sdk.rules import ProxySettings
from relying_party_sdk.settings import Settings, is_loopback

Headers = list[tuple[str, str]]

_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_OURS = (
    "forwarded",
    "x-real-ip",
    "proxy",
    "expect",
    "host",
    "content-length",
    "cookie",
    "x-original-url",
    "x-rewrite-url",
)
_CHUNK = 65_536


class TooLargeError(Exception):
    """A body over its limit, found while it was under way."""


def plain_name(name: str) -> str:
    """A header's name as the most careless system may read it: `X_Crosshall.Level` is `x-crosshall-level`."""
    return re.sub(r"[^a-z0-9]", "-", name.lower())


def passed_on(headers: Headers, proxy: ProxySettings) -> Headers:
    """The client's headers without those of one hop, those that `Connection` names, and whatever is ours to set."""
    named = {each.strip().lower() for k, v in headers if k.lower() == "connection" for each in v.split(",")}
    removed = {plain_name(each) for each in (*proxy.remove, proxy.user_header, *_OURS) if each}
    found = []
    for name, value in headers:
        plain = plain_name(name)
        if plain in removed or plain.startswith(("x-crosshall-", "x-forwarded-")):
            continue
        if name.lower() in _HOP | named or not re.fullmatch(r"[A-Za-z0-9-]+", name):
            continue
        found.append((name, value))
    return found


class Upstream:
    """The system behind. Safe for threads."""

    def __init__(self, settings: Settings, proxy: ProxySettings) -> None:
        parts = urlsplit(proxy.upstream)
        self._proxy, self._settings = proxy, settings
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._path = parts.path.rstrip("/")
        self._public = urlsplit(settings.base_url)
        self.host = self._public.netloc if proxy.host == "public" else parts.netloc
        self._pools = urllib3.PoolManager(
            maxsize=32,
            block=False,
            retries=False,
            ca_certs=str(settings.ca_file) if settings.ca_file else None,
            timeout=Timeout(connect=proxy.connect_timeout, read=proxy.read_timeout),
        )
        name = parts.hostname or ""
        connect = "127.0.0.1" if is_loopback(name) and name != "::1" else name
        names: dict[str, Any] = {"server_hostname": name, "assert_hostname": name} if parts.scheme == "https" else {}
        self._pool = self._pools.connection_from_host(connect, parts.port, parts.scheme, pool_kwargs=names)

    def target(self, path: str, query: str) -> str:
        """Path and query at the system behind."""
        return f"{self._path}{path}" + (f"?{query}" if query else "")

    def send(self, method: str, target: str, headers: Headers, body: Iterator[bytes] | None) -> Passing:
        """The answer, as soon as its head is there.

        Raises ProviderError `rp.proxy_upstream` (down, or nothing that is HTTP), RequestError `rp.proxy_size`.
        """
        merged = urllib3.HTTPHeaderDict()
        for name, value in headers:
            merged.add(name, value)
        for last in (body is not None or method not in ("GET", "HEAD"), True):
            try:
                response = self._pool.urlopen(
                    method,
                    target,
                    body=body,
                    headers=merged,
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    decode_content=False,
                )
                return Passing(response, self._proxy.response_limit)
            except TooLargeError as error:
                raise RequestError("rp.proxy_size", f"a body of more than {self._proxy.request_limit} bytes") from error
            except urllib3.exceptions.ProtocolError as error:
                if last:  # else: a kept connection that the other side had closed; nothing was done yet
                    raise ProviderError("rp.proxy_upstream", type(error).__name__) from error
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                raise ProviderError("rp.proxy_upstream", type(error).__name__) from error
        raise AssertionError("the last attempt returns or raises")

    def returned(self, headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> Headers:
        """The answer's headers for the browser: no hop-by-hop ones, addresses and cookies of the public site."""
        pairs = [*headers.items()] if isinstance(headers, Mapping) else [*headers]
        named = {each.strip().lower() for k, v in pairs if k.lower() == "connection" for each in v.split(",")}
        found = []
        for name, value in pairs:
            lower = name.lower()
            if lower in _HOP | named or plain_name(name).startswith("x-crosshall-"):
                continue
            if lower in ("location", "content-location"):
                found.append((name, self._public_address(value)))
            elif lower == "set-cookie":
                found += [(name, each) for each in self._public_cookie(value)]
            else:
                found.append((name, value))
        return found

    def _public_address(self, address: str) -> str:
        """An address at the system behind as one of the public site; others as they are."""
        parts = urlsplit(address)
        own = (urlsplit(self._origin).netloc, self._public.netloc)
        base = self._settings.base_path
        if parts.netloc:
            if parts.netloc not in own or parts.scheme not in ("http", "https", ""):
                return address
            public = f"{self._public.scheme}://{self._public.netloc}"
        elif address.startswith("/"):
            public = ""
        else:
            return address
        path = parts.path or "/"
        if parts.netloc == self._public.netloc and base and (path == base or path.startswith(f"{base}/")):
            return parts._replace(scheme=self._public.scheme).geturl()  # it knows where it is published
        if self._path and not (path == self._path or path.startswith(f"{self._path}/")):
            return address
        moved = base + path.removeprefix(self._path)
        return public + parts._replace(scheme="", netloc="", path=moved or "/").geturl()

    def _public_cookie(self, value: str) -> Iterator[str]:
        """A cookie of the system behind, for this host and all of the site; none under a name of ours."""
        first, *rest = value.split(";")
        if first.partition("=")[0].strip().startswith(self._settings.cookie("")):
            return
        kept = [each.strip() for each in rest if each.partition("=")[0].strip().lower() not in ("domain", "path")]
        yield "; ".join([first.strip(), f"Path={self._settings.base_path or '/'}", *kept])

    def close(self) -> None:
        """Give back connections."""
        self._pools.clear()


class Passing:
    """An answer on its way: iterate once, close always."""

    def __init__(self, response: urllib3.BaseHTTPResponse, limit: int) -> None:
        self.status, self.reason = response.status, response.reason or ""
        self.headers = [*response.headers.items()]
        self._response, self._limit = response, limit

    def __iter__(self) -> Iterator[bytes]:
        """The body as it comes. Raises TooLargeError over the limit: the server then breaks the connection off."""
        size = 0
        while chunk := self._response.read1(_CHUNK):
            size += len(chunk)
            if size > self._limit:
                raise TooLargeError
            yield chunk
        self._response.release_conn()

    def close(self) -> None:
        """Called by the server at the end, whatever the end is."""
        self._response.close()


def request_body(environ: Mapping[str, Any], limit: int) -> tuple[Iterator[bytes] | None, Headers]:
    """The client's body and the header of its length. Raises RequestError `rp.proxy_size`, `rp.proxy_request`."""
    length = environ.get("CONTENT_LENGTH") or ""
    chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower() and environ.get("wsgi.input_terminated")
    if chunked:
        return _chunks(environ["wsgi.input"], None, limit), []
    if not length:
        return None, []
    if not (length.isascii() and length.isdigit()):
        raise RequestError("rp.proxy_request", "Content-Length is no number")
    if int(length) > limit:
        raise RequestError("rp.proxy_size", f"a body of more than {limit} bytes")
    return _chunks(environ["wsgi.input"], int(length), limit), [("Content-Length", str(int(length)))]


def _chunks(stream: Any, length: int | None, limit: int) -> Iterator[bytes]:
    done = 0
    while length is None or done < length:
        chunk = stream.read(_CHUNK if length is None else min(_CHUNK, length - done))
        if not chunk:
            return
        done += len(chunk)
        if done > limit:
            raise TooLargeError
        yield chunk
