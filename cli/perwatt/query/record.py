"""`perwatt record`: readings of this node, written to a file until a signal."""

import asyncio
import platform
from pathlib import Path
from typing import BinaryIO

from perwatt.errors import CommandError
from perwatt.run.bootstrap import build_source
from perwatt.run.daemon import run_daemon
from perwatt.run.event_loop import cancelled_by
from perwatt.run.simulated_machine import simulated_parts
from perwatt_agent.clock import SystemClock
from perwatt_agent.config import AgentConfig
from perwatt_agent.recording.recording import RecordingWriter
from perwatt_agent.sampling.source import Source


def run_record(config: AgentConfig, output: Path) -> int:
    """Write the readings of the configured source to *output*, which must not exist yet."""
    if config.replay_file is not None:
        raise CommandError("--backend replay:FILE is a recording already; copy the file instead")
    file = _create(output)

    async def main(stop: asyncio.Event) -> int:
        clock = SystemClock()
        async with simulated_parts(config, clock) as (backend, endpoints):
            source, interval_seconds = build_source(config, clock, backend=backend, endpoints=endpoints)
            with file:
                writer = RecordingWriter(file, platform.node(), interval_seconds)
                print(f"recording to {output}; stop with Ctrl-C", flush=True)
                await cancelled_by(stop, _record(source, writer))
                writer.close()
        print(f"{output}: {writer.cycles} readings written")
        return 0

    return run_daemon(main)


def _create(output: Path) -> BinaryIO:
    try:
        return output.open("xb")
    except FileExistsError:
        raise CommandError(f"{output} exists already; choose another --output") from None
    except OSError as error:
        raise CommandError(f"cannot write {output}: {error.strerror}; choose another --output") from None


async def _record(source: Source, writer: RecordingWriter) -> None:
    try:
        while (readings := await source.next()) is not None:
            writer.write(readings)
    finally:
        source.close()
