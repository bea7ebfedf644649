"""Targets of a simulated fleet, in the format of Prometheus's http_sd and file_sd."""

from msgspec import Struct

from perwatt.simulate.fleet import Fleet


class TargetGroup(Struct, frozen=True):
    """Addresses with their labels."""

    targets: tuple[str, ...]
    labels: dict[str, str]


def targets(fleet: Fleet, address: str, first_port: int | None = None) -> list[TargetGroup]:
    """
    One group a node. All share one address and differ in their path, or with a *first_port* in their port.
    """
    host = address.rpartition(":")[0] or address
    return [
        TargetGroup(
            (address if first_port is None else f"{host}:{first_port + node.identity.number}",),
            {
                "__metrics_path__": (
                    f"/node/{node.identity.number}/metrics" if first_port is None else "/metrics"
                ),
                "instance": node.identity.name,
                "rack": node.identity.rack,
                "cluster": node.identity.cluster,
                "facility": node.identity.site.facility,
            },
        )
        for node in fleet.nodes
    ]
