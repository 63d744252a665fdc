//! Recordings of what an engine said, without what it held: what an index answers beside what follows from the engine's
//! own names.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use llmd_core::event::{BlockRemoved, BlockStored, EventExtraKey, KvEvent, KvEventBatch, decode_batch};
use llmd_core::hash::{Lora, MultimodalItem, Namespace};
use llmd_core::index::{IndexWriter, PrefixIndex, WorkerState};
use llmd_core::{ExternalBlockHash, GroupIdx, Locality, Medium, WorkerId};
use serde::Deserialize;

use crate::replay::Found;

const WORKER: WorkerId = WorkerId(0);

/// What an engine said, in order; with its numbers, which begin anew where it was started anew.
pub(crate) struct Messages(Vec<(u64, KvEventBatch)>);

#[derive(Deserialize)]
struct Message {
    seq: u64,
    payload_hex: String,
}

#[derive(Deserialize)]
struct Scenario {
    messages: Vec<Message>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Messages(Vec<Message>),
    Scenarios { scenarios: Vec<Scenario> },
}

impl Messages {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path).map_err(|error| error.to_string())?;
        let form = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        let messages = match form {
            Form::Messages(messages) => messages,
            Form::Scenarios { scenarios } => scenarios.into_iter().flat_map(|scenario| scenario.messages).collect(),
        };
        let decode = |message: Message| {
            let payload = hex::decode(&message.payload_hex).map_err(|error| error.to_string())?;
            let batch = decode_batch(&payload).map_err(|error| error.to_string())?;
            match batch.errors.first() {
                Some(error) => Err(error.to_string()),
                None => Ok((message.seq, batch)),
            }
        };
        let messages: Vec<_> = messages.into_iter().map(decode).collect::<Result<_, _>>()?;
        if messages.is_empty() { Err("there is no message in it".into()) } else { Ok(Self(messages)) }
    }

    /// Tokens per block, as the first event says that says it.
    pub(crate) fn block_size(&self) -> usize {
        let sizes = self.0.iter().flat_map(|(_, batch)| &batch.events).filter_map(|event| match event {
            KvEvent::BlockStored(stored) if stored.block_size > 0 => Some(stored.block_size as usize),
            _ => None,
        });
        sizes.min().unwrap_or(1)
    }

    /// Feeds an empty index, and compares after each message.
    pub(crate) fn replay<W: IndexWriter, R: PrefixIndex>(&self, (mut writer, reader): (W, R)) -> Found {
        writer.set_state(WORKER, WorkerState::Exact);
        let mut found = Found::default();
        let mut said = Said::default();
        let mut last = None;
        for (seq, batch) in &self.0 {
            if last.replace(*seq).is_some_and(|last| last >= *seq) {
                writer.clear(WORKER);
                said = Said { pool: said.pool, ..Said::default() };
            }
            let applied = writer.apply(WORKER, batch.timestamp, &batch.events);
            if applied.unknown_removals > 0 || applied.dropped > 0 {
                found.wrong.push(format!("message {seq}: {applied:?}"));
            }
            batch.events.iter().for_each(|event| said.take(event));
            found.batches += 1;
            said.compare(*seq, &writer, &reader, &mut found);
            found.inexact += usize::from(reader.state(WORKER) != WorkerState::Exact);
        }
        found
    }
}

/// What the engine said, kept by its own names.
#[derive(Default)]
struct Said {
    copies: BTreeMap<(GroupIdx, Medium, ExternalBlockHash), u32>,
    /// What lies on the storage that others read too.
    pool: BTreeSet<ExternalBlockHash>,
    /// The first event that says what is in a block, and which of its blocks that is.
    content: HashMap<ExternalBlockHash, (BlockStored, usize)>,
    /// Whether there is more than one group of full attention.
    is_hybrid: bool,
}

impl Said {
    fn take(&mut self, event: &KvEvent) {
        match event {
            KvEvent::AllBlocksCleared => self.copies.retain(|(_, medium, _), _| *medium != Medium::Gpu),
            KvEvent::BlockRemoved(removed) => self.remove(removed),
            KvEvent::BlockStored(stored) => self.store(stored),
            other => panic!("{other:?} is not known here"),
        }
    }

    fn store(&mut self, stored: &BlockStored) {
        let is_described = stored.medium == Medium::Gpu && !stored.token_ids.is_empty();
        self.is_hybrid |= !stored.spec_kind.is_full() || stored.group_idx != GroupIdx(0);
        for (block, name) in stored.block_hashes.iter().enumerate() {
            if stored.medium == Medium::Storage && stored.locality == Locality::Remote {
                self.pool.insert(name.clone());
            } else {
                *self.copies.entry((stored.group_idx, stored.medium, name.clone())).or_default() += 1;
            }
            if is_described && !self.content.contains_key(name) {
                self.content.insert(name.clone(), (stored.clone(), block));
            }
        }
    }

