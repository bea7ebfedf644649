"""Holders of devices: the containers in the kubelet's answers that still have what they were given."""

from collections.abc import Sequence

from perwatt_agent.identity.pod_resources import Container, gpu_of, is_claimed

_Pod = tuple[str, str]


class DeviceHolders:
    """
    The containers that hold each GPU or slice, as of the newest answer.

    The kubelet may go on listing a pod that has finished, and lists an init container beside the containers
    that take over its devices. A device of a plugin, with its replica, has one holder at a time: the pod that
    was given it last, and in that pod the container that is listed last, because init containers are listed
    first. Pods that already had it in the first answer are not told apart. A claimed device may have several
    holders.
    """

    def __init__(self) -> None:
        self._answers = 0
        self._since: dict[tuple[str, _Pod], int] = {}
        self._by_gpu: dict[str, tuple[Container, ...]] = {}

    def update(self, containers: Sequence[Container]) -> None:
        """Take an answer of the kubelet."""
        self._answers += 1
        by_device: dict[str, list[Container]] = {}
        for container in containers:
            for device in container.devices:
                by_device.setdefault(device, []).append(container)
        self._since = {
            (device, pod): self._since.get((device, pod), self._answers)
            for device, listed in by_device.items()
            for pod in map(_pod, listed)
        }
        by_gpu: dict[str, dict[Container, None]] = {}
        for device, listed in by_device.items():
            current = listed if is_claimed(device) else self._current(device, listed)
            by_gpu.setdefault(gpu_of(device), {}).update(dict.fromkeys(current))
        self._by_gpu = {gpu: tuple(found) for gpu, found in by_gpu.items()}

    def of(self, name: str) -> tuple[Container, ...]:
        """Return the containers that hold the GPU or slice *name*, which `gpu_of` gave."""
        return self._by_gpu.get(name, ())

    def _current(self, device: str, listed: Sequence[Container]) -> list[Container]:
        """Of the containers with one device, the last one of each pod that was given it last."""
        last_of_pod = {_pod(container): container for container in listed}
        newest = max(self._since[device, pod] for pod in last_of_pod)
        return [one for pod, one in last_of_pod.items() if self._since[device, pod] == newest]


def _pod(container: Container) -> _Pod:
    return container.namespace, container.pod
