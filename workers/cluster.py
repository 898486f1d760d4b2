"""The Ray cluster under a run: start a quiet local one, or join one that runs already.

A local Ray has no dashboard, sends no usage report, answers only those who hold its token (Ray's
default for a cluster of its own; its ports cannot be bound to loopback alone), and ends with the
block that started it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from workers import probe
from workers.interface import ConfigError
from workers.placement import Node

# Objects that pass through the local store are prompts and samples: kilobytes.
_LOCAL_OBJECT_STORE_BYTES = 256 * 1024 * 1024
_PACKAGES = ("workers", "fitness", "evo", "db")
# Ray sets this for the entry point of a submitted job: its packages were shipped with it.
_INSIDE_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
# What `ray up` leaves on its head: which kinds of nodes its autoscaler may add, and how many.
_LAUNCHER_FILE = Path("~/ray_bootstrap_config.yaml")


@contextlib.contextmanager
def connect(address: str = "local") -> Iterator[None]:
    """Be connected to Ray inside the block.

    Args:
        address: "local" starts one here and stops it again; "auto" joins the one of this machine;
            "ray://HOST:PORT" or "HOST:PORT" joins a remote one.

    Raises:
        ConfigError: nothing answers at the address (said within seconds), its Ray version differs,
            or its token is another.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=_LOCAL_OBJECT_STORE_BYTES,
            **quiet,
        )
    else:
        found = _found(address)
        probe.check(found)
        _show_token()
        runtime_env = {} if inside_a_job() else {"py_modules": packages()}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the error says it
                ray.init(address=found, runtime_env=runtime_env, **quiet)
        except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            ray.shutdown()
            raise ConfigError(
                f"--address {address}: no usable Ray there ({' '.join(str(error).split())}); "
                "start one with `ray start --head` or use --address local"
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


def inside_a_job() -> bool:
    """Whether this process is the command of a job that was submitted to a cluster."""
    return _INSIDE_A_JOB in os.environ


def packages() -> list[str]:
    """The folders of our packages, by name: what is shipped to the nodes, and nothing beside it."""
    root = Path(__file__).parent.parent
    return [str(root / name) for name in _PACKAGES]


def nodes() -> list[Node]:
    """The live nodes of the connected cluster, and those that its autoscaler may add."""
    import ray

    live = [
        Node(
            str(node["NodeManagerAddress"]),
            float(node["Resources"].get("CPU", 0.0)),
            float(node["Resources"].get("GPU", 0.0)),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    file = _LAUNCHER_FILE.expanduser()
    return live + (_may_be_added(file, len(live) - 1) if file.exists() else [])


def grows_unseen() -> bool:
    """Whether an autoscaler works here whose limits cannot be read (KubeRay's), so that `nodes` may
    leave out what it would add."""
    working = os.environ.get("RAY_enable_autoscaler_v2", "").lower() in {"1", "true"}  # noqa: SIM112
    return working and not _LAUNCHER_FILE.expanduser().exists()


def _may_be_added(file: Path, workers: int) -> list[Node]:
    """Nodes that the autoscaler of `ray up` may add to so many workers."""
    import yaml

    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        kinds, head = config["available_node_types"], config["head_node_type"]
        room = int(config["max_workers"]) - workers
        added = [
            Node(
                name, float(kind["resources"].get("CPU", 0)), float(kind["resources"].get("GPU", 0))
            )
            for name, kind in kinds.items()
            if name != head
            for _ in range(int(kind.get("max_workers", 0)))
        ]
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{file}: not the cluster file that `ray up` leaves: {error!r}"
        ) from error
    added.sort(key=lambda node: (node.gpus, node.cpus), reverse=True)
    return added[: max(0, room)]


def _found(address: str) -> str:
    """The address of the head of this machine's cluster, for "auto"; any other as it is."""
    if address != "auto":
        return address
    from ray._private import services

    try:
        return str(services.canonicalize_bootstrap_address_or_die("auto"))
    except (ConnectionError, ValueError) as error:
        raise ConfigError(
            "--address auto: no Ray runs on this machine; start one with `ray start --head`, "
            "name another with --address HOST:6379, or use --address local"
        ) from error


def _show_token() -> None:
    """Show the token that this user holds, wherever the cluster is; Ray does so for "auto" alone."""
    if os.environ.get("RAY_AUTH_MODE") is None and probe.token() is not None:
        from ray._private.authentication import authentication_token_setup

        logger = logging.getLogger(authentication_token_setup.__name__)
        logger.setLevel(logging.ERROR)  # it warns that authentication is on
        authentication_token_setup.maybe_enable_token_auth_if_token_available(False)
