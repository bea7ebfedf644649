"""What a fake GPU tells in depth: plain fields, performance monitoring, MIG instances."""

from typing import Any

from fakenvml.layout import MAX_MIGS

from support.gpus.fakenvml import FakeDriver


def set_fields(driver: FakeDriver, gpu: int, fields: dict[int, int | None]) -> None:
    """Set numbered fields; None is one that the GPU does not have."""
    driver.set(
        gpu,
        field_value={field: number or 0 for field, number in fields.items()},
        field_known={field: int(number is not None) for field, number in fields.items()},
    )


def enable_mig(driver: FakeDriver, gpu: int, *, instances: int = 0) -> None:
    """Turn MIG on, with this many instances of one slice."""
    driver.set(gpu, mig_enabled=1)
    for slot in range(instances):
        create_mig(driver, gpu, slot)


def disable_mig(driver: FakeDriver, gpu: int) -> None:
    for slot in range(MAX_MIGS):
        destroy_mig(driver, gpu, slot)
    driver.set(gpu, mig_enabled=0)


def mig_uuid(gpu: int, slot: int, life: int = 1) -> str:
    """The UUID of the instance that is the *life*-th in its slot."""
    return f"MIG-{gpu:08x}-fa4e-5000-8000-{life:06x}{slot:06x}"


def create_mig(driver: FakeDriver, gpu: int, slot: int, **facts: Any) -> str:
    """Put a new instance into a slot, by default one slice of an H100, and give its UUID."""
    shared = driver.mig(gpu, slot)
    shared.life += 1
    uuid = mig_uuid(gpu, slot, shared.life)
    default = {
        "uuid": uuid.encode(),
        "profile": b"1g.10gb",
        "gpu_instance": 7 + slot,
        "compute_instance": 0,
        "gpu_slices": 1,
        "compute_slices": 1,
        "multiprocessors": 16,
        "gpm_percent": 0,
        "memory_total_bytes": 10 << 30,
        "memory_reserved_bytes": 16 << 20,
        "memory_used_bytes": 0,
        "exists": 1,
    }
    for name, value in (default | facts).items():
        setattr(shared, name, value)
    return uuid


def destroy_mig(driver: FakeDriver, gpu: int, slot: int) -> None:
    driver.mig(gpu, slot).exists = 0


def set_mig_processes(driver: FakeDriver, gpu: int, slots: dict[int, int]) -> None:
    """The compute processes of a divided GPU, each with the slot of the instance that it is in."""
    driver.set_processes(gpu, [(pid, 1 << 30) for pid in slots])
    driver.set(gpu, process_slot=[slot + 1 for slot in slots.values()])
