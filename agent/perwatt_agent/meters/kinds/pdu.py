"""Source label of a rack's PDU, which is read through a kind of another name."""

from perwatt_agent.meters.kind import MeterKind

ROW = MeterKind(
    name="pdu",
    rank=10,
    measures="an outlet, or a group of outlets, of a rack's power distribution",
    boundary="the wall (AC)",
    limits="`source: pdu` on a meter of any kind; the trust and the uncertainty are then those of a PDU",
    uncertainty_ratio=0.02,
    uncertainty_basis="an outlet of a rack's power distribution",
    is_label=True,
)
