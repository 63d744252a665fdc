//! The exact index beside its model, while engines of tiny caches say whatever the bytes choose.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use llmd_core::event::{BlockRemoved, BlockStored, EventExtraKey, KvEvent, SpecKind};
use llmd_core::hash::HashKey;
use llmd_core::index::{ExactIndex, IndexSettings, IndexWriter, PrefixIndex as _, WorkerState};
use llmd_core::testing::{ModelIndex, names, plainly, prompts};
use llmd_core::{GroupIdx, Medium, WorkerId};

const WORKERS: u8 = 3;
/// Full blocks of a prompt.
const DEPTH: u8 = 3;

#[derive(Arbitrary, Debug)]
struct Step {
    worker: u8,
    /// Whether it comes in one batch with what the same engine says next.
    is_joined: bool,
    happens: Happens,
}

#[derive(Arbitrary, Debug)]
enum Happens {
    /// The engine stores the blocks `from..to` of a prompt.
    Store {
        prompt: Prompt,
        from: u8,
        to: u8,
        says: Says,
    },
    /// It removes a block, which may be there and may not.
    Remove {
        prompt: Prompt,
        block: u8,
        group: u8,
        medium: u8,
    },
    ClearGpu,
    /// What it said is forgotten.
    Clear,
    Leave,
    State(u8),
}

/// One of the few prompts that [`prompts`] knows: a bit of content for each block; an adapter, a salt, or both; and
/// whether the engine calls its blocks by other names.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Prompt {
    content: u8,
    namespace: u8,
    alias: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Says {
    Content,
    SecondGroup,
    Described(u8),
    NamesOnly(u8),
    OtherSize,
    Sparse,
    SlidingWindow,
}

impl Prompt {
    fn name(self, worker: u8, block: u8) -> u64 {
        let prefix = self.content & ((2 << block) - 1);
        let parts = [worker, block, prefix, self.namespace % 4, self.alias.into()];
        parts.into_iter().fold(1, |name, part| name << 3 | u64::from(part))
    }

    fn adapter(self) -> Option<String> {
        (self.namespace & 1 != 0).then(|| "adapter".into())
    }

    fn extra_keys(self, block: u8) -> Vec<EventExtraKey> {
        let salt = (self.namespace & 2 != 0 && block == 0).then(|| "salt".into());
        self.adapter().into_iter().chain(salt).map(EventExtraKey::Text).collect()
    }

    fn stored(self, worker: u8, from: u8, to: u8, says: Says) -> BlockStored {
        let tokens = |block: u8| [u32::from(self.content >> block & 1), 7];
        let mut stored = BlockStored::default();
        stored.block_hashes = names((from..to).map(|block| self.name(worker, block)));
        stored.parent_block_hash =
            from.checked_sub(1).and_then(|before| names([self.name(worker, before)]).into_iter().next());
        stored.token_ids = (from..to).flat_map(tokens).collect();
        stored.block_size = 2;
        stored.lora_name = self.adapter();
        stored.extra_keys = (from..to).map(|block| self.extra_keys(block)).collect();
        match says {
            Says::Content => {}
            Says::SecondGroup => stored.group_idx = GroupIdx(1),
            Says::Described(on) => {
                stored.medium = medium(on);
                // On the GPU, a salted prompt whose salt is left out would be another block of the same name: of an engine
                // that contradicts itself nobody knows what it holds.
                let is_salted = self.namespace & 2 != 0 && from == 0;
                if stored.medium != Medium::Gpu || !is_salted {
                    stored.extra_keys.clear();
                }
            }
            Says::NamesOnly(on) => {
                let mut named = BlockStored::default();
                (named.block_hashes, named.medium) = (stored.block_hashes, medium(on));
                return named;
            }
            Says::OtherSize => stored.block_size = 3,
            // One name alone is no sparse naming: it stays.
            Says::Sparse if stored.block_hashes.len() < 2 => {}
            Says::Sparse => {
                stored.block_hashes.drain(..stored.block_hashes.len() / 2);
                stored.extra_keys.clear();
            }
            Says::SlidingWindow => (stored.group_idx, stored.spec_kind) = (GroupIdx(2), SpecKind::SlidingWindow),
        }
        stored
    }
}

