//! llmd as it is embedded: events in, chains asked for, with the engine's own names for their blocks.

use std::collections::BTreeMap;

use llmd_core::event::KvEventBatch;
use llmd_core::hash::{EngineHasher, Lora, Namespace};
use llmd_core::index::{
    ExactIndex, ExactReader, ExactWriter, IndexSettings, IndexWriter as _, PrefixIndex as _, WorkerState,
};
use llmd_core::{ExternalBlockHash, GroupIdx, Medium, Result, WorkerId};

use super::Product;
use super::capture::{Asked, Capture, Step};

const WORKER: WorkerId = WorkerId(0);

#[derive(Debug)]
pub(super) struct Llmd {
    writer: ExactWriter,
    reader: ExactReader,
    engine: EngineHasher,
    int_hashes: bool,
}

impl Llmd {
    pub(super) fn new(capture: &Capture) -> Result<Self> {
        let settings = IndexSettings::default().with_block_size(capture.config.hash_block_size);
        let (mut writer, reader) = ExactIndex::new(settings);
        writer.set_state(WORKER, WorkerState::Exact);
        Ok(Self { writer, reader, engine: capture.hasher()?, int_hashes: capture.config.int_hashes })
    }

    /// What the engine calls the blocks of a prompt; nothing, where its seed is its secret.
    fn names(&self, asked: &Asked<'_>, namespace: &Namespace) -> Vec<ExternalBlockHash> {
        let mut digests = Vec::new();
        if self.engine.hash_into(&asked.tokens, namespace, &mut digests).is_err() {
            return Vec::new();
        }
        let name = |digest: &[u8]| match self.int_hashes {
            true => self.engine.event_int(digest).ok().map(ExternalBlockHash::from_int),
            false => Some(ExternalBlockHash::from_bytes(digest)),
        };
        digests.chunks_exact(self.engine.digest_len()).map_while(name).collect()
    }
}

impl Product for Llmd {
    fn name(&self) -> &'static str {
        "llmd"
    }

    fn apply(&mut self, batch: &KvEventBatch) {
        self.writer.apply(WORKER, batch.timestamp, &batch.events);
    }

    fn foretell(&mut self, asked: &Asked<'_>) -> usize {
        if !asked.reads {
            return 0;
        }
        let mut namespace = Namespace::default();
        namespace.lora = asked.lora.map(|lora| Lora::new(&lora.name).with_path(&lora.path));
        namespace.cache_salt = asked.salt.map(Into::into);
        let chain = self.reader.hasher().chain(&asked.tokens, &namespace).with_names(self.names(asked, &namespace));
        chain.hit_tokens(self.reader.query(&chain).leading(WORKER) as usize)
    }

    fn holds(&self, step: &Step) -> Option<bool> {
        let truth: Option<BTreeMap<_, _>> = step
            .cached
            .iter()
            .map(|cached| Some(((GroupIdx(cached.group), Medium::Gpu, cached.name(self.int_hashes)?), cached.copies)))
            .collect();
        let held = self.writer.residents(WORKER).into_iter();
        let held: BTreeMap<_, _> = held.map(|held| ((held.group, held.medium, held.block), held.copies)).collect();
        Some(truth? == held)
    }
}
