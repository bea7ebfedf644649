"""Pods of this node from the kubelet's list, and the metrics pages that their annotations name."""

import ssl
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, field

from perwatt_agent.net.failures import reasons
from perwatt_agent.net.http_client import FETCH_REASONS, FetchError, Target, fetch

LIST_SECONDS = 5.0
MAX_LIST_BYTES = 32 * 1024 * 1024

# Annotations that request a scrape and say where: the Prometheus convention, and KServe's.
_MARKS = (
    ("prometheus.io/scrape", "prometheus.io/port", "prometheus.io/path", "prometheus.io/scheme"),
    (
        "serving.kserve.io/enable-prometheus-scraping",
        "prometheus.kserve.io/port",
        "prometheus.kserve.io/path",
        "",
    ),
)

# Labels by which platforms tell prefill from decode pods, without their prefixes.
_ROLE_LABELS = ("role", "component", "dynamo-sub-component-type")


class _Metadata(Struct, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    annotations: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


class _Container(Struct, frozen=True):
    name: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()


class _Spec(Struct, frozen=True, rename="camel"):
    host_network: bool = False
    containers: tuple[_Container, ...] = ()


class _Status(Struct, frozen=True):
    pod_ip: str = field(default="", name="podIP")
    phase: str = ""


class Pod(Struct, frozen=True):
    """The fields of a pod that are read."""

    metadata: _Metadata = field(default_factory=_Metadata)
    spec: _Spec = field(default_factory=_Spec)
    status: _Status = field(default_factory=_Status)

    @property
    def name(self) -> tuple[str, str]:
        """Its namespace and name."""
        return self.metadata.namespace, self.metadata.name

    def command(self, container: str) -> tuple[str, ...]:
        """Return command and arguments that the pod gives to a container of this name."""
        given = (one for one in self.spec.containers if one.name == container)
        return next(((*one.command, *one.args) for one in given), ())

    @property
    def role(self) -> Literal["prefill", "decode"] | None:
        """The role that its labels give it; None if they give none, or both."""
        labels = self.metadata.labels.items()
        roles = {value.lower() for key, value in labels if key.rpartition("/")[2] in _ROLE_LABELS}
        roles &= {"prefill", "decode"}
        if len(roles) != 1:
            return None
        return "prefill" if "prefill" in roles else "decode"

    @property
    def is_finished(self) -> bool:
        """Whether all of its containers have ended for good; it holds no GPU, whatever is listed."""
        return self.status.phase in ("Succeeded", "Failed")

    def page_url(self) -> str:
        """Return the page URL in its annotations. Raises ValueError with the reason if there is none."""
        if self.spec.host_network:
            raise ValueError("it is on the host's network: its engine is found by its processes")
        if not self.status.pod_ip:
            raise ValueError("it has no address yet")
        notes = self.metadata.annotations
        for scrape, port, path, scheme in _MARKS:
            if notes.get(scrape) == "true" and notes.get(port, "").isdecimal():
                host = f"[{self.status.pod_ip}]" if ":" in self.status.pod_ip else self.status.pod_ip
                where = notes.get(path, "/metrics")
                url = f"{notes.get(scheme, 'http')}://{host}:{notes[port]}/{where.removeprefix('/')}"
                Target.of(url)
                return url
        raise ValueError('it is not annotated with prometheus.io/scrape: "true" and prometheus.io/port')


class _PodList(Struct, frozen=True):
    items: list[Pod]


_DECODER = msgspec.json.Decoder(_PodList)


POD_LIST_REASONS = reasons(*FETCH_REASONS, "json", "token_file")


class PodListFailure(Exception):
    """The kubelet did not list its pods; `reason` is one of POD_LIST_REASONS."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PodList:
    """
    Client for the pod list of the kubelet at *url* (port 10250, or the read-only 10255).

    The token is read again each time, as tokens are rotated. Raises OSError or ssl.SSLError if *ca_file*
    holds no certificates.
    """

    def __init__(self, url: str, *, ca_file: Path | None = None, token_file: Path | None = None) -> None:
        self._target = Target.of(f"{url.rstrip('/')}/pods")
        self._trust = ssl.create_default_context(cafile=ca_file) if ca_file else None
        self._token_file = token_file

    async def read(self) -> list[Pod]:
        """Raises PodListFailure."""
        try:
            token = self._token_file.read_text(encoding="ascii").strip() if self._token_file else None
            body = await fetch(
                self._target,
                timeout_seconds=LIST_SECONDS,
                max_bytes=MAX_LIST_BYTES,
                headers={"Accept": "application/json"},
                bearer_token=token,
                tls_context=self._trust,
            )
            return _DECODER.decode(body).items
        except FetchError as error:
            raise PodListFailure(error.reason, str(error)) from error
        except msgspec.MsgspecError as error:
            raise PodListFailure("json", f"the answer is not a list of pods: {error}") from error
        except (OSError, ValueError) as error:
            raise PodListFailure("token_file", f"{self._token_file}: {error}") from error
