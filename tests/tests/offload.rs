//! The exact index against offload tiers of a real vLLM, whether they describe their blocks or say names only: what the
//! GPU has let go is found where it went.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::{HashMap, HashSet};

use llmd_core::event::{KvEvent, decode_batch};
use llmd_core::hash::Namespace;
use llmd_core::index::{ExactIndex, ExactReader, IndexSettings, IndexWriter as _, PrefixIndex as _, WorkerState};
use llmd_core::{ExternalBlockHash, Locality, Medium, TokenId, WorkerId};
use serde::Deserialize;

const WORKER: WorkerId = WorkerId(0);
const BLOCK_SIZE: usize = 32;
const SHARED: (Medium, Locality) = (Medium::Storage, Locality::Remote);

#[derive(Deserialize)]
struct Message {
    payload_hex: String,
}

/// What the engine said, kept by its own names.
#[derive(Default)]
struct Said {
    /// The block before, and the tokens; as the GPU's events say them.
    content: HashMap<ExternalBlockHash, (Option<ExternalBlockHash>, Vec<TokenId>)>,
    copies: HashMap<(Medium, ExternalBlockHash), usize>,
    /// What lies on the storage that others read too.
    pool: HashSet<ExternalBlockHash>,
}

impl Said {
    fn take(&mut self, event: &KvEvent) {
        match event {
            KvEvent::BlockStored(stored) => {
                let mut parent = stored.parent_block_hash.clone();
                let mut tokens = stored.token_ids.chunks_exact(BLOCK_SIZE);
                for name in &stored.block_hashes {
                    if (stored.medium, stored.locality) == SHARED {
                        self.pool.insert(name.clone());
                    } else {
                        *self.copies.entry((stored.medium, name.clone())).or_default() += 1;
                    }
                    if stored.medium == Medium::Gpu {
                        let tokens = tokens.next().expect("the GPU's events say all tokens").to_vec();
                        self.content.insert(name.clone(), (parent.replace(name.clone()), tokens));
                    }
                }
            }
            KvEvent::BlockRemoved(removed) => {
                for name in &removed.block_hashes {
                    if (removed.medium, removed.locality) == SHARED {
                        self.pool.remove(name);
                    } else {
                        *self.copies.get_mut(&(removed.medium, name.clone())).expect("it was stored before") -= 1;
                    }
                }
            }
            other => panic!("{other:?} is not in these captures"),
        }
    }

    /// The names from the start of the prompt to `end`.
    fn path<'a>(&'a self, end: &'a ExternalBlockHash) -> Vec<&'a ExternalBlockHash> {
        let mut path: Vec<_> = std::iter::successors(Some(end), |name| self.content[*name].0.as_ref()).collect();
        path.reverse();
        path
    }

    fn holds(&self, name: &ExternalBlockHash, media: &[Medium]) -> bool {
        media.iter().any(|&medium| self.copies.get(&(medium, name.clone())).is_some_and(|&copies| copies > 0))
    }

    /// Compares every prompt that was ever stored; says how many reach further than the GPU alone holds them.
    fn compare(&self, reader: &ExactReader) -> usize {
        let mut saved = 0;
        for end in self.content.keys() {
            let path = self.path(end);
            let tokens = path.iter().flat_map(|name| self.content[*name].1.iter().copied()).collect::<Vec<_>>();
            let overlap = reader.query(&reader.hasher().chain(&tokens, &Namespace::default()));
            let run =
                |is_there: &dyn Fn(&ExternalBlockHash) -> bool| path.iter().take_while(|name| is_there(name)).count();

            assert_eq!(overlap.shared() as usize, run(&|name| self.pool.contains(name)), "shared");
            // What lies in the pool alone is everybody's.
            let reach = run(&|name| self.holds(name, &Medium::ALL) || self.pool.contains(name));
            let is_listed = path[..reach].iter().any(|name| self.holds(name, &Medium::ALL));
            let leading = if is_listed { reach } else { 0 };
            assert_eq!(overlap.leading(WORKER) as usize, leading);
            let own = |medium| if is_listed { run(&|name| self.holds(name, &[medium])) } else { 0 };
            for medium in Medium::ALL {
                let found = overlap.get(WORKER).map_or(0, |overlap| overlap.on(medium)) as usize;
                assert_eq!(found, own(medium), "on {medium}");
            }
            saved += usize::from(leading > own(Medium::Gpu));
        }
        saved
    }
}

/// Feeds an index with a capture and compares after each batch; says how often a tier had what the GPU had not.
fn replay(capture: &str) -> usize {
    let path = format!("{}/fixtures/vllm-0.32/{capture}.json", env!("CARGO_MANIFEST_DIR"));
    let messages: Vec<Message> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (mut writer, reader) = ExactIndex::new(IndexSettings::default().with_block_size(BLOCK_SIZE));
    writer.set_state(WORKER, WorkerState::Exact);
    let mut said = Said::default();
    let mut saved = 0;
    for message in &messages {
        let batch = decode_batch(&hex::decode(&message.payload_hex).unwrap()).unwrap();
        assert_eq!(batch.errors, []);
        let applied = writer.apply(WORKER, batch.timestamp, &batch.events);
        assert_eq!((applied.orphaned, applied.unknown_removals, applied.dropped), (0, 0, 0));
        batch.events.iter().for_each(|event| said.take(event));
        saved += said.compare(&reader);
        assert_eq!(reader.state(WORKER), WorkerState::Exact, "everything has its place");
    }
    saved
}

#[test]
fn what_the_gpu_lets_go_is_found_where_it_went() {
    for capture in ["kvevents_hostspec", "kvevents_tiering", "kvevents_fs", "kvevents_multi"] {
        let saved = replay(capture);
        assert!(saved > 50, "{capture}: a tier reached further than the GPU in {saved} comparisons");
    }
}

#[test]
fn without_a_tier_what_the_gpu_lets_go_is_gone() {
    assert_eq!(replay("kvevents_conn_async"), 0);
}
