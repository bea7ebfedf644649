"""Who holds a device now, although the kubelet lists pods that have finished and containers of before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perwatt_agent.identity.device_holders import DeviceHolders
from perwatt_agent.identity.pod_resources import Container


def container(pod: str, *devices: str, name: str = "c") -> Container:
    return Container("n", pod, name, devices)


def test_a_finished_pod() -> None:
    """Of two pods with one device, the one that was given it last has it; order in the list means nothing."""
    old, new = container("old", "GPU-0"), container("new", "GPU-0")
    for both in ((old, new), (new, old)):
        holders = DeviceHolders()
        holders.update([old])
        holders.update(both)
        holders.update(both)

        assert (new,) == holders.of("GPU-0")


def test_two_at_first() -> None:
    """What was there before the agent is not told apart: neither is taken for the other."""
    old, new = container("old", "GPU-0"), container("new", "GPU-0")
    holders = DeviceHolders()
    holders.update([old, new])

    assert (old, new) == holders.of("GPU-0")
    holders.update([new])
    assert (new,) == holders.of("GPU-0")


def test_an_init_container() -> None:
    """It is listed first and hands its devices over: one pod is one holder."""
    init, engine = container("p", "GPU-0", name="load"), container("p", "GPU-0", "GPU-1", name="engine")
    holders = DeviceHolders()
    holders.update([init, engine])

    assert [(engine,), (engine,)] == [holders.of("GPU-0"), holders.of("GPU-1")]


@pytest.mark.parametrize(
    "devices",
    [
        pytest.param(("GPU-0::0", "GPU-0::1"), id="time-slicing"),
        pytest.param(("nvidia0/vgpu0", "nvidia0/vgpu1"), id="GKE"),
        pytest.param(("nvidia0/claim/n/a", "nvidia0/claim/n/a"), id="one claim"),
        pytest.param(("nvidia0/claim/n/a", "nvidia0/claim/n/b"), id="two claims"),
    ],
)
def test_sharing(devices: tuple[str, str]) -> None:
    """Pods that share a GPU both hold it, whichever came last."""
    first, second = (container(pod, device) for pod, device in zip("ab", devices, strict=True))
    holders = DeviceHolders()
    holders.update([first])
    holders.update([first, second])

    gpu = "GPU-0" if devices[0].startswith("GPU") else "nvidia0"
    assert (first, second) == holders.of(gpu)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 5))
def test_any_sequence(gpus: list[int], listed_after_its_end: int) -> None:
    """Pod after pod takes some GPU, each listed for a while after its end: the last one holds its GPU."""
    holders = DeviceHolders()
    pods = [container(f"pod-{number}", f"GPU-{gpu}") for number, gpu in enumerate(gpus)]
    for number in range(len(pods)):
        holders.update(pods[max(0, number - listed_after_its_end) : number + 1])

        assert (pods[number],) == holders.of(f"GPU-{gpus[number]}")