    fn remove(&mut self, removed: &BlockRemoved) {
        for name in &removed.block_hashes {
            if removed.medium == Medium::Storage && removed.locality == Locality::Remote {
                self.pool.remove(name);
            } else if let Some(copies) = self.copies.get_mut(&(removed.group_idx, removed.medium, name.clone())) {
                *copies -= 1;
            }
        }
        self.copies.retain(|_, copies| *copies > 0);
    }

    /// Compares contents, and of a dense model the longest prompts that were ever stored.
    fn compare(&self, seq: u64, writer: &impl IndexWriter, reader: &impl PrefixIndex, found: &mut Found) {
        let held = writer.residents(WORKER).into_iter();
        let held: BTreeMap<_, _> = held.map(|held| ((held.group, held.medium, held.block), held.copies)).collect();
        found.steps += 1;
        if held != self.copies {
            found.wrong.push(format!("message {seq}: {} blocks held, {} in truth", held.len(), self.copies.len()));
        }
        for path in self.longest().into_iter().filter(|_| !self.is_hybrid) {
            let own = |name: &ExternalBlockHash, media: &[Medium]| {
                media.iter().any(|&medium| self.copies.contains_key(&(GroupIdx(0), medium, name.clone())))
            };
            let run =
                |is_held: &dyn Fn(&ExternalBlockHash) -> bool| path.iter().take_while(|name| is_held(name)).count();
            let leading = run(&|name| own(name, &Medium::ALL) || self.pool.contains(name));
            let is_listed = path[..leading].iter().any(|name| own(name, &Medium::ALL));
            let truth = (
                if is_listed { leading } else { 0 },
                if is_listed { Medium::ALL.map(|medium| run(&|name| own(name, &[medium]))) } else { [0; 3] },
                run(&|name| self.pool.contains(name)),
            );

            let overlap = reader.query(&self.chain(&path, reader));
            let on = |medium| overlap.get(WORKER).map_or(0, |held| held.on(medium)) as usize;
            let foretold = (overlap.leading(WORKER) as usize, Medium::ALL.map(on), overlap.shared() as usize);
            found.lookups += 1;
            found.hits += usize::from(truth.0 > 0);
            found.shared += usize::from(truth.2 > 0);
            if foretold != truth {
                found.wrong.push(format!("message {seq}, {path:?}: {foretold:?} foretold, {truth:?} in truth"));
            }
        }
    }

    /// Every prompt that is not the beginning of another.
    fn longest(&self) -> Vec<Vec<&ExternalBlockHash>> {
        let paths: Vec<_> = self.content.keys().filter_map(|end| self.path(end)).collect();
        let inner: BTreeSet<_> = paths.iter().flat_map(|path| path.iter().rev().skip(1).copied()).collect();
        paths.into_iter().filter(|path| path.last().is_some_and(|end| !inner.contains(end))).collect()
    }

    /// The names from the start of the prompt to `end`; `None` where the engine said them before it was listened to.
    fn path<'a>(&'a self, end: &'a ExternalBlockHash) -> Option<Vec<&'a ExternalBlockHash>> {
        let mut path = Vec::new();
        let mut next = Some(end);
        while let Some(name) = next {
            let (stored, block) = self.content.get(name)?;
            path.push(name);
            next = block
                .checked_sub(1)
                .map_or(stored.parent_block_hash.as_ref(), |before| Some(&stored.block_hashes[before]));
        }
        path.reverse();
        Some(path)
    }

    /// The chain of a request that would have stored the blocks of a path.
    fn chain(&self, path: &[&ExternalBlockHash], reader: &impl PrefixIndex) -> llmd_core::hash::Chain {
        let mut tokens = Vec::new();
        let mut namespace = Namespace::default();
        let mut items = Vec::<MultimodalItem>::new();
        for name in path {
            let (stored, block) = &self.content[*name];
            let size = stored.block_size as usize;
            let start = tokens.len();
            tokens.extend_from_slice(&stored.token_ids[block * size..][..size]);
            namespace.lora = stored.lora_name.as_deref().map(Lora::new);
            for key in stored.extra_keys.get(*block).into_iter().flatten() {
                match key {
                    EventExtraKey::Text(text) if stored.lora_name.as_ref() != Some(text) => {
                        namespace.cache_salt = Some(text.as_str().into());
                    }
                    EventExtraKey::Multimodal { identifier, offset } => {
                        // It reaches as far as the last block that lists it.
                        let begins = start.saturating_add_signed(isize::try_from(*offset).expect("a prompt is short"));
                        items.retain(|item| item.offset != begins);
                        let len = tokens.len() - begins;
                        items.push(MultimodalItem { identifier: identifier.as_str().into(), offset: begins, len });
                    }
                    _ => {}
                }
            }
        }
        reader.hasher().chain(&tokens, &namespace.with_multimodal(items))
    }
}
