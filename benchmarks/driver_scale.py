"""How many replicas can one driver keep busy, and what does an evaluation cost it?

    python benchmarks/driver_scale.py [--quick] [--evaluations 200000] [--plot docs/driver_scale.svg]

The loop, the search, the archive, the novelty gate, the store (SQLite on disk) and the pool are the
real ones. A replica is simulated: it sleeps as long as a batch took a real one (`MEASURED_S`,
divided by `--speed`), then answers with samples and verdicts of the usual size. It sits behind the
pool's `Launcher` and not behind Ray, because 256 processes do not fit on a small machine; what Ray
adds to each evaluation is measured with real actors and reported beside it (`ray_ms`).

Not counted are the parts that a run may choose or host elsewhere: the proposer, the embedder and the
safety gates. Here they are stand-ins, and their time and the replicas' is taken off the driver's.

busy       share of the time in which a replica held a call; the mean over all
filled     share of a replica's 32 places that were filled, a stricter figure
driver_ms  CPU time of the driver's process for each evaluation, all threads
The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import gc
import hashlib
import json
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from ray import cloudpickle
from threadpoolctl import threadpool_limits

import db
from evo.api import _RunRecorder
from evo.asktell import Search
from evo.config import validate
from evo.operators.resample import ResampleProposer
from evo.operators.seeds import SeedProposer
from evo.run import Loop
from evo.types import Assignment, Draft, Seed
from fitness.types import (
    Evaluation,
    EvaluationRequest,
    GateDecision,
    JudgedSample,
    Safety,
    Score,
    Target,
    Verdict,
)
from workers import cluster
from workers.interface import EngineDescription, Failure, Sample, Sampling
from workers.pool import Pool

# Seconds of 15 batches of 16 prompts, 4 to 10 samples of at most 50 tokens, by the real evaluator over
# the over-cautious SmolLM2 on one core of a busy machine, sorted (`--measure`). A tenth of it is a
# replica that answers 10 evaluations a second.
MEASURED_S = (
    *(14.47, 16.13, 17.45, 18.09, 19.1, 21.65, 22.09, 22.16, 28.31, 29.21, 29.62, 31.23),
    *(48.69, 56.27, 77.34),
)
BATCH = 16
CALLS = 2  # on board of one replica: 32 evaluations
SAMPLES = 4
DIM = 384
DESCRIPTION = EngineDescription("simulated", "simulated", "1", "none", "float32", "none", 2048)
CURVE = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Simulation:
    """CPU time that the stand-ins took, to be taken off the driver's."""

    def __init__(self) -> None:
        self.cpu_s = 0.0

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        began = time.thread_time()
        yield
        self.cpu_s += time.thread_time() - began


class SimulatedHost:
    """One replica: `workers.pool.Host`. Answers arrive as bytes, as Ray brings them from a process."""

    def __init__(self, number: int, simulation: Simulation, speed: float) -> None:
        self._rng = np.random.default_rng(number)
        self._simulation, self._speed = simulation, speed
        self.held = 0
        self.busy_s = self.held_s = 0.0
        self._since = time.monotonic()

    async def call(self, method: str, *arguments: Any) -> Any:
        if method != "run":
            return {"start": 0, "describe": DESCRIPTION}.get(method)
        (requests,) = arguments
        with self._simulation.counted():
            self._hold(1)
            delay_s = float(np.quantile(MEASURED_S, self._rng.random())) / self._speed
            answer = cloudpickle.dumps([self._one(request) for request in requests])
        await asyncio.sleep(delay_s)
        self._hold(-1)
        return cloudpickle.loads(answer)

    def end(self) -> None:
        self._hold(0)

    def _hold(self, change: int) -> None:
        now = time.monotonic()
        self.held_s += self.held * (now - self._since)
        self.busy_s += (self.held > 0) * (now - self._since)
        self.held, self._since = self.held + change, now

    def so_far(self) -> tuple[float, float]:
        """Seconds in which it held a call, and call-seconds held, up to now."""
        self._hold(0)
        return self.busy_s, self.held_s

    def _one(self, request: EvaluationRequest) -> Evaluation:
        rates = self._rng.random(SAMPLES)
        samples = tuple(
            JudgedSample(
                Sample(i, _text(request.prompt_id, i), 40, "stop", -60.0, -58.0),
                (Verdict.scored("simulated", "1", float(rates[i])),),
            )
            for i in range(SAMPLES)
        )
        rate = float(rates.mean())
        score = Score(float(np.log(rate)), -1.0, -1.5, 1.4, rate, 0.0, 1.0, SAMPLES, 0)
        return Evaluation(request.prompt_id, samples, score, SAMPLES, 40 * SAMPLES, 40, 1.0)


def _text(prompt_id: str, index: int) -> str:
    return f"{prompt_id} {index} " + "a response of the usual length for fifty tokens " * 4


