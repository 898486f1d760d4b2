"""Asking an address what it is, before anything joins it.

Ray itself waits minutes for a head that is not there, and says nothing of a wrong token. One small
call with a deadline tells all of that at once. Knows Ray's wire calls; joins nothing and starts
nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from workers.interface import ConfigError

DEADLINE_S = 5.0
RAY_SUPPORTED = ">=2.60"  # as pyproject.toml has it
_CLIENT_PORT = 10001
_HOW_TO_SHOW = (
    "set RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token to the head's token "
    "(there: `ray get-auth-token`)"
)


def token() -> str | None:
    """The token of Ray clusters that this user holds, from the places where Ray looks; None: none.

    Raises:
        ConfigError: RAY_AUTH_TOKEN_PATH names a file that cannot be read.
    """
    if given := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return given
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        if named:
            raise ConfigError(f"RAY_AUTH_TOKEN_PATH: {named} cannot be read: {error}") from error
        return None


def wrong_token(address: str, held: str | None) -> ConfigError:
    """The error for a cluster that did not let us in."""
    what = "its token is not the one that you hold" if held else "it asks for a token"
    return ConfigError(f"--address {address}: {what}; {_HOW_TO_SHOW}")


def check(address: str) -> None:
    """Raise unless a Ray of our version answers and lets us in. Takes a few seconds at the most.

    Args:
        address: HOST:PORT of a head (6379 as a rule), or ray://HOST:PORT of its client server.

    Raises:
        ConfigError: nothing answers, it is something else, its Ray is another, or our token is wrong.
    """
    if address.startswith(("http://", "https://")):
        raise ConfigError(
            f"--address {address}: this is where jobs are submitted (`evocliff submit`); a search "
            "joins the head itself: HOST:6379"
        )
    if address.startswith("ray://"):
        _check_client_server(address)
    else:
        _check_head(address)


def cluster_version(address: str) -> str:
    """The Ray version of the cluster whose head is at HOST:PORT.

    Raises:
        ConfigError: as `check`.
    """
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    request = gcs_service_pb2.InternalKVGetRequest(namespace=b"cluster", key=b"CLUSTER_METADATA")
    reply = _call(
        address,
        address,
        lambda channel: gcs_service_pb2_grpc.InternalKVGcsServiceStub(channel).InternalKVGet,
        request,
        f"no Ray head but something else; if it is the client server, write ray://{address}",
    )
    return str(json.loads(reply.value)["ray_version"])


def _check_head(address: str) -> None:
    import ray

    theirs = cluster_version(address)
    if theirs != ray.__version__:
        raise ConfigError(
            f"--address {address}: the cluster runs Ray {theirs}, this environment has "
            f"{ray.__version__}; install ray=={theirs} here, or ours on every node"
        )


def _check_client_server(address: str) -> None:
    """The client server tells its version at the handshake only, and then Ray compares."""
    from ray.core.generated import ray_client_pb2, ray_client_pb2_grpc

    target = address.removeprefix("ray://")
    if ":" not in target:
        target = f"{target}:{_CLIENT_PORT}"
    request = ray_client_pb2.ClusterInfoRequest(type=ray_client_pb2.ClusterInfoType.PING)
    _call(
        address,
        target,
        lambda channel: ray_client_pb2_grpc.RayletDriverStub(channel).ClusterInfo,
        request,
        "no Ray client server but something else; a head is named without ray://",
    )


def _call(address: str, target: str, method: Any, request: Any, otherwise: str) -> Any:
    """One call with a deadline; its failure as an error that says what was found there."""
    import grpc

    held = token()
    metadata = [("client_id", "evocliff")]
    if held:
        metadata.append(("authorization", f"Bearer {held}"))
    try:
        with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
            return method(channel)(request, timeout=DEADLINE_S, metadata=metadata)
    except (grpc.RpcError, ValueError) as error:
        code = error.code() if isinstance(error, grpc.RpcError) else None
        if code is grpc.StatusCode.UNAUTHENTICATED:
            raise wrong_token(address, held) from error
        if code is grpc.StatusCode.UNIMPLEMENTED:
            raise ConfigError(f"--address {address}: {otherwise}") from error
        raise ConfigError(
            f"--address {address}: no Ray answers there; is the head up and the port reachable? "
            "(`ray start --head` starts one; --address local needs none)"
        ) from error
