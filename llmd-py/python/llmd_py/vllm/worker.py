"""A worker's side: its part of the KV cache, and the agent that moves it, on threads that do not need Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from llmd_py import Agent, KvWorker
from llmd_py.vllm import keys, layout
from llmd_py.vllm.settings import Settings

if TYPE_CHECKING:
    import torch
    from vllm.config import VllmConfig
    from vllm.v1.kv_cache_interface import KVCacheConfig

__all__ = ["WorkerSide", "Came"]


class Came:
    """What came of requests since it was asked last."""

    def __init__(self) -> None:
        """Nothing."""
        self.sent: set[str] = set()
        self.received: set[str] = set()
        self.failed: dict[str, list[tuple[int, int]]] = {}


class WorkerSide:
    """One rank's part of the cache, lent to other engines and fetched into."""

    def __init__(self, settings: Settings, config: VllmConfig, cache: KVCacheConfig, shard: int, shards: int) -> None:
        """Do nothing yet: the cache is not there."""
        self.settings = settings
        self.config = config
        self.cache = cache
        self.shard = shard
        self.shards = shards
        # One that cannot be read is for an operator to see when the engine starts.
        settings.key()
        self.key = b""
        self.agent: Agent | None = None
        self.worker: KvWorker | None = None
        self.content: dict[str, str] = {}

    def register(self, caches: Mapping[str, torch.Tensor]) -> None:
        """Take the cache in, and begin to serve."""
        settings, groups = self.settings, []
        memory, address = layout.memory(caches)
        self.content = layout.content(self.config, caches)
        content = layout.digest(self.content)
        key = settings.key()
        agent = Agent(
            f"vllm-{self.config.kv_transfer_config.engine_id}-{self.shard}",
            [self._transport(name) for name in settings.transports],
            tenant=settings.tenant or None,
            key=key,
            check=settings.check,
            folder=settings.folder,
            copy_threads=settings.copy_threads,
        )
        for number in getattr(self.cache, "transfer_group_ids", range(len(self.cache.kv_cache_groups))):
            group = self.cache.kv_cache_groups[number]
            layers = {name: caches[name] for name in group.layer_names if name in caches}
            where = layout.layout(
                number,
                layers,
                address=address,
                blocks=self.cache.num_blocks,
                tokens=group.kv_cache_spec.block_size,
                rank=self._rank(),
                first_head=self._first_head(next(iter(layers.values()))),
                first_layer=_first_layer(layers),
                content=content,
                is_packed=next(iter(caches.values())).device.type == "cpu",
            )
            groups.append((number, agent.register(memory, where)))
        self.agent = agent
        self.key = keys.of_engine(settings, str(self.config.kv_transfer_config.engine_id), str(self.config.instance_id))
        self.worker = KvWorker(
            agent,
            groups,
            key=self.key,
            shard=self.shard,
            shards=self.shards,
            folder=settings.folder,
            bind=settings.bind,
            lease_seconds=settings.lease_seconds,
            hold_at_most=settings.hold_at_most,
            fetch_within=settings.fetch_within,
            wait_at_most=settings.wait_at_most,
            retries=settings.retries,
            consumers=settings.consumers,
            block_tokens=self.config.cache_config.block_size,
        )

    def came(self) -> Came:
        """Say what came of requests since it was asked last."""
        came = Came()
        if self.worker is not None:
            sent, received, failed = self.worker.take()
            came.sent.update(sent)
            came.received.update(received)
            came.failed = dict(failed)
        return came

    def close(self) -> None:
        """End what is under way, and give the memory back."""
        if self.worker is not None:
            self.worker.close()
        if self.agent is not None:
            self.agent.close()
        keys.forget(self.settings, str(self.config.kv_transfer_config.engine_id), str(self.config.instance_id))

    def _transport(self, name: str) -> str:
        """Give a transport as agents name it: TCP listens where vLLM does."""
        if name != "tcp":
            return name
        from vllm.utils.network_utils import get_ip

        host = get_ip()
        return f"tcp://[{host}]:0" if ":" in host else f"tcp://{host}:0"

    def _rank(self) -> int:
        """Say which of the ranks that share a layer this is."""
        return self.shard % int(self.config.parallel_config.tensor_parallel_size)

    def _first_head(self, cache: torch.Tensor) -> int:
        """Say which of the model's heads is the first that this rank has. Where there are more ranks than heads, several have the same."""
        if cache.dim() != 4:
            return 0
        heads: int = cache.shape[1]
        ranks: int = self.config.parallel_config.tensor_parallel_size
        total: int = max(self.config.model_config.get_total_num_kv_heads(), 1)
        return self._rank() * heads if total >= ranks else self._rank() * total // ranks


def _first_layer(layers: Mapping[str, torch.Tensor]) -> int:
    """Say which of the model's layers is the first, by its name: ranks of a pipeline have different ones."""
    numbers = [int(part) for part in next(iter(layers)).split(".") if part.isdigit()]
    return numbers[0] if numbers else 0
