"""Targets of a simulated fleet, in the format of Prometheus's http_sd and file_sd."""

from msgspec import Struct

from perwatt.simulate.fleet import Fleet


class TargetGroup(Struct, frozen=True):
    """Addresses with their labels."""

    targets: tuple[str, ...]
    labels: dict[str, str]


def targets(fleet: Fleet, address: str) -> list[TargetGroup]:
    """One group a node: all share one address, and differ in their path and in `instance`."""
    return [
        TargetGroup(
            (address,),
            {
                "__metrics_path__": f"/node/{node.identity.number}/metrics",
                "instance": node.identity.name,
                "rack": node.identity.rack,
                "cluster": node.identity.cluster,
                "facility": node.identity.site.facility,
            },
        )
        for node in fleet.nodes
    ]
