"""The tracer of a search: probe and white box together, over the model that the target's engine has loaded.

An edge, as `evo.wiring`. What a probe reads, and of whom: `fitness.cliff`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evo import cliffs
from evo.config import Config
from fitness.cliff import probe as probes
from fitness.cliff.probe import Probe
from fitness.types import CliffTrace, NoTrace
from workers import looking
from workers.interface import ConfigError, Engine, Message, Sample, StoredResponse, WhiteBox


@dataclass(frozen=True, slots=True)
class CliffTracer:
    """`fitness.types.Tracer`: one pass over each sample's prompt, thought and closing mark."""

    box: WhiteBox
    probe: Probe

    @property
    def name(self) -> str:
        return self.probe.name

    @property
    def version(self) -> str:
        return self.probe.version

    async def trace(
        self, answered: Sequence[tuple[tuple[Message, ...], Sample]]
    ) -> list[CliffTrace | NoTrace]:
        asked = [(m, StoredResponse(s.reasoning, s.text)) for m, s in answered]
        return await cliffs.courses_of(asked, self.box, self.probe)


def tracer(engine: Engine, probe: Probe) -> CliffTracer:
    """Over a loaded engine; they share the model.

    Raises:
        ConfigError: it shows no hidden states, the probe is of another model, or its chat template closes
            the thought before the model can think.
    """
    box = looking.over(engine)
    probe.require(box.description, n_layers=box.n_layers, width=box.width)
    looking.require_thoughts(engine)
    return CliffTracer(box, probe)


def probe_of(config: Config) -> Probe | None:
    """The probe that the fitness needs; None: it needs none.

    Raises:
        ConfigError: there is none in the folder, or it is another one than the run began with.
    """
    search = config.search
    if search.probe is None:
        return None
    found = probes.read(Path(search.probe))
    if search.probe_version not in (None, found.version):
        raise ConfigError(
            f"search.probe: {search.probe}: holds the probe {found.version}, but the run began with "
            f"{search.probe_version}; put that one back, or begin a new run"
        )
    return found


def pinned(config: Config) -> Config:
    """The config with the version of its probe, so that no other one can go on with the run.

    Raises:
        ConfigError: as `probe_of`.
    """
    found = probe_of(config)
    if found is None:
        return config
    search = config.search.model_copy(update={"probe_version": found.version})
    return config.model_copy(update={"search": search})
