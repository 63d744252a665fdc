"""What a connector counted, as vLLM logs it and Prometheus reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vllm.distributed.kv_transfer.kv_connector.v1.metrics import KVConnectorPromMetrics, KVConnectorStats
from vllm.v1.metrics.utils import create_metric_per_engine

if TYPE_CHECKING:
    from vllm.config import VllmConfig

__all__ = ["LlmdPromMetrics", "LlmdStats", "scheduler_counts", "worker_counts"]

#: What a worker counts that vLLM's metrics have, by their names there. What it has now, such as leases, is no count.
OF_WORKER = {
    "answered": "requests_lent",
    "not_granted": "requests_not_lent",
    "overdue": "requests_overdue",
    "leases_finished": "leases_finished",
    "leases_lapsed": "leases_lapsed",
    "leases_released": "leases_released",
    "loaded": "requests_loaded",
    "recomputed": "requests_recomputed",
    "gone": "requests_gone",
    "late": "requests_late",
    "waited_out": "requests_waited_out",
    "retried": "fetches_retried",
    "blocks_loaded": "blocks_loaded",
    "blocks_failed": "blocks_failed",
    "fetched_bytes": "fetched_bytes",
    "served_bytes": "served_bytes",
    "mapped_bytes": "mapped_bytes",
    "cma_bytes": "cma_bytes",
    "staged_bytes": "staged_bytes",
    "ipc_bytes": "ipc_bytes",
    "fallbacks": "fallbacks",
    "denied_reads": "denied_reads",
    "stale_reads": "stale_reads",
    "refused_peers": "refused_peers",
    "refused_schedulers": "refused_schedulers",
    "lost_schedulers": "lost_schedulers",
    "panics": "caught_panics",
    "fetches_done": "fetches_done",
    "fetches_corrupt": "fetches_corrupt",
    "fetches_stale": "fetches_stale",
    "fetches_timeout": "fetches_timeout",
    "fetches_peer_lost": "fetches_peer_lost",
    "fetches_cancelled": "fetches_cancelled",
    "fetches_denied": "fetches_denied",
    "fetches_io": "fetches_io",
}
#: And a scheduler.
OF_SCHEDULER = {
    "arrived": "offers",
    "malformed": "offers_malformed",
    "unfitting": "offers_unfitting",
    "answered": "grants",
    "not_granted": "grants_refused",
    "too_late": "grants_late",
    "lost_workers": "workers_lost",
    "not_connected": "workers_not_connected",
}


def worker_counts(counts: dict[str, int]) -> dict[str, int]:
    """Give what a worker counted, by the names of the metrics."""
    return {name: counts[count] for count, name in OF_WORKER.items() if count in counts}


def scheduler_counts(counts: dict[str, int]) -> dict[str, int]:
    """Give what a scheduler counted, by the names of the metrics."""
    return {name: counts[count] for count, name in OF_SCHEDULER.items() if count in counts}


class LlmdStats(KVConnectorStats):
    """How often each thing happened since it was asked last."""

    @classmethod
    def since(cls, before: dict[str, int], now: dict[str, int]) -> LlmdStats:
        """Give what was counted between two looks; counts that an engine restarted begin anew."""
        grown = {name: count - before.get(name, 0) for name, count in now.items()}
        return cls(data={name: count for name, count in grown.items() if count > 0})

    def reset(self) -> None:
        """Forget all."""
        self.data: dict[str, Any] = {}

    def aggregate(self, other: KVConnectorStats) -> KVConnectorStats:
        """Add what another counted."""
        for name, count in other.data.items():
            self.data[name] = self.data.get(name, 0) + count
        return self

    def reduce(self) -> dict[str, int | float]:
        """Give what is logged."""
        return dict(self.data)

    def is_empty(self) -> bool:
        """Say whether nothing happened."""
        return not self.data


class LlmdPromMetrics(KVConnectorPromMetrics):
    """The counts as Prometheus reads them: one counter, by what was counted."""

    def __init__(
        self, vllm_config: VllmConfig, metric_types: dict[Any, Any], labelnames: list[str], per_engine_labelvalues: dict[int, list[object]]
    ) -> None:
        """Name the counter."""
        super().__init__(vllm_config, metric_types, labelnames, per_engine_labelvalues)
        self._counters: dict[str, dict[int, Any]] = {}
        self._names = labelnames

    def observe(self, transfer_stats_data: dict[str, Any], engine_idx: int = 0) -> None:
        """Add what was counted."""
        for name, count in transfer_stats_data.items():
            if name not in self._counters:
                counter = self._counter_cls(
                    name=f"vllm:llmd_{name}", documentation=f"llmd's KV hand-over: {name.replace('_', ' ')}", labelnames=self._names
                )
                self._counters[name] = create_metric_per_engine(counter, self.per_engine_labelvalues)
            self._counters[name][engine_idx].inc(count)
