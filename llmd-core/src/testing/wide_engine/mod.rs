//! Engines of every model that do at random what real ones do, and say so: for comparing an index at full width with the
//! model.

mod engine;

use proptest::prelude::*;

use self::engine::Engine;
use super::Step;
use super::prompt::{Prompt, WIDE_DEPTH, wide_prompt};
use crate::event::SpecKind;
use crate::index::WorkerState;
use crate::{Locality, Medium};

/// Copies that fit into an engine's cache.
const CAPACITY: usize = 24;
const WORKERS: usize = 3;

/// The cache groups of a model: kind, window, and how many blocks of the index one of their blocks covers.
type Model = &'static [(SpecKind, Option<u32>, usize)];

const FULL: SpecKind = SpecKind::FullAttention;
const MODELS: [Model; 8] = [
    &[(FULL, None, 1)],
    &[(FULL, None, 2)],
    &[(FULL, None, 1), (FULL, None, 1)],
    &[(SpecKind::SlidingWindow, Some(4), 1), (FULL, None, 1)],
    &[(SpecKind::SlidingWindow, Some(6), 2), (SpecKind::SlidingWindow, Some(6), 2), (FULL, None, 1)],
    &[(SpecKind::Mamba, None, 2), (FULL, None, 2)],
    &[(FULL, None, 1), (SpecKind::Mamba, None, 2), (SpecKind::SlidingWindow, Some(5), 1)],
    &[(FULL, None, 2), (SpecKind::ChunkedLocalAttention, None, 1), (SpecKind::Mamba, None, 1)],
];

/// What an engine is made to do.
#[derive(Clone, Copy, Debug)]
enum Action {
    /// Compute the blocks `from..to` of a prompt. Of its sparse groups each keeps those of the bits.
    Compute {
        prompt: Prompt,
        from: usize,
        to: usize,
        kept: u8,
    },
    /// Name the part of a block that ends with this block of the index, in the groups of the bits.
    Part {
        prompt: Prompt,
        at: usize,
        groups: u8,
    },
    /// Store the blocks `from..to` where they can be loaded from.
    Offload {
        prompt: Prompt,
        from: usize,
        to: usize,
        tier: (Medium, Locality),
        described: bool,
    },
    /// Lose a copy from anywhere.
    Evict {
        nth: usize,
    },
    /// Remove from the shared storage what may or may not be there.
    Withdraw {
        prompt: Prompt,
        at: usize,
    },
    Clear,
    Restart,
    /// Go on as if nothing was, while the index forgets what was said.
    Mistrust,
    Leave,
    Judge(WorkerState),
}

/// What three engines of tiny caches do at random, with blocks of two tokens in the index, each with a model of its own:
/// dense, in blocks of one size or another, or hybrid with sliding windows, states and parts of blocks. Sparse groups
/// keep some blocks only, or name none; all may use tiers of their own and storage that is shared; and there are
/// evictions anywhere, adapters and salts, restarts, lost trust, and groups of which nobody knows what a hit is.
pub fn full_width_engines() -> impl Strategy<Value = Vec<Step>> {
    let models = proptest::array::uniform3(0..MODELS.len());
    let actions = proptest::collection::vec((0..WORKERS, action()), 0..80);
    (models, actions).prop_map(|(models, actions)| {
        let mut engines: Vec<_> = (0..WORKERS).map(|worker| Engine::new(worker, MODELS[models[worker]])).collect();
        actions.into_iter().map(|(worker, action)| engines[worker].act(action)).collect()
    })
}

fn action() -> impl Strategy<Value = Action> {
    let prompt =
        || (any::<u8>(), prop_oneof![9 => Just(0_u8), 3 => 1..4_u8]).prop_map(|(n, space)| wide_prompt(n, space));
    let from = || prop_oneof![2 => Just(0), 1 => 0..WIDE_DEPTH];
    let to = || prop_oneof![1 => Just(WIDE_DEPTH), 2 => 0..WIDE_DEPTH];
    let range = || (from(), to()).prop_map(|(from, to)| (from, to.max(from)));
    let kept = prop_oneof![Just(0_u8), Just(u8::MAX), any::<u8>()];
    let tier = prop_oneof![
        3 => Just((Medium::Cpu, Locality::Local)),
        1 => Just((Medium::Storage, Locality::Local)),
        3 => Just((Medium::Storage, Locality::Remote)),
    ];
    let judged = prop_oneof![4 => Just(WorkerState::Exact), 1 => Just(WorkerState::Recovering)];
    prop_oneof![
        50 => (prompt(), range(), kept).prop_map(|(prompt, (from, to), kept)| Action::Compute { prompt, from, to, kept }),
        8 => (prompt(), 0..WIDE_DEPTH, any::<u8>()).prop_map(|(prompt, at, groups)| Action::Part { prompt, at, groups }),
        6 => (prompt(), range(), tier, any::<bool>()).prop_map(|(prompt, (from, to), tier, described)| {
            Action::Offload { prompt, from, to, tier, described }
        }),
        25 => (0..CAPACITY).prop_map(|nth| Action::Evict { nth }),
        2 => (prompt(), 0..WIDE_DEPTH).prop_map(|(prompt, at)| Action::Withdraw { prompt, at }),
        1 => Just(Action::Clear),
        1 => Just(Action::Restart),
        1 => Just(Action::Mistrust),
        1 => Just(Action::Leave),
        10 => judged.prop_map(Action::Judge),
    ]
}
