"""The sample pages, of which each has a golden one."""

from collections.abc import Callable

from perwatt_agent.facts.snapshot import Snapshot
from support.exposition import deep_pages, pages

SAMPLES: dict[str, Callable[[], Snapshot]] = {
    sample.__name__: sample
    for sample in (
        pages.healthy_8_gpus,
        pages.one_lost,
        pages.one_hung,
        pages.no_driver,
        pages.zero_gpus,
        pages.simulated_with_workload,
        pages.pre_volta_integrated,
        deep_pages.hopper_in_depth,
        deep_pages.hopper_with_mig,
        deep_pages.mig_with_two_workloads,
        deep_pages.volta_with_little,
    )
}
