"""A fake GPU that plays a card of tests/data/cards, idle or under load."""

from fakenvml.cards import Card, State, instances, settings, waveform
from fakenvml.layout import MAX_MIGS

from support.gpus.fakedepth import create_mig, destroy_mig
from support.gpus.fakenvml import FakeDriver


def play(driver: FakeDriver, gpu: int, card: Card, state: State) -> None:
    """From now on show what the card has shown in this state."""
    facts = card.state(state)
    driver.set_driver_version(card.driver)
    driver.set_waveform(gpu, waveform(facts))
    for slot in range(MAX_MIGS):
        destroy_mig(driver, gpu, slot)
    driver.set(gpu, mig_enabled=int(bool(facts["mig_enabled"])), **settings(facts))
    slots = {}
    for slot, one in enumerate(instances(facts)):
        create_mig(driver, gpu, slot, **one)
        slots[one["gpu_instance"]] = slot + 1
    driver.set(gpu, process_slot=[slots.get(instance, 0) for *_, instance in facts["processes"]])
