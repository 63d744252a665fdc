"""vLLM's hooks, each mapped to what it is for. None of them raises, and none waits for longer than it may."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import vllm
from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorHandshakeMetadata,
    KVConnectorMetadata,
    KVConnectorRole,
    KVConnectorTransferResults,
    SupportsHMA,
)
from vllm.logger import init_logger
from vllm.v1.request import RequestStatus

from llmd_py.errors import UnavailableError, UnsupportedError
from llmd_py.vllm.contained import contained
from llmd_py.vllm.scheduler import SchedulerSide
from llmd_py.vllm.settings import Settings
from llmd_py.vllm.stats import LlmdPromMetrics, LlmdStats, scheduler_counts, worker_counts
from llmd_py.vllm.versions import remark
from llmd_py.vllm.worker import Came, WorkerSide

if TYPE_CHECKING:
    import torch
    from vllm.config import VllmConfig
    from vllm.distributed.kv_transfer.kv_connector.v1.metrics import KVConnectorPromMetrics, KVConnectorStats
    from vllm.forward_context import ForwardContext
    from vllm.v1.attention.backend import AttentionMetadata
    from vllm.v1.core.kv_cache_manager import KVCacheBlocks
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.kv_cache_interface import KVCacheConfig
    from vllm.v1.outputs import KVConnectorOutput
    from vllm.v1.request import Request

__all__ = ["LlmdConnector"]

# Below vLLM's own name, so that its log shows it.
logger = init_logger("vllm.llmd")

#: How a request that was prefilled for another engine ends when nothing went wrong.
WHOLE = (RequestStatus.FINISHED_LENGTH_CAPPED, RequestStatus.FINISHED_STOPPED)


@dataclass
class Listening(KVConnectorHandshakeMetadata):
    """Where a worker listens for its scheduler, what proves both to each other, and what the bytes of its cache are."""

    address: str
    key: bytes
    content: dict[str, str]


@dataclass
class Lost(KVConnectorMetadata):
    """What a step says to the workers. They hear of requests before; but for these, which they could not be told to fetch."""

    requests: tuple[str, ...] = ()


class LlmdConnector(KVConnectorBase_V1, SupportsHMA):
    """KV that one engine prefilled, fetched by the engine that decodes, through llmd.

    It is loaded by `kv_connector_module_path: llmd_py.vllm`. What `kv_connector_extra_config` may say is in
    `llmd_py.vllm.settings.Settings`. vLLM makes one in the scheduler's process, and one in each worker's.
    """

    faults: Counter[str]

    def __init__(self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: KVCacheConfig) -> None:
        """Take the settings.

        Raises `InvalidError` for settings that mean nothing, and `UnsupportedError` for ranks that share the tokens of a block: that is for an
        operator to see when the engine starts.
        """
        super().__init__(vllm_config, role, kv_cache_config)
        self.faults = Counter()
        self._counted: dict[str, int] = {}
        self._came = Came()
        self._lost: list[str] = []
        settings = Settings.read(self._kv_transfer_config.kv_connector_extra_config)
        parallel, groups = vllm_config.parallel_config, kv_cache_config.kv_cache_groups
        for name in ("decode_context_parallel_size", "prefill_context_parallel_size"):
            if getattr(parallel, name, 1) > 1:
                raise UnsupportedError(f"{name} is {getattr(parallel, name)}, expected 1: llmd does not know which token of a block which rank has")
        self._groups = len(groups)
        shards = parallel.tensor_parallel_size * parallel.pipeline_parallel_size
        self._scheduler: SchedulerSide | None = None
        self._worker: WorkerSide | None = None
        if role == KVConnectorRole.SCHEDULER:
            self._greet()
            engine = str(self._kv_transfer_config.engine_id)
            block, may_fetch = vllm_config.cache_config.block_size, self._kv_transfer_config.is_kv_consumer
            self._scheduler = SchedulerSide(settings, engine, shards, block, kv_cache_config, may_fetch=may_fetch)
        else:
            self._worker = WorkerSide(settings, vllm_config, kv_cache_config, parallel.rank % shards, shards)

    def say(self, message: str, error: BaseException) -> None:
        """Say what went wrong in a hook."""
        logger.warning("llmd: %s: %s: %s", message, type(error).__name__, error, exc_info=error)

    def _greet(self) -> None:
        said = remark(getattr(vllm, "__version__", "unknown"))
        if said is not None:
            logger.warning("llmd: %s", said)
        if getattr(self._kv_transfer_config, "kv_load_failure_policy", "recompute") != "recompute":
            logger.warning(
                'llmd: requests whose blocks do not arrive are failed; with "kv_load_failure_policy": "recompute" in'
                " --kv-transfer-config they are computed (inside of MultiConnector its own policy is what counts)"
            )

    # What the scheduler's process calls.

    @contained(lambda: None)
    def set_xfer_handshake_metadata_pp_aware(self, metadata: dict[tuple[int, int], KVConnectorHandshakeMetadata]) -> None:
        """Hear where the workers listen, once their caches are there."""
        if self._scheduler is not None:
            ranks = [metadata[rank] for rank in sorted(metadata)]
            workers = [worker for worker in ranks if isinstance(worker, Listening)]
            if not workers or len(workers) < len(ranks):
                raise UnavailableError(
                    f"{len(workers)} of {len(ranks)} workers said where they listen: inside of MultiConnector LlmdConnector has to be"
                    " the first, for only that one's workers are heard; else a worker said before what went wrong"
                )
            self._scheduler.connect([worker.address for worker in workers], workers[0].key, workers[0].content)

    @contained(lambda: None)
    def set_xfer_handshake_metadata(self, metadata: dict[int, KVConnectorHandshakeMetadata]) -> None:
        """Hear the same, where there is no pipeline."""
        self.set_xfer_handshake_metadata_pp_aware({(0, rank): worker for rank, worker in metadata.items()})

    @contained(lambda: None)
    def on_new_request(self, request: Request) -> None:
        """Hear of a request."""
        if self._scheduler is not None:
            self._scheduler.arrived(request)

    @contained(lambda: (0, False))
    def get_num_new_matched_tokens(self, request: Request, num_computed_tokens: int) -> tuple[int | None, bool]:
        """Say how many tokens come from outside, and that they come while other requests go on."""
        tokens = self._scheduler.matched(request, num_computed_tokens) if self._scheduler is not None else 0
        return tokens, tokens > 0

    def update_state_after_alloc(self, request: Request, blocks: KVCacheBlocks, num_external_tokens: int) -> None:
        """Have tokens fetched into the blocks that were allocated. When that cannot be begun, they are told to be missing."""
        before = self.faults["_allocated"]
        self._allocated(request, blocks, num_external_tokens)
        if self.faults["_allocated"] > before and num_external_tokens > 0:
            self._lost.append(request.request_id)

    @contained(lambda: None)
    def _allocated(self, request: Request, blocks: KVCacheBlocks, external_tokens: int) -> None:
        if self._scheduler is not None:
            self._scheduler.allocated(request, blocks, external_tokens)

    def build_connector_meta(self, scheduler_output: SchedulerOutput) -> KVConnectorMetadata:
        """Say what could not be said to the workers over their sockets."""
        lost, self._lost = self._lost, []
        return Lost(tuple(lost))

    def request_finished(self, request: Request, block_ids: list[int]) -> tuple[bool, dict[str, Any] | None]:
        """End a request, where there is one group."""
        return self.request_finished_all_groups(request, (block_ids,))

    @contained(lambda: (False, None))
    def request_finished_all_groups(self, request: Request, block_ids: tuple[list[int], ...]) -> tuple[bool, dict[str, Any] | None]:
        """End a request: what another engine is to fetch is kept until it has, and named in the answer."""
        if self._scheduler is None:
            return False, None
        return self._scheduler.finished(request, block_ids, is_whole=request.status in WHOLE)

    def get_loaded_kv_cache_group_ids(self, request: Request) -> tuple[int, ...]:
        """Name the groups that are fetched: all."""
        groups: tuple[int, ...] = self._kv_cache_config.transfer_group_ids
        return groups

    @contained(lambda: False)
    def reset_cache(self) -> bool | None:
        """Forget what was offered by others and is not here yet. Nothing else is kept."""
        if self._scheduler is not None:
            self._scheduler.forget()
        return True

    @contained(lambda: None)
    def update_connector_output(self, connector_output: KVConnectorOutput) -> None:
        """Take out what vLLM does not expect: it would end the engine."""
        sent = connector_output.finished_sending
        if self._scheduler is not None and sent:
            sent -= self._scheduler.not_lent(sent)

    # What the workers' processes call.

    @contained(lambda: None)
    def register_kv_caches(self, kv_caches: dict[str, torch.Tensor]) -> None:
        """Take the cache in, and begin to serve others."""
        if self._worker is not None:
            self._worker.register(kv_caches)

    @contained(lambda: None)
    def get_handshake_metadata(self) -> KVConnectorHandshakeMetadata | None:
        """Say where this worker listens."""
        if self._worker is None or self._worker.worker is None:
            return None
        return Listening(self._worker.worker.address, self._worker.key, self._worker.content)

    def start_load_kv(self, forward_context: ForwardContext, **kwargs: Any) -> None:
        """Begin nothing: fetches were begun when their blocks were allocated."""

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Wait for nothing: a request is not computed before it is here."""

    def save_kv_layer(self, layer_name: str, kv_layer: torch.Tensor, attn_metadata: AttentionMetadata, **kwargs: Any) -> None:
        """Save nothing: what is computed is fetched from where it lies."""

    def wait_for_save(self) -> None:
        """Wait for nothing."""

    def get_transfer_results(self, finished_req_ids: set[str]) -> KVConnectorTransferResults:
        """Say which requests were fetched by others, and which have arrived, whole or not."""
        came = self._take()
        self._came = came
        lost = self._connector_metadata.requests if isinstance(self._connector_metadata, Lost) else ()
        failed = set(lost)
        if self._groups > 1:
            # Blocks of several groups may have the same number.
            failed.update(came.failed)
        return KVConnectorTransferResults(
            finished_sending=came.sent, finished_recving=came.received | set(lost), failed_recving=failed
        )

    @contained(Came)
    def _take(self) -> Came:
        return self._worker.came() if self._worker is not None else Came()

    def get_finished(self, finished_req_ids: set[str]) -> tuple[set[str] | None, set[str] | None]:
        """Say the same, as MultiConnector and older versions ask for it."""
        results = self.get_transfer_results(finished_req_ids)
        return results.finished_sending or None, results.finished_recving or None

    def get_block_ids_with_load_errors(self) -> set[int]:
        """Name the blocks that have not arrived, of what was said to have arrived last."""
        if self._groups > 1:
            return set()
        return {block for blocks in self._came.failed.values() for _, block in blocks}

    # What both call.

    @contained(lambda: None)
    def get_kv_connector_stats(self) -> KVConnectorStats | None:
        """Give what was counted since it was asked last."""
        if self._worker is not None and self._worker.worker is not None:
            now = worker_counts(self._worker.worker.stats())
        elif self._scheduler is not None and self._scheduler.workers is not None:
            now = scheduler_counts(self._scheduler.workers.stats())
        else:
            now = {}
        now["hook_faults"] = sum(self.faults.values())
        before, self._counted = self._counted, now
        stats = LlmdStats.since(before, now)
        return None if stats.is_empty() else stats

    @classmethod
    def build_kv_connector_stats(cls, data: dict[str, Any] | None = None) -> KVConnectorStats | None:
        """Make what was counted of its data."""
        return LlmdStats(data=data or {})

    @classmethod
    def build_prom_metrics(
        cls, vllm_config: VllmConfig, metric_types: dict[Any, Any], labelnames: list[str], per_engine_labelvalues: dict[int, list[object]]
    ) -> KVConnectorPromMetrics | None:
        """Make what Prometheus reads."""
        return LlmdPromMetrics(vllm_config, metric_types, labelnames, per_engine_labelvalues)

    @contained(lambda: None)
    def shutdown(self) -> None:
        """End all that is under way."""
        if self._scheduler is not None:
            self._scheduler.close()
        if self._worker is not None:
            self._worker.close()


def _register() -> None:
    """Have vLLM know the connector by its name as well: MultiConnector looks it up by that when it adds up what its children counted."""
    try:
        KVConnectorFactory.register_connector(LlmdConnector.__name__, "llmd_py.vllm", LlmdConnector.__name__)
    except ValueError as error:
        # Somebody has given that name to a connector before, most likely this one.
        logger.debug("llmd: %s", error)


_register()