fn medium(number: u8) -> Medium {
    Medium::ALL[usize::from(number) % Medium::ALL.len()]
}

impl Step {
    fn worker(&self) -> WorkerId {
        WorkerId((self.worker % WORKERS).into())
    }

    /// What the engine says; `None` when something else happens.
    fn event(&self) -> Option<KvEvent> {
        let number = self.worker % WORKERS;
        Some(match self.happens {
            Happens::Store { prompt, from, to, says } => {
                let to = to % (DEPTH + 1);
                KvEvent::BlockStored(prompt.stored(number, from % DEPTH, to.max(from % DEPTH), says))
            }
            Happens::Remove { prompt, block, group, medium: on } => {
                let mut removed = BlockRemoved::default();
                removed.block_hashes = names([prompt.name(number, block % DEPTH)]);
                (removed.group_idx, removed.medium) = (GroupIdx((group % 3).into()), medium(on));
                KvEvent::BlockRemoved(removed)
            }
            Happens::ClearGpu => KvEvent::AllBlocksCleared,
            Happens::Clear | Happens::Leave | Happens::State(_) => return None,
        })
    }

    /// Something happens that the engine does not say.
    fn happens(&self, writer: &mut impl IndexWriter) {
        match self.happens {
            Happens::Clear => writer.clear(self.worker()),
            Happens::Leave => writer.remove_worker(self.worker()),
            Happens::State(state) => {
                let states = [WorkerState::Exact, WorkerState::Recovering, WorkerState::Approximate];
                writer.set_state(self.worker(), states[usize::from(state) % states.len()]);
            }
            Happens::Store { .. } | Happens::Remove { .. } | Happens::ClearGpu => {}
        }
    }
}

/// What an engine says in one batch, and how many steps that were: nothing, when something else happens first.
fn batch(steps: &[Step]) -> (Vec<KvEvent>, usize) {
    let mut events = Vec::new();
    for step in steps {
        let Some(event) = step.event().filter(|_| step.worker() == steps[0].worker()) else { break };
        // What is cleared is swept after a batch, and remembered then.
        let is_last = !step.is_joined || event == KvEvent::AllBlocksCleared;
        events.push(event);
        if is_last {
            break;
        }
    }
    let steps = events.len().max(1);
    (events, steps)
}

fuzz_target!(|steps: Vec<Step>| {
    let settings = IndexSettings::default().with_block_size(2).with_key(HashKey::from_bytes([7; 32]));
    let (mut writer, reader) = ExactIndex::new(settings);
    let mut model = ModelIndex::new(settings);
    let mut rest = &steps[..];
    while let Some(step) = rest.first() {
        let (events, many) = batch(rest);
        let (worker, at) = (step.worker(), rest.len() as f64);
        if events.is_empty() {
            step.happens(&mut writer);
            step.happens(&mut model);
        } else {
            assert_eq!(writer.apply(worker, at, &events), model.apply(worker, at, &events), "{events:?}");
        }
        rest = &rest[many..];
    }
    for worker in (0..WORKERS).map(|worker| WorkerId(worker.into())) {
        let (mut held, mut truth) = (writer.residents(worker), model.residents(worker));
        held.sort_unstable();
        truth.sort_unstable();
        assert_eq!(held, truth, "{worker}");
        assert_eq!(reader.state(worker), model.state(worker), "{worker}");
    }
    for prompt in prompts(reader.hasher()) {
        assert_eq!(plainly(reader.explain(&prompt)), model.explain(&prompt), "{prompt:?}");
        for held in &reader.query(&prompt) {
            let explained = model.explain(&prompt);
            let truth = explained.workers.iter().find(|worker| worker.overlap.worker == held.worker);
            assert_eq!(Some(held.leading), truth.map(|worker| worker.overlap.leading), "{prompt:?}");
        }
        assert_eq!(reader.query(&prompt).len(), model.query(&prompt).len(), "{prompt:?}");
    }
});