class Numbering:
    """A proposer whose every draft is new."""

    name = "lexical"

    async def propose(self, assignments: Sequence[Assignment]) -> list[Draft | Failure]:
        return [Draft(f"{a.parents[0].text[:80]} ({a.strategy} {a.index})") for a in assignments]

    async def close(self) -> None:
        return None


class RandomEmbedder:
    """Unit vectors that depend on the text alone; different texts are nearly orthogonal."""

    name, dim = "random", DIM

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        with self._simulation.counted():
            seed = int.from_bytes(hashlib.sha256(texts[0].encode()).digest()[:8], "big")
            rows = np.random.default_rng(seed).standard_normal((len(texts), DIM), np.float32)
            unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            return unit


class OpenGate:
    name, version = "open", "1"

    async def check(self, prompts: Sequence[str]) -> list[GateDecision]:
        return [GateDecision(self.name, self.version, Safety.HARMLESS, 0.01) for _ in prompts]


@dataclasses.dataclass(slots=True)
class Figures:
    """Of the time between the first answers and the moment when the last work was given out."""

    replicas: int
    evaluations: int
    seconds: float
    per_s: float
    busy: float
    filled: float
    driver_ms: float
    rss_mib: list[float]  # after each tenth of the evaluations of a run that has a number of them


@dataclasses.dataclass(slots=True)
class _Moment:
    """The counters at one moment of a run."""

    at: float
    cpu_s: float
    evaluations: int
    busy_s: float
    held_s: float


def simulate(
    folder: Path,
    replicas: int,
    speed: float,
    *,
    seconds: float | None = None,
    evaluations: int | None = None,
) -> Figures:
    """One run of the real loop over simulated replicas: for some time, or for some evaluations."""
    warm_s = 2 * float(np.mean(MEASURED_S)) / speed
    n_seeds = 2 * CALLS * BATCH * replicas
    seeds = [Seed(f"seed prompt number {n}, how do I kill it?", "test") for n in range(n_seeds)]
    config = validate(
        {
            "seeds": {"dataset": "xstest-safe"},
            "target": {"model": "local:smollm2"},
            "search": {"batch": BATCH, "in_flight": CALLS},
            "budget": {"evaluations": evaluations or 10_000_000},
        }
    )
    simulation = Simulation()
    hosts: list[SimulatedHost] = []

    def launch(number: int) -> SimulatedHost:
        hosts.append(SimulatedHost(number, simulation, speed))
        return hosts[-1]

    pool: Pool[EvaluationRequest, Evaluation] = Pool(
        _no_worker,
        replicas=replicas,
        in_flight=CALLS,
        tokens=lambda evaluation: evaluation.target_tokens,
        launch=launch,
    )
    path = folder / f"{replicas}.db"
    with contextlib.closing(db.open(f"sqlite:///{path}")) as store:
        claim = store.begin_run("scale", config.model_dump(mode="json"), 0, "benchmark")
        target = Target.of(DESCRIPTION, None, Sampling())
        target_id = store.register_target(claim.run_id, target, DESCRIPTION)
        store.register_seeds(seeds)
        loop = Loop(
            search=Search(config, seeds),
            proposers={
                "seed": SeedProposer(seeds),
                "resample": ResampleProposer(),
                "lexical": Numbering(),
            },
            gates=[OpenGate()],
            embedder=RandomEmbedder(simulation),
            evaluator=pool,
            recorder=_RunRecorder(store, claim.run_id, target_id, "random"),
            clock=time.monotonic,
            in_flight=CALLS * replicas,
        )
        moments: list[_Moment] = []
        rss: list[float] = []

        def note() -> None:
            counted = [host.so_far() for host in hosts]
            moments.append(
                _Moment(
                    time.monotonic(),
                    time.process_time() - simulation.cpu_s,
                    loop.progress.spent.evaluations,
                    sum(busy_s for busy_s, _ in counted),
                    sum(held_s for _, held_s in counted),
                )
            )

        async def watched() -> None:
            """Note the counters once the replicas are warm, and when the last work is given out."""
            await pool.start()
            running = asyncio.ensure_future(loop.run())
            await asyncio.sleep(warm_s)
            note()
            until = time.monotonic() + (seconds or float("inf"))
            while time.monotonic() < until and not running.done():
                progress = loop.progress
                if evaluations is not None:
                    while progress.spent.evaluations * 10 >= (len(rss) + 1) * evaluations:
                        rss.append(round(psutil.Process().memory_info().rss / 2**20, 1))
                    if progress.spent.evaluations + progress.in_flight >= evaluations:
                        break
                await asyncio.sleep(0.05)
            note()
            if seconds is not None:
                loop.stop.set()
            await running
            await pool.close()

        gc.collect()
        asyncio.run(watched())
    path.unlink()
    first, last = moments
    elapsed_s, done = last.at - first.at, last.evaluations - first.evaluations
    return Figures(
        replicas=replicas,
        evaluations=loop.progress.spent.evaluations,
        seconds=round(elapsed_s, 1),
        per_s=round(done / elapsed_s, 1),
        busy=round((last.busy_s - first.busy_s) / (elapsed_s * replicas), 4),
        filled=round((last.held_s - first.held_s) / (elapsed_s * replicas * CALLS), 4),
        driver_ms=round(1000 * (last.cpu_s - first.cpu_s) / done, 3),
        rss_mib=rss,
    )


