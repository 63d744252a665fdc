//! llmd as it is embedded: events in, chains asked for, nothing between.

use std::collections::BTreeMap;

use llmd_core::event::KvEventBatch;
use llmd_core::hash::{Lora, Namespace};
use llmd_core::index::{
    ExactIndex, ExactReader, ExactWriter, IndexSettings, IndexWriter as _, PrefixIndex as _, WorkerState,
};
use llmd_core::{GroupIdx, Medium, WorkerId};

use super::Product;
use super::capture::{Asked, Config, Step};

const WORKER: WorkerId = WorkerId(0);

#[derive(Debug)]
pub(super) struct Llmd {
    writer: ExactWriter,
    reader: ExactReader,
    int_hashes: bool,
}

impl Llmd {
    pub(super) fn new(config: &Config) -> Self {
        let settings = IndexSettings::default().with_block_size(config.hash_block_size);
        let (mut writer, reader) = ExactIndex::new(settings);
        writer.set_state(WORKER, WorkerState::Exact);
        Self { writer, reader, int_hashes: config.int_hashes }
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
        let chain = self.reader.hasher().chain(&asked.tokens, &namespace);
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
