"""
Vocabulary of failures: why something that was fetched, or a page, a meter or a helper process, gave nothing.

Each reason is a label value on metrics pages. A subject names the reasons that it can give with `reasons`.
"""

from msgspec import Struct


class Failure(Struct, frozen=True):
    """A reason for labels, and what it means."""

    name: str
    meaning: str


TABLE: tuple[Failure, ...] = (
    # No connection.
    Failure("resolve", "The host's name cannot be resolved."),
    Failure("unreachable", "No connection to the address."),
    Failure("refused", "The connection, or the request itself, was refused."),
    Failure("tls", "The TLS handshake failed, or the certificate is not trusted."),
    Failure("permission", "This user may not open the socket."),
    Failure("no_socket", "The socket does not exist."),
    # No complete answer.
    Failure("timeout", "No complete answer within the deadline."),
    Failure("hung", "An earlier read is still blocked."),
    Failure("protocol", "The answer is not valid HTTP, or the connection ended before it did."),
    Failure("redirect", "The answer is a redirect, which is not followed: configure the final URL."),
    Failure("status", "The HTTP status is neither 200 nor a redirect."),
    Failure("http_status", "The same as `status`, of a scrape by the aggregator."),
    Failure("too_large", "The answer is larger than its limit."),
    Failure("encoding", "The body is not valid gzip, although its header says so."),
    # A page that is not a metrics page, or not one of the expected kind.
    Failure("html", "The page is HTML."),
    Failure("json", "The page is JSON instead of metrics, or JSON of another form."),
    Failure("binary", "The page is not text."),
    Failure("not_metrics", "The page is text, but not in a metrics format."),
    Failure("too_many_lines", "The page has more lines than its limit."),
    Failure("not_an_agent", "The page has metrics, but none of a perwatt agent."),
    Failure("too_many_series", "The page has more series than the aggregator keeps for a node."),
    Failure(
        "history_full",
        "The series of the node's recent pages, ended ones included, need more memory than a node may take: "
        "its history starts again. Fewer new names, or a longer `scrape_interval`, need less.",
    ),
    # An engine.
    Failure("draining", "Reading this page empties a queue of the engine, so it is not read."),
    Failure("token_file", "The file of the bearer token or of the credentials cannot be read."),
    Failure("no_family", "The page has no counter of a known engine."),
    Failure(
        "role_unknown",
        "The engine exchanges KV caches, and may prefill for others: its output is left out until it shows.",
    ),
    Failure("several_models", "The page has several models: configure one."),
    Failure(
        "several_processes",
        "Several processes serve the page in turn, as behind a load balancer: configure each of them.",
    ),
    Failure("no_model", "Several endpoints read the page, and it does not show the model of this one."),
    Failure("bad_value", "A value is not a number that a counter can have."),
    Failure("bad_histogram", "The buckets of a histogram contradict each other."),
    Failure("loading", "The engine does not serve its page yet."),
    Failure("ended", "The process has ended."),
    # A meter.
    Failure("absent", "It does not exist: no such file, device, document or meter."),
    Failure("permission_denied", "This user may not read it."),
    Failure("malformed", "The answer does not have the expected form."),
    Failure("stale", "The value has not changed, or has not been renewed, for too long."),
    Failure("implausible", "The value cannot be right: check its unit and factor."),
    Failure("unexpected", "An error that perwatt does not expect; the log has its text."),
    # The kubelet, and the process that asks it.
    Failure("no_grpcio", "The package grpcio is not installed."),
    Failure("garbage", "The answer is not one of a kubelet."),
    Failure("error", "The kubelet answered with an error."),
    Failure("silent", "The helper process sent nothing for too long."),
    Failure("garbled", "A line of the helper process cannot be read."),
    # perwatt itself.
    Failure("internal", "A defect in perwatt; the log has the traceback."),
)
MEANINGS = {failure.name: failure.meaning for failure in TABLE}


def reasons(*names: str) -> tuple[str, ...]:
    """The subset of one subject, in the given order. Raises KeyError for a name that is not in the table."""
    for name in names:
        MEANINGS[name]
    return names
