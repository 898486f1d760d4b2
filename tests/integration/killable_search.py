"""One life of a run, in a process that a test may kill: the real loop and store, a scripted target.

python -m tests.integration.killable_search URL FIRST_OR_RESUME DELAY [several]
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time

import db
from evo.api import _RunRecorder
from evo.config import validate
from fitness.several import SeveralTargets
from fitness.targets import Over
from fitness.types import Target
from tests.loop_fakes import SEEDS, FakeEvaluator, config, loop
from workers.interface import EngineDescription, Sampling

EVALUATIONS = 80
DESCRIPTION = EngineDescription("fake", "scripted", "1", "none", "float32", "cpu", 100)


def live(url: str, resume: bool, delay_s: float, several: bool = False) -> None:
    """`several`: two targets that disagree, in place of one."""
    settings = config(budget__evaluations=EVALUATIONS)
    if several:
        one = {"model": "local:smollm2"}
        raw = settings.model_dump(mode="json") | {
            "targets": {"a": one, "b": one | {"system_prompt": "x"}}
        }
        del raw["target"]
        settings = validate(raw)
    with contextlib.closing(db.open(url)) as store:
        if resume:
            claim = store.claim_run("search")
        else:
            claim = store.begin_run("search", settings.model_dump(mode="json"), 0, "test")
        target = Target.of(DESCRIPTION, None, Sampling())
        target_id = store.register_target(claim.run_id, target, DESCRIPTION)
        store.register_seeds(SEEDS)
        running = loop(settings, FakeEvaluator(fails=0.1, delay_s=delay_s))
        running.recorder = _RunRecorder(store, claim.run_id, target_id, "hash", several=several)
        if several:
            other = Target.of(DESCRIPTION, "x", Sampling())
            store.register_target(claim.run_id, other, DESCRIPTION, further=True)
            workers = {
                target_id: running.evaluator,
                other.target_id: FakeEvaluator(fails=0.05, delay_s=delay_s, salt="b"),
            }
            running.evaluator = SeveralTargets(workers, Over("mean"), store.known_samples)
        differing, pending = running.replay(
            store.replay(claim.run_id, samples=True), store.pending(claim.run_id), claim.wall_s
        )
        assert differing == 0
        print("ready", flush=True)
        reason = asyncio.run(running.run(pending))
        store.end_run(claim.run_id, "finished", reason, wall_s=time.monotonic())


if __name__ == "__main__":
    live(sys.argv[1], sys.argv[2] == "resume", float(sys.argv[3]), "several" in sys.argv[4:])
