"""An image of a registry, into an OCI layout of our own: manifest of this architecture, configuration, layers.

Which hosts may be asked is the policy's: whoever has the web process could otherwise make root ask any machine it reaches. A
registry may send us on (to where it keeps its blobs, or gives tokens): to a host of the policy too, or as elsewhere.py says.
Nothing is believed: every byte is held against its digest. Source: OCI Distribution Specification, docker token authentication.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec
import requests

from ...errors import InvalidInput, KernelRefused, NotFound
from . import elsewhere
from .layers import MOST_JSON, blob_path, choose, is_index
from .references import HUB, Reference, check_registry
from .task import Budget, Registries

MOST_REDIRECTS = 5
PIECE = 1 << 18
_HUB_SERVER = "registry-1.docker.io"
_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)  # fmt: skip
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_BUSY = "Try again, or look at the registry's own log."


class Registry:
    """One repository of one registry."""

    def __init__(self, reference: Reference, registries: Registries, budget: Budget) -> None:
        check_registry(registries, reference)
        self._reference, self._registries, self._budget = reference, registries, budget
        scheme = "http" if reference.host in registries.insecure else "https"
        server = _HUB_SERVER if reference.host == HUB else reference.host
        self._base = f"{scheme}://{server}/v2/{reference.name}"
        self._session = requests.Session()
        self._session.trust_env = False  # no credentials of root's .netrc
        self._elsewhere = elsewhere.session()
        self._token = ""

    def fetch(self, layout: str, told: Callable[[str, int, int], None]) -> None:
        """Write index.json and blobs below ``layout``."""
        try:
            self._fetch(layout, told)
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError):
            raise InvalidInput("What the registry sent describes no image.", code="invalid_layout", hint=_BUSY) from None

    def _fetch(self, layout: str, told: Callable[[str, int, int], None]) -> None:
        os.makedirs(f"{layout}/blobs/sha256")
        digest, manifest = self._manifest(layout)
        layers = manifest["layers"]
        total = sum(int(layer["size"]) for layer in layers)
        self._budget.spend(size=total)  # what is announced; what comes is bounded by that
        done = 0
        for number, layer in enumerate([manifest["config"], *layers]):
            phase = "Fetching the configuration" if not number else f"Fetching layer {number} of {len(layers)}"
            for piece in self._blob(layout, layer["digest"], int(layer["size"])):
                done += piece
                told(phase, done, total)
        with open(f"{layout}/index.json", "wb") as file:
            file.write(msgspec.json.encode({"schemaVersion": 2, "manifests": [{"digest": digest}]}))

    def _manifest(self, layout: str) -> tuple[str, dict[str, Any]]:
        wanted = self._reference.tag
        for _ in range(3):
            data = self._read(f"{self._base}/manifests/{wanted}")
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            if wanted.startswith("sha256:") and digest != wanted:
                raise _wrong(wanted)
            document = msgspec.json.decode(data, type=dict[str, Any])
            if not is_index(document):
                if "layers" not in document or "config" not in document:
                    raise InvalidInput("The registry has this image in an old form only.", hint="Push it anew.")
                with open(f"{layout}/{blob_path(digest)}", "wb") as file:
                    file.write(data)
                return digest, document
            wanted = str(choose(document["manifests"])["digest"])
            blob_path(wanted)
        raise InvalidInput("The registry's indexes have no end.", hint="Name the image by its digest.")

    def _read(self, url: str) -> bytes:
        with self._get(url) as answer:
            return _bounded(answer)

    def _blob(self, layout: str, digest: str, size: int) -> Iterator[int]:
        path, hashed, got = f"{layout}/{blob_path(digest)}", hashlib.sha256(), 0
        if os.path.exists(path):
            return
        with self._get(f"{self._base}/blobs/{digest}") as answer, open(path, "wb") as file:
            for piece in answer.iter_content(PIECE):
                got += len(piece)
                if got > size:
                    raise _wrong(digest)
                hashed.update(piece)
                file.write(piece)
                yield len(piece)
        if "sha256:" + hashed.hexdigest() != digest:
            raise _wrong(digest)

    @contextlib.contextmanager
    def _get(self, url: str) -> Iterator[requests.Response]:
        try:
            answer = self._ask(url)
            if answer.status_code == 401 and not self._token:
                self._token = self._fetch_token(answer.headers.get("WWW-Authenticate", ""))
                answer.close()
                answer = self._ask(url)
            with answer:
                if answer.status_code in (401, 403, 404):
                    shown = f"{self._reference.host}/{self._reference.name}:{self._reference.tag}"
                    raise NotFound(f"The registry does not show {shown}.", hint="It may be misspelt, or not public.")
                if answer.status_code != 200:
                    raise KernelRefused(f"The registry answered {answer.status_code}.", code="registry", hint=_BUSY)
                yield answer
        except requests.RequestException as error:
            text = type(error).__name__
            raise KernelRefused(
                f"The registry {self._reference.host} does not answer ({text}).", code="registry", hint=_BUSY
            ) from None

    def _ask(self, url: str) -> requests.Response:
        """Follows redirects by hand: the token stays with the registry's own host, and private networks are not asked."""
        for _ in range(MOST_REDIRECTS):
            headers = {"Accept": _ACCEPT}
            if self._token and urlsplit(url)[:2] == urlsplit(self._base)[:2]:
                headers["Authorization"] = f"Bearer {self._token}"
            answer = self._send(url, headers=headers, stream=True)
            if answer.status_code not in (301, 302, 303, 307, 308):
                return answer
            url = urljoin(url, answer.headers.get("Location", ""))
            answer.close()
        raise KernelRefused("The registry sends us round in circles.", code="registry", hint=_BUSY)

    def _fetch_token(self, challenge: str) -> str:
        if not challenge.lower().startswith("bearer "):
            raise NotFound("The registry asks for a password, and the panel has none.", hint="Only public images can be fetched.")
        words = dict(_CHALLENGE.findall(challenge))
        realm = words.pop("realm", "")
        query = {name: words[name] for name in ("service", "scope") if name in words}
        with self._send(realm, params=query, stream=True) as answer:
            if answer.status_code != 200:
                raise NotFound("The registry gives no token for this image.", hint="It may be misspelt, or not public.")
            found = msgspec.json.decode(_bounded(answer), type=dict[str, Any])
        return str(found.get("token") or found.get("access_token") or "")

    def _send(self, url: str, **options: Any) -> requests.Response:
        """What the policy names is asked where it is; everything else as a stranger."""
        scheme, host = urlsplit(url)[:2]
        own = urlsplit(url)[:2] == urlsplit(self._base)[:2]
        named = host in (self._registries.insecure if scheme == "http" else self._registries.allowed)
        if not own and not named:
            elsewhere.check_url(url)
        session = self._session if own or named else self._elsewhere
        return session.get(url, timeout=elsewhere.SECONDS, allow_redirects=False, **options)


def _bounded(answer: requests.Response) -> bytes:
    data = b""
    for piece in answer.iter_content(PIECE):
        data += piece
        if len(data) > MOST_JSON:
            raise InvalidInput("The registry's answer is too long.", hint=_BUSY)
    return data


def _wrong(digest: str) -> InvalidInput:
    return InvalidInput(f"What the registry sent is not {digest[:19]}….", code="wrong_digest", hint="Fetch it again.")
