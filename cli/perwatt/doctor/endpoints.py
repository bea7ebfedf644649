"""Check of a configured engine: whether its metrics page answers."""

import urllib.error
import urllib.request
from http.client import HTTPException

from perwatt.doctor.finding import Finding
from perwatt_agent.config import EndpointConfig
from perwatt_agent.meters.reading.credentials import basic
from perwatt_agent.net.tls import trusting

PAGE_SECONDS = 3.0


def check_endpoint(endpoint: EndpointConfig) -> Finding:
    """Whether the engine's metrics page answers; a follower has none."""
    subject = endpoint.workload or "engine"
    if endpoint.url is None:
        return Finding("ok", subject, f"a follower in group {endpoint.group}: it has no page of its own")
    try:
        request = urllib.request.Request(endpoint.url, headers=_authorization(endpoint))
        trust = urllib.request.HTTPSHandler(context=trusting(endpoint.ca_file) if endpoint.ca_file else None)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trust)
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
