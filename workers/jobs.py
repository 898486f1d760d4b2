"""The Ray Jobs API: send a command to a running cluster, follow it, look at it, stop it.

Every request has a deadline, and every failure is one of our errors. Knows HTTP addresses, jobs and
their logs; does not know what a job does. The command is given as words and quoted here, because
Ray hands it to a shell.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
import shlex
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workers import cluster, probe
from workers.interface import ConfigError, TargetError
from workers.placement import Node

# A stopped job finishes what is in flight before it ends; Ray's own patience is 3 s.
STOP_WAIT_S = 600
_ANSWERS_S = 60.0
_SAYS_ITS_VERSION_S = 10.0
_LOST_S = 60.0  # a log stream that breaks is taken up again for so long
_POLL_S = 1.0
_JOB_PORT = 8265
_TALKATIVE = (
    "ray.dashboard.modules.job.sdk",
    "ray.dashboard.modules.dashboard_sdk",
    "ray._private.runtime_env.packaging",
)


@dataclass(frozen=True, slots=True)
class Job:
    """One job as the cluster knows it. `status` is PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED;
    times are UTC; `exit_code` is that of its command, None while it runs or when it was stopped."""

    job: str
    status: str
    started: str | None
    ended: str | None
    exit_code: int | None
    message: str
    about: Mapping[str, str]

    @property
    def has_ended(self) -> bool:
        return self.status in {"STOPPED", "SUCCEEDED", "FAILED"}


def command_line(words: Sequence[str]) -> str:
    """Words as one line for a shell that takes each of them for what it is.

    >>> command_line(["evocliff", "--name", "a b; rm -rf $HOME"])
    "evocliff --name 'a b; rm -rf $HOME'"

    Raises:
        ConfigError: a word that no command line can hold.
    """
    for word in words:
        if "\0" in word:
            raise ConfigError(f"{word!r}: a NUL character cannot be sent to a job")
    return shlex.join(words)


class JobServer:
    """The job server of a running cluster.

    Args:
        address: http://HOST:8265 (or https://), the address of the cluster's dashboard.

    Raises:
        ConfigError: not such an address, nothing answers, no job server, or our token is wrong.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        if not re.fullmatch(r"https?://[^/\s]+", self.address):
            raise ConfigError(
                f"--address {address}: write http://HOST:{_JOB_PORT}, the address of the cluster's "
                "job server (its dashboard)"
            )
        held = probe.token()
        headers = {"Authorization": f"Bearer {held}"} if held else {}
        self._client = self._connected(headers, held)

    @property
    def ray_version(self) -> str:
        """The Ray version of the cluster."""
        return str(self._client._server_ray_version)

    def nodes(self) -> list[Node]:
        """The live nodes of the cluster."""
        with self._explained():
            answer = self._client._do_request("GET", "/api/v0/nodes").json()
        found = answer.get("data", {}).get("result", {}).get("result", [])
        return [
            Node(
                str(node["node_ip"]),
                float(node["resources_total"].get("CPU", 0.0)),
                float(node["resources_total"].get("GPU", 0.0)),
            )
            for node in found
            if node["state"] == "ALIVE"
        ]

    def submit(
        self, words: Sequence[str], *, folder: Path, slug: str, about: Mapping[str, str]
    ) -> str:
        """Run a command on the head node, in a copy of `folder`, with our packages. Returns the job.

        Args:
            words: the command; nothing of it is taken for shell syntax.
            folder: shipped whole; the command's working folder.
            slug: how the job's id begins.
            about: stored beside the job, shown with it.

        Raises:
            ConfigError: the cluster runs a Ray that we do not support.
        """
        from packaging.specifiers import SpecifierSet

        if self.ray_version not in SpecifierSet(probe.RAY_SUPPORTED, prereleases=True):
            raise ConfigError(
                f"--address {self.address}: the cluster runs Ray {self.ray_version}, evocliff needs "
                f"ray{probe.RAY_SUPPORTED}; install that on every node"
            )
        readable = re.sub(r"[^a-z0-9]+", "-", slug.lower()).strip("-")[:40] or "job"
        with self._explained():
            return str(
                self._client.submit_job(
                    entrypoint=command_line(words),
                    submission_id=f"{readable}-{secrets.token_hex(3)}",
                    runtime_env={
                        "working_dir": str(folder),
                        "py_modules": cluster.packages(),
                        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)},
                    },
                    metadata=dict(about),
                )
            )

    def job(self, job: str) -> Job:
        """One job.

        Raises:
            ConfigError: there is no such job.
        """
        with self._explained(job):
            return _job(self._client.get_job_info(_safe(job)))

    def jobs(self) -> list[Job]:
        """Every submitted job, newest last."""
        with self._explained():
            found = [_job(details) for details in self._client.list_jobs()]
        return sorted((j for j in found if j.job), key=lambda j: j.started or "")

    def logs(self, job: str) -> str:
        """What a job has printed until now."""
        with self._explained(job):
            return str(self._client.get_job_logs(_safe(job)))

    def stop(self, job: str) -> bool:
        """Ask a job to end in order (SIGTERM); returns at once. False: it had ended already."""
        with self._explained(job):
            return bool(self._client.stop_job(_safe(job)))

    def follow(self, job: str, write: Callable[[str], None]) -> Job:
        """Write what a job prints until it has ended; gives back how. Ctrl-C leaves the job running.

        Raises:
            TargetError: the job server has not answered for a minute.
        """
        return asyncio.run(self._follow(job, write))

    async def _follow(self, job: str, write: Callable[[str], None]) -> Job:
        self.job(job)
        written, lost_since = 0, None
        clock = asyncio.get_running_loop().time
        while True:
            try:
                seen = 0
                async with contextlib.aclosing(self._tail(job)) as chunks:
                    async for chunk in chunks:
                        lost_since = None
                        new = chunk[max(0, written - seen) :]  # a stream begins at the beginning
                        seen += len(chunk)
                        if new:
                            written += len(new)
                            write(new)
                state = await asyncio.to_thread(self.job, job)
                if state.has_ended:
                    return state
            except TargetError:
                lost_since = clock() if lost_since is None else lost_since
                if clock() - lost_since > _LOST_S:
                    raise
            await asyncio.sleep(_POLL_S)

    async def _tail(self, job: str) -> AsyncGenerator[str]:
        with self._explained(job):
            async for chunk in self._client.tail_job_logs(job):
                yield str(chunk)

    def _connected(self, headers: Mapping[str, str], held: str | None) -> Any:
        import requests
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient

        class Client(JobSubmissionClient):  # type: ignore[misc]
            """Ray's client waits for ever; this one does not."""

            def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
                answers_s = _SAYS_ITS_VERSION_S if endpoint == "/api/version" else _ANSWERS_S
                bounds = {"timeout": (probe.DEADLINE_S, answers_s), "allow_redirects": False}
                return super()._do_request(method, endpoint, **bounds | options)

        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            with _without("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):  # they would win over ours
                return Client(self.address, headers=dict(headers))
        except AuthenticationError as error:
            raise probe.wrong_token(self.address, held) from error
        except (ConnectionError, requests.ConnectionError, requests.Timeout) as error:
            raise ConfigError(
                f"--address {self.address}: no job server answers there; is the cluster up, and "
                f"is the port open from here? (`ssh -L {_JOB_PORT}:localhost:{_JOB_PORT} HEAD`, or "
                f"`ray dashboard ray_cluster.yaml`)"
            ) from error
        except (RuntimeError, KeyError, ValueError, requests.RequestException) as error:
            raise ConfigError(
                f"--address {self.address}: this is no job server of Ray ({_one_line(error)}); "
                f"it listens where the dashboard does, port {_JOB_PORT} as a rule"
            ) from error

    @contextlib.contextmanager
    def _explained(self, job: str | None = None) -> Iterator[None]:
        """Ray's errors as ours."""
        import aiohttp
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise probe.wrong_token(self.address, probe.token()) from error
        except RuntimeError as error:
            if job is not None and "status code 404" in str(error):
                raise ConfigError(
                    f"{job}: no such job at {self.address}; `evocliff status` lists them"
                ) from error
            raise TargetError(f"{self.address}: {_one_line(error)}") from error
        except (OSError, aiohttp.ClientError) as error:  # requests' errors are OSErrors
            raise TargetError(
                f"{self.address}: the job server does not answer ({_one_line(error)}); "
                "the job goes on, look again with `evocliff status`"
            ) from error


def _safe(job: str) -> str:
    """A job's id as a part of a URL path.

    Raises:
        ConfigError: no id of a job.
    """
    if not re.fullmatch(r"[\w.-]+", job) or job.strip(".") == "":
        raise ConfigError(f"{job!r} is no job; `evocliff status` lists them")
    return job


def _job(details: Any) -> Job:
    """From what Ray tells."""
    return Job(
        job=str(details.submission_id or ""),
        status=str(details.status.value),
        started=_time(details.start_time),
        ended=_time(details.end_time),
        exit_code=details.driver_exit_code,
        message=str(details.message or ""),
        about=dict(details.metadata or {}),
    )


def _time(milliseconds: int | None) -> str | None:
    if not milliseconds:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


@contextlib.contextmanager
def _without(*names: str) -> Iterator[None]:
    """Take variables out of the environment inside the block."""
    taken = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)
