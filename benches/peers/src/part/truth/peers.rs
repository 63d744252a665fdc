//! The peers behind what their products put before them: only groups of full attention, removals only of last copies,
//! tokens hashed under the adapter's name and the tenant's salt, which is told once and holds for all that follows.

use std::collections::HashMap;
use std::fmt;

use dynamo_kv_router::ConcurrentRadixTreeCompressed;
use dynamo_kv_router::indexer::{SyncIndexer as _, WorkerTask};
use dynamo_kv_router::protocols::{
    BlockHashOptions, ExternalSequenceBlockHash, KvCacheEvent, KvCacheEventData, KvCacheRemoveData, KvCacheStoreData,
    KvCacheStoredBlockData, LocalBlockHash, RouterEvent, compute_block_hash_for_seq,
};
use kv_index::salt::namespaced_request_content_hashes;
use kv_index::{ChainBlockMap, ChainIndex, ContentHash, SequenceHash, StoredBlock};
use llmd_core::event::{BlockRemoved, BlockStored, EventExtraKey, KvEvent, KvEventBatch};
use llmd_core::{ExternalBlockHash, GroupIdx, Medium};

use super::Product;
use super::capture::{Asked, Config, Step};
use crate::stream::Copies;

/// An index of a peer, with one worker.
pub(super) trait Core {
    const NAME: &'static str;

    fn new() -> Self;
    /// The content of each full block, under an adapter and a salt.
    fn contents(tokens: &[u32], block_size: usize, lora: Option<&str>, salt: Option<&str>) -> Vec<u64>;
    fn store(&mut self, parent: Option<u64>, blocks: &[(u64, u64)]);
    fn remove(&mut self, names: &[u64]);
    fn clear(&mut self);
    fn leading(&self, contents: &[u64]) -> usize;
}

/// A core behind its product's pipeline.
#[derive(Debug)]
pub(super) struct Peer<C> {
    core: C,
    block_size: usize,
    copies: Copies<u64>,
    /// Which groups are of full attention, as far as stores have said.
    full: HashMap<GroupIdx, bool>,
    /// The salt of each block, which only the first of a prompt tells.
    salts: HashMap<u64, String>,
}

impl<C: Core> Peer<C> {
    pub(super) fn new(config: &Config) -> Self {
        let block_size = config.full_block_size();
        Self { core: C::new(), block_size, copies: Copies::default(), full: HashMap::new(), salts: HashMap::new() }
    }

    fn store(&mut self, stored: &BlockStored) {
        let is_full = stored.spec_kind.is_full();
        self.full.insert(stored.group_idx, is_full);
        let fits = stored.block_size as usize == self.block_size && stored.medium == Medium::Gpu;
        if !is_full || !fits || stored.block_hashes.is_empty() {
            return;
        }
        let adapter = stored.adapter();
        let parent = stored.parent_block_hash.as_ref().map(number);
        let said = stored.cache_salt.clone().or_else(|| salt(stored, adapter.as_deref()));
        let salt = said.or_else(|| self.salts.get(&parent?).cloned());
        let contents = C::contents(&stored.token_ids, self.block_size, adapter.as_deref(), salt.as_deref());
        let blocks: Vec<_> = stored.block_hashes.iter().map(number).zip(contents).collect();
        for &(name, _) in &blocks {
            self.copies.add(name);
            if let Some(salt) = &salt {
                self.salts.insert(name, salt.clone());
            }
        }
        self.core.store(parent, &blocks);
    }

    fn remove(&mut self, removed: &BlockRemoved) {
        if removed.medium != Medium::Gpu || self.full.get(&removed.group_idx) == Some(&false) {
            return;
        }
        let gone: Vec<_> = removed.block_hashes.iter().map(number).filter(|&name| self.copies.take(name)).collect();
        gone.iter().for_each(|name| drop(self.salts.remove(name)));
        if !gone.is_empty() {
            self.core.remove(&gone);
        }
    }
}

impl<C: Core + fmt::Debug> Product for Peer<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn apply(&mut self, batch: &KvEventBatch) {
        for event in &batch.events {
            match event {
                KvEvent::AllBlocksCleared => {
                    self.copies.clear();
                    self.salts.clear();
                    self.core.clear();
                }
                KvEvent::BlockRemoved(removed) => self.remove(removed),
                KvEvent::BlockStored(stored) => self.store(stored),
                _ => {}
            }
        }
    }

    fn foretell(&mut self, asked: &Asked<'_>) -> usize {
        if !asked.reads {
            return 0;
        }
        let lora = asked.lora.map(|lora| &*lora.name);
        let contents = C::contents(&asked.tokens, self.block_size, lora, asked.salt);
        let usable = asked.tokens.len().saturating_sub(1) / self.block_size;
        self.core.leading(&contents).min(usable) * self.block_size
    }

    fn holds(&self, _: &Step) -> Option<bool> {
        None
    }
}

/// The last eight bytes, as vLLM makes an integer of a digest.
fn number(name: &ExternalBlockHash) -> u64 {
    name.as_int().unwrap_or_else(|| {
        let bytes = name.as_bytes().unwrap_or_default();
        bytes.iter().rev().take(8).rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
    })
}

