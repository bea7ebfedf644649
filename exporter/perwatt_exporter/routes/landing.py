"""Landing page for a browser at the exporter's address."""

from collections.abc import Sequence

from perwatt_agent import __version__
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_agent.recording.replay import ENDED
from perwatt_exporter.families.agent import gpus_by_state
from perwatt_exporter.http.asgi import Response

Link = tuple[str, str, str]
"""Address, title and purpose."""

BANNERS = {
    "simulated": "Simulated. These GPUs do not exist; nothing on this page was measured.",
    "replay": "Replay. These figures come from a recording, not from this machine now.",
}

# Nothing is loaded from anywhere, and the browser is told so.
SECURITY = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'")

STYLE = """
:root { color-scheme: light dark;
        --paper: #fff; --ink: #16202a; --soft: #5d6b78; --line: #d9e0e6; --leaf: #1d7a4c }
@media (prefers-color-scheme: dark) {
  :root { --paper: #12181d; --ink: #e8edf1; --soft: #93a1ad; --line: #2c3740; --leaf: #5cc98f }
}
body { margin: 12vh auto; max-width: 34rem; padding: 0 1.5rem; background: var(--paper); color: var(--ink);
       font: 1rem/1.6 system-ui, sans-serif }
h1 { margin: 0; font-size: 2rem; letter-spacing: -.02em } h1 small { color: var(--soft); font-size: 1rem }
p { margin: .25rem 0 1.5rem; color: var(--soft) }
.banner { padding: .75rem 1rem; border-radius: .5rem; background: #b45309; color: #fff; font-weight: 600 }
dl { display: grid; grid-template-columns: 7rem 1fr; margin: 1.5rem 0; padding: 1rem 0;
     border: solid var(--line); border-width: 1px 0 }
dt { color: var(--soft) } dd { margin: 0 }
ul { margin: 0; padding: 0; list-style: none }
li { display: grid; grid-template-columns: 7rem 1fr; color: var(--soft) }
a { color: var(--leaf); text-decoration: none }
a:hover { text-decoration: underline }
"""


def landing_page(snapshot: Snapshot, links: Sequence[Link]) -> Response:
    """Say what this is, how it fares and where to go on, in one file of HTML."""
    from html import escape  # with its table of 2,000 names, which an agent without visitors does not need

    banner = BANNERS.get(snapshot.backend.name)
    facts = "".join(f"<dt>{name}</dt><dd>{escape(fact)}</dd>" for name, fact in _facts(snapshot))
    items = "".join(
        f'<li><a href="{escape(to)}">{escape(title)}</a> {escape(why)}</li>' for to, title, why in links
    )
    html = f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>perwatt</title>
<style>{STYLE}</style></head>
<body>
<h1>perwatt <small>{escape(__version__)}</small></h1>
<p>How many useful tokens does each joule buy?</p>
{f'<div class="banner" role="alert">{escape(banner)}</div>' if banner else ""}
<dl>{facts}</dl>
<ul>{items}</ul>
</body>
</html>
"""
    return Response(200, "text/html; charset=utf-8", html.encode("utf-8", "replace"), (SECURITY,))


def _facts(snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    backend = snapshot.backend
    versions = (("driver", backend.driver_version), ("NVML", backend.nvml_version))
    known = ", ".join(f"{name} {version}" for name, version in versions if version)
    answers = known or "answers" if backend.up else f"does not answer: {backend.reason or 'not asked yet'}"
    if backend.reason == ENDED:
        return ("Backend", "replay, the recording has ended"), ("GPUs", "none any more")
    return ("Backend", f"{backend.name}, {answers}"), ("GPUs", _gpus(snapshot))


def _gpus(snapshot: Snapshot) -> str:
    counts = gpus_by_state(snapshot).items()
    return ", ".join(f"{count} {state}" for state, count in counts if count) or "none"
