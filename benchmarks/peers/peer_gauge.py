"""
nvitop-exporter's own update and page, on demand: a line in, the watts of every GPU as JSON out.

Runs under the peer's interpreter, not under perwatt's. The sequence in `update` is that of its loop.
"""

import json
import sys

from nvitop import Device
from nvitop_exporter.exporter import PrometheusExporter
from prometheus_client import CollectorRegistry


def main() -> None:
    devices = Device.all()
    registry = CollectorRegistry()
    exporter = PrometheusExporter(devices, hostname="bench", registry=registry)
    for _ in sys.stdin:
        for device in devices:
            exporter.update_device(device)
        watts = {
            int(sample.labels["index"]): sample.value
            for metric in registry.collect()
            for sample in metric.samples
            if sample.name == "gpu_power_usage_W"
        }
        print(json.dumps([watts[index] for index in sorted(watts)]), flush=True)


if __name__ == "__main__":
    main()