/// The salt among the extra keys of the first block.
fn salt(stored: &BlockStored, adapter: Option<&str>) -> Option<String> {
    let mut texts = stored.extra_keys.first()?.iter().filter_map(|key| match key {
        EventExtraKey::Text(text) => Some(text),
        _ => None,
    });
    let first = texts.next()?;
    let salt = if Some(&**first) == adapter { texts.next()? } else { first };
    Some(salt.clone())
}

/// The product's default index, in its own worker loop.
#[derive(Debug)]
pub(super) struct Dynamo {
    index: Index,
    tasks: flume::Sender<WorkerTask>,
}

/// Not shown: it has no words for itself.
struct Index(std::sync::Arc<ConcurrentRadixTreeCompressed>);

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Index(..)")
    }
}

impl Dynamo {
    fn tell(&self, data: KvCacheEventData) {
        let event = RouterEvent::new(0, KvCacheEvent { event_id: 0, data, dp_rank: 0 });
        self.tasks.send(WorkerTask::Event(event)).expect("the thread runs");
        let (done, is_done) = tokio::sync::oneshot::channel();
        self.tasks.send(WorkerTask::Flush(done)).expect("the thread runs");
        is_done.blocking_recv().expect("the thread flushes");
    }
}

impl Drop for Dynamo {
    fn drop(&mut self) {
        _ = self.tasks.send(WorkerTask::Terminate);
    }
}

impl Core for Dynamo {
    const NAME: &'static str = "dynamo";

    fn new() -> Self {
        let index = std::sync::Arc::new(ConcurrentRadixTreeCompressed::new());
        let (tasks, taken) = flume::unbounded();
        let worked_on = std::sync::Arc::clone(&index);
        std::thread::spawn(move || worked_on.worker(taken, None));
        Self { index: Index(index), tasks }
    }

    fn contents(tokens: &[u32], block_size: usize, lora: Option<&str>, salt: Option<&str>) -> Vec<u64> {
        let options = BlockHashOptions { lora_name: lora, cache_namespace: salt, ..BlockHashOptions::default() };
        compute_block_hash_for_seq(tokens, block_size as u32, options).into_iter().map(|hash| hash.0).collect()
    }

    fn store(&mut self, parent: Option<u64>, blocks: &[(u64, u64)]) {
        let block = |&(name, content)| KvCacheStoredBlockData {
            block_hash: ExternalSequenceBlockHash(name),
            tokens_hash: LocalBlockHash(content),
            mm_extra_info: None,
        };
        self.tell(KvCacheEventData::Stored(KvCacheStoreData {
            parent_hash: parent.map(ExternalSequenceBlockHash),
            start_position: None,
            blocks: blocks.iter().map(block).collect(),
        }));
    }

    fn remove(&mut self, names: &[u64]) {
        let block_hashes = names.iter().copied().map(ExternalSequenceBlockHash).collect();
        self.tell(KvCacheEventData::Removed(KvCacheRemoveData { block_hashes }));
    }

    fn clear(&mut self) {
        self.tell(KvCacheEventData::Cleared);
    }

    fn leading(&self, contents: &[u64]) -> usize {
        let contents: Vec<_> = contents.iter().copied().map(LocalBlockHash).collect();
        let scores = self.index.0.find_matches(&contents, false).scores;
        scores.values().next().copied().unwrap_or(0) as usize
    }
}

/// `ChainIndex`, with the name map of its one worker.
pub(super) struct Smg {
    index: ChainIndex,
    names: ChainBlockMap,
}

impl fmt::Debug for Smg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Smg(..)")
    }
}

impl Core for Smg {
    const NAME: &'static str = "smg";

    fn new() -> Self {
        let index = ChainIndex::with_max_workers(64);
        index.intern_worker("worker-0").expect("there is room for one");
        Self { index, names: ChainBlockMap::new() }
    }

    fn contents(tokens: &[u32], block_size: usize, lora: Option<&str>, salt: Option<&str>) -> Vec<u64> {
        let contents = namespaced_request_content_hashes(tokens, block_size, lora, salt);
        contents.into_iter().map(|content| content.0).collect()
    }

    fn store(&mut self, parent: Option<u64>, blocks: &[(u64, u64)]) {
        let block = |&(name, content)| StoredBlock { seq_hash: SequenceHash(name), content_hash: ContentHash(content) };
        let blocks: Vec<_> = blocks.iter().map(block).collect();
        // What cannot be placed is dropped by the index, as its gateway lets it.
        _ = self.index.apply_stored(0, &blocks, parent.map(SequenceHash), &mut self.names);
    }

    fn remove(&mut self, names: &[u64]) {
        let names: Vec<_> = names.iter().copied().map(SequenceHash).collect();
        self.index.apply_removed(0, &names, &mut self.names);
    }

    fn clear(&mut self) {
        self.index.apply_cleared(0, &mut self.names);
    }

    fn leading(&self, contents: &[u64]) -> usize {
        let contents: Vec<_> = contents.iter().copied().map(ContentHash).collect();
        self.index.find_matches(&contents, false).scores.values().next().copied().unwrap_or(0) as usize
    }
}