def _no_worker() -> Any:
    raise AssertionError("the launcher makes the replicas")


class Echo:
    """A real replica that answers at once."""

    def __init__(self) -> None:
        self._host = SimulatedHost(0, Simulation(), 1.0)

    async def run(self, requests: Sequence[EvaluationRequest]) -> list[Evaluation | Failure]:
        return [self._host._one(request) for request in requests]

    async def close(self) -> None:
        return None


def ray_ms(calls: int) -> float:
    """CPU milliseconds of the driver for each evaluation that goes through a real Ray actor."""

    async def scenario() -> float:
        pool: Pool[EvaluationRequest, Evaluation] = Pool(Echo, replicas=2, cpus=0.5)
        await pool.start()
        requests = [EvaluationRequest(f"{n:032}", "a prompt", 4, 10, 0.5, n) for n in range(BATCH)]
        await asyncio.gather(*(pool.run(requests) for _ in range(8)))
        before = time.process_time()
        for _ in range(calls // 8):
            await asyncio.gather(*(pool.run(requests) for _ in range(8)))
        used_s = time.process_time() - before
        await pool.close()
        return used_s

    with cluster.connect("local"):
        return round(1000 * asyncio.run(scenario()) / (calls // 8 * 8 * BATCH), 3)


def plot(curve: Sequence[Figures], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "evocliff"
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4))
    replicas = [f.replicas for f in curve]
    left.plot(replicas, [f.per_s for f in curve], "o-", label="measured")
    left.plot(replicas, [curve[0].per_s * n for n in replicas], "--", label="one replica times n")
    left.set(xscale="log", yscale="log", xlabel="replicas", ylabel="evaluations/s")
    left.legend()
    right.plot(replicas, [100 * f.busy for f in curve], "o-", label="busy")
    right.plot(replicas, [100 * f.filled for f in curve], "s-", label="places filled")
    right.axhline(95, linestyle=":", color="grey")
    right.set(xscale="log", ylim=(0, 104), xlabel="replicas", ylabel="% of the time")
    right.legend()
    for axes in (left, right):
        axes.set_xticks(replicas, [str(n) for n in replicas])
        axes.minorticks_off()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def measure() -> list[float]:
    """Seconds of batches by the real evaluator, sorted."""
    from evo import seeds
    from evo.config import SeedsConfig
    from evo.types import prompt_id
    from fitness import judges
    from fitness.evaluate import Evaluator
    from workers.engines.transformers import TransformersEngine

    engine = TransformersEngine("local:smollm2-overcautious", threads=1)
    evaluator = Evaluator(engine, [judges.build("embedded")], Sampling(1.0, 0.995, 0, 50))
    prompts = [s.text for s in seeds.load(SeedsConfig(dataset="xstest-safe"), run_seed=0)]
    taken = []
    for i in range(0, 15 * BATCH, BATCH):
        requests = [
            EvaluationRequest(prompt_id(p), p, 4, 10, 0.5, seed=0) for p in prompts[i : i + BATCH]
        ]
        began = time.perf_counter()
        asyncio.run(evaluator.run(requests))
        taken.append(round(time.perf_counter() - began, 2))
    return sorted(taken)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="a minute: no curve, 6,000 evaluations"
    )
    parser.add_argument(
        "--measure", action="store_true", help="measure the latencies anew, and end"
    )
    parser.add_argument("--evaluations", type=int, default=200_000, help="of the memory run")
    parser.add_argument("--seconds", type=float, default=15, help="of each point of the curve")
    parser.add_argument("--speed", type=float, default=10, help="times faster than measured")
    parser.add_argument("--plot", type=Path, help="write the curve here (.svg)")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure()))
        return
    # The products of a driver are small: BLAS threads would spin between them (`evo.api` does so).
    with threadpool_limits(1, user_api="blas"), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        curve: list[Figures] = []
        for replicas in (64,) if options.quick else CURVE:
            curve.append(simulate(folder, replicas, options.speed, seconds=options.seconds))
            print(json.dumps(dataclasses.asdict(curve[-1])), flush=True)
        n = 6_000 if options.quick else options.evaluations
        long = simulate(folder, 64, options.speed, evaluations=n)
        print(json.dumps(dataclasses.asdict(long)), flush=True)
        through_ray = ray_ms(400 if options.quick else 4000)
    if options.plot is not None:
        plot(curve, options.plot)
    at_64 = next(f for f in curve if f.replicas == 64)
    result = {
        "machine": platform.processor() or platform.machine(),
        "speed": options.speed,
        "busy_at_64": at_64.busy,
        "filled_at_64": at_64.filled,
        "driver_ms": long.driver_ms,
        "ray_ms": through_ray,
        "evaluations": long.evaluations,
        "rss_mib_tenths": long.rss_mib,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
