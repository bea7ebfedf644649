"""Check of a configured engine: whether its metrics page answers."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from urllib.parse import urlsplit

from perwatt.doctor.finding import Finding
from perwatt_agent.config import EndpointConfig
from perwatt_agent.meters.reading.credentials import basic
from perwatt_agent.net.page_identity import page_identity
from perwatt_agent.net.tls import trusting

PAGE_SECONDS = 3.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, as the agent: the other host would receive the token."""

    def redirect_request(self, *_: object) -> None:
        return None


def check_token(endpoint: EndpointConfig) -> Iterator[Finding]:
    """Whether the engine's token or password travels unencrypted to another host."""
    parts = urlsplit(endpoint.url or "")
    has_secret = endpoint.bearer_token_file is not None or endpoint.credentials_file is not None
    if has_secret and parts.scheme == "http" and not page_identity(endpoint.url or "").is_loopback:
        detail = f"its token or password goes to {parts.hostname} over plain HTTP, where others can read it"
        yield Finding("hint", endpoint.workload or "engine", detail, "use https:// in its `url`")


def check_endpoint(endpoint: EndpointConfig) -> Finding:
    """Whether the engine's metrics page answers; a follower has none."""
    subject = endpoint.workload or "engine"
    if endpoint.url is None:
        return Finding("ok", subject, f"a follower in group {endpoint.group}: it has no page of its own")
    try:
        request = urllib.request.Request(endpoint.url, headers=_authorization(endpoint))
        trust = urllib.request.HTTPSHandler(context=trusting(endpoint.ca_file) if endpoint.ca_file else None)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trust, _NoRedirect())
        with opener.open(request, timeout=PAGE_SECONDS) as response:
            return Finding("ok", subject, f"{endpoint.url} answers {response.status}")
    except urllib.error.HTTPError as error:
        error.close()
        needs_token = error.code in (401, 403)
        fix = (
            "set its `bearer_token_file` or `credentials_file`"
            if needs_token
            else "correct the path in its `url`"
        )
        return Finding("missing", subject, f"{endpoint.url} answers {error.code} {error.reason}", fix)
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return Finding(
            "missing", subject, f"{endpoint.url}: {reason}", "start the engine, or correct its `url`"
        )


def _authorization(endpoint: EndpointConfig) -> dict[str, str]:
    if endpoint.credentials_file is not None:
        return {"Authorization": basic(endpoint.credentials_file)}
    if endpoint.bearer_token_file is None:
        return {}
    return {"Authorization": f"Bearer {endpoint.bearer_token_file.read_text().strip()}"}
