//! Engines for the tests.

use std::time::{Duration, Instant};

use llmd_core::GroupIdx;
use llmd_kvxfer::engine::{Done, Scheduler, SchedulerSettings, Worker, WorkerSettings};
use llmd_kvxfer::session::RequestId;
use llmd_kvxfer::session::decode::{Allocation, FailedBlock};
use llmd_kvxfer::{Agent, KvLayout, KvShape, Pool, Region, Shm, Transport};

pub(crate) const KEY: &[u8] = b"the engine's own";
pub(crate) const TOKENS: u32 = 16;
pub(crate) const SHAPE: KvShape = KvShape { layers: 2, blocks: 24, heads: 4, tokens: TOKENS, parts: 2, content: 64 };
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An engine.
pub(crate) struct Engine {
    pub(crate) scheduler: Scheduler,
    pub(crate) workers: Vec<Worker>,
    pub(crate) agents: Vec<Agent>,
    /// By shard, then by group.
    pub(crate) pools: Vec<Vec<Pool>>,
    pub(crate) folder: tempfile::TempDir,
}

/// What an engine is made like.
#[derive(Clone, Debug)]
pub(crate) struct Make {
    pub(crate) shards: u32,
    pub(crate) groups: u32,
    pub(crate) format: &'static str,
    /// Whether all that a block has of a head is packed, so that nothing is known of its tokens.
    pub(crate) is_packed: bool,
    pub(crate) worker: WorkerSettings,
    pub(crate) scheduler: SchedulerSettings,
}

impl Default for Make {
    fn default() -> Self {
        let mut scheduler = SchedulerSettings::default();
        scheduler.patience = PATIENCE;
        Self {
            shards: 1,
            groups: 1,
            format: "dtype=bfloat16",
            is_packed: false,
            worker: WorkerSettings::default(),
            scheduler,
        }
    }
}

impl Make {
    /// Its shards, each with as many heads.
    pub(crate) fn sharded(shards: u32) -> Self {
        Self { shards, ..Self::default() }
    }

    pub(crate) fn layout(&self, shard: u32) -> KvLayout {
        let heads = SHAPE.heads / self.shards;
        let shape = KvShape { heads, ..SHAPE };
        let packed = KvShape { tokens: 1, parts: 1, content: TOKENS * SHAPE.parts * SHAPE.content, ..shape };
        let layout = KvLayout::named("LBHNC", if self.is_packed { packed } else { shape }).unwrap();
        layout.from_head(shard * heads).of_format(self.format)
    }

    pub(crate) fn start(self) -> Engine {
        self.start_by(Shm::default)
    }

    pub(crate) fn start_by<T: Transport + 'static>(self, transport: impl Fn() -> T) -> Engine {
        let folder = tempfile::tempdir().unwrap();
        let (mut agents, mut pools, mut workers) = (Vec::new(), Vec::new(), Vec::new());
        for shard in 0..self.shards {
            let agent = Agent::builder(format!("shard-{shard}")).transport(transport()).build().unwrap();
            let layout = self.layout(shard);
            let register = || agent.register(Region::memfd(layout.end() as usize).unwrap(), layout.clone()).unwrap();
            let of_groups: Vec<_> = (0..self.groups).map(|_| register()).collect();
            let groups = (0..).map(GroupIdx).zip(of_groups.clone()).collect();
            let mut settings = self.worker.clone();
            (settings.shard, settings.shards) = (shard, self.shards);
            if settings.bind.is_none() {
                settings.folder = Some(folder.path().to_owned());
            }
            workers.push(Worker::new(agent.clone(), groups, KEY, settings).unwrap());
            agents.push(agent);
            pools.push(of_groups);
        }
        let addresses: Vec<_> = workers.iter().map(Worker::address).collect();
        let scheduler = Scheduler::new(&addresses, KEY, self.scheduler).unwrap();
        Engine { scheduler, workers, agents, pools, folder }
    }
}

impl Engine {
    /// Writes blocks that tell which they are, and gives what all shards have of each head of each block together.
    pub(crate) fn fill(&self, group: usize, blocks: &[u32]) -> Vec<Vec<u8>> {
        for (shard, pools) in self.pools.iter().enumerate() {
            for &block in blocks {
                let len = pools[group].layout().block_bytes() as usize;
                let seed = (shard * 1000 + group * 100) as u64 + u64::from(block);
                let content: Vec<u8> = (0..len as u64).map(|place| ((place * 31 + seed * 7919) >> 3) as u8).collect();
                pools[group].write_block(block, &content).unwrap();
            }
        }
        self.content(group, blocks)
    }

    /// What is in these blocks, layer by layer and head by head, whoever has it.
    pub(crate) fn content(&self, group: usize, blocks: &[u32]) -> Vec<Vec<u8>> {
        let of = |block: &u32| {
            let mut content = Vec::new();
            for layer in 0..SHAPE.layers as usize {
                for pools in &self.pools {
                    let bytes = pools[group].read_block(*block).unwrap();
                    let of_layer = bytes.len() / SHAPE.layers as usize;
                    content.extend_from_slice(&bytes[layer * of_layer..][..of_layer]);
                }
            }
            content
        };
        blocks.iter().map(of).collect()
    }

    /// What each worker says, until all have said so many ends; and that nothing follows.
    pub(crate) fn told(&self, ends: usize) -> Vec<Done> {
        self.workers.iter().map(|worker| told(worker, ends)).collect()
    }

    /// That nobody says anything for a while.
    pub(crate) fn is_silent(&self) {
        std::thread::sleep(Duration::from_millis(50));
        for worker in &self.workers {
            assert_eq!(worker.take().unwrap(), Done::default());
        }
    }
}

/// What a worker says, until it has said so many ends.
pub(crate) fn told(worker: &Worker, ends: usize) -> Done {
    let mut all = Done::default();
    until("the worker says what became of it", || {
        let done = worker.take().unwrap();
        all.sent.extend(done.sent);
        all.received.extend(done.received);
        all.failed.extend(done.failed);
        all.sent.len() + all.received.len() >= ends
    });
    assert_eq!(all.sent.len() + all.received.len(), ends);
    all
}

pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "it waits for threads")]
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}, and not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn id(name: &str) -> RequestId {
    RequestId::new(name).unwrap()
}

/// Blocks of one group.
pub(crate) fn lent(blocks: &[u32]) -> Vec<(GroupIdx, u32, Vec<u32>)> {
    vec![(GroupIdx(0), 0, blocks.to_vec())]
}

pub(crate) fn into(group: u32, from_token: u32, blocks: &[u32]) -> Allocation {
    Allocation { group: GroupIdx(group), block_tokens: TOKENS, from_token, blocks: blocks.to_vec() }
}

pub(crate) fn failed(blocks: &[u32]) -> Vec<FailedBlock> {
    blocks.iter().map(|&block| FailedBlock { group: GroupIdx(0), block }).collect()
}

/// That every worker received this whole.
pub(crate) fn received_whole(engine: &Engine, request: &RequestId) {
    for done in engine.told(1) {
        assert_eq!((&done.received[..], &done.failed[..]), (&[request.clone()][..], &[][..]));
    }
}

/// That every worker sent this.
pub(crate) fn sent(engine: &Engine, request: &RequestId) {
    for done in engine.told(1) {
        assert_eq!(done.sent, std::slice::from_ref(request));
    }
}
