"""What a fake GPU tells in depth: plain fields, performance monitoring, MIG instances."""

from typing import Any

from fakenvml.layout import MAX_MIGS

from support.gpus.fakenvml import FakeDriver

MIB = 1 << 20
# Slices, SMs, MiB of memory, and MiB that an empty instance uses, as an H100 of 80 GB has shown them.
MIG_PROFILES: dict[str, tuple[int, int, int, int]] = {
    "1g.10gb": (1, 16, 9984, 9),
    "2g.20gb": (2, 32, 20096, 17),
    "3g.40gb": (3, 60, 40448, 26),
}


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
    """
    Put a new instance into a slot, and give its UUID. By default it is one slice of an H100, or else what an
    H100 has by that profile's name.
    """
    profile = facts.get("profile", b"1g.10gb")
    slices, multiprocessors, total, used = MIG_PROFILES[profile.decode()]
    shared = driver.mig(gpu, slot)
    shared.life += 1
    uuid = mig_uuid(gpu, slot, shared.life)
    default = {
        "uuid": uuid.encode(),
        "profile": profile,
        "gpu_instance": 7 + slot,
        "compute_instance": 0,
        "gpu_slices": slices,
        "compute_slices": slices,
        "multiprocessors": multiprocessors,
        "gpm_percent": 0,
        "memory_total_bytes": total * MIB,
        "memory_reserved_bytes": 0,
        "memory_used_bytes": used * MIB,
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
