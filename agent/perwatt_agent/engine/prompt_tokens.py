"""Prompt tokens of one page: computed here, found in a cache, or computed by another worker."""

from perwatt_agent.engine.kind import EngineKind, Role
from perwatt_agent.engine.metrics_page import EngineMetricsPage
from perwatt_agent.engine.wasted_tokens import RunningMaximum

Prompt = tuple[float | None, float | None]
"""Computed and cached prompt tokens."""


def prompt_tokens(
    kind: EngineKind, page: EngineMetricsPage, maximum: RunningMaximum, *, has_peers: bool
) -> Prompt:
    """
    Return computed and cached prompt tokens, which never decrease. None is what the page does not tell.

    With *has_peers*, another worker computes prompts for this one and counts them: tokens from outside the
    GPU count as cached only if the page says that they came from this engine's own memory or disk. Without,
    they all count, except those that the page says a peer sent.
    """
    if kind.prompt_external:
        return _by_origin(kind, page, maximum, has_peers=has_peers)
    prompt = page.tokens(kind.prompt_tokens)
    computed, cached = page.tokens(kind.prompt_computed), page.tokens(kind.prompt_cached)
    if prompt is None or (computed is not None and cached is not None):
        return computed, cached
    if computed is not None:
        return computed, min(prompt, maximum("cached", prompt - computed))
    if cached is None:
        return None, None
    # Cache hits are counted when a request is admitted, its prompt after the prefill. In between, the hits
    # are ahead of the prompts that they belong to.
    computed = maximum("computed", prompt - cached)
    return computed, prompt - computed


def _by_origin(
    kind: EngineKind, page: EngineMetricsPage, maximum: RunningMaximum, *, has_peers: bool
) -> Prompt:
    prompt, external = page.tokens(kind.prompt_tokens), page.tokens(kind.prompt_external)
    computed, local = page.tokens(kind.prompt_computed), page.tokens(kind.prompt_cached)
    if local is None or (has_peers and external is None):
        return computed, None
    if computed is None:
        if prompt is None:
            return None, local
        computed = maximum("computed", prompt - local - (external or 0.0))
    own = _from_own_tiers(kind, page, external or 0.0, has_peers=has_peers)
    # A prompt that was found whole has one token computed again: it is computed, and no longer cached.
    cached = local + own
    return computed, cached if prompt is None else max(0.0, min(cached, prompt - computed))


def _from_own_tiers(kind: EngineKind, page: EngineMetricsPage, external: float, *, has_peers: bool) -> float:
    """Return those of the *external* tokens that this engine had kept itself."""
    tiers: tuple[Role, ...] = (kind.prompt_own_tiers,)
    if not has_peers:
        tiers += (kind.prompt_unnamed_tier,)
    own = [page.tokens(tier) for tier in tiers]
    if own[0] is None:
        return 0.0 if has_peers else external
    # Tiers are counted when a request is admitted, before its prompt.
    return min(external, sum(tokens for tokens in own if tokens is not None))
