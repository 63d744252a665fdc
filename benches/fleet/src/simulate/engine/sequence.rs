//! A request on its way through the engine.

use llmd_core::TokenId;

use super::Job;
use super::name::{Name, ROOT, name, output_token};
use crate::model::BlockId;

/// A request inside.
///
/// While it decodes, `computed` and what it has produced are not written down but follow from the number of the step:
/// see [`Decoding`].
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) job: Job,
    /// Which admission this is, counted over all requests; later ones are newer.
    pub(super) order: u64,
    /// How many tokens came out.
    pub(super) produced: usize,
    /// The names of full blocks behind those that the prompt's stream knows.
    names: Vec<Name>,
    /// The blocks in use, first block first.
    pub(super) blocks: Vec<BlockId>,
    /// How many of `blocks` have a name.
    pub(super) stored: usize,
    /// How many tokens have their KV computed, once the step in flight ends.
    pub(super) computed: usize,
    /// How many of these the step in flight computes.
    pub(super) scheduled: usize,
    pub(super) decoding: Option<Decoding>,
    /// How many tokens of the prompt the cache had when the request was first scheduled.
    pub(super) hit: Option<usize>,
    pub(super) preemptions: u32,
}

/// How far a sequence is that computes one token in each step: `step + ahead` tokens, once step number `step` ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decoding {
    pub(super) ahead: i64,
}

impl Decoding {
    pub(super) const fn computed(self, step: u64) -> usize {
        (step as i64 + self.ahead) as usize
    }
}

impl Sequence {
    pub(super) fn new(job: Job) -> Self {
        Self {
            job,
            order: 0,
            produced: 0,
            names: Vec::new(),
            blocks: Vec::new(),
            stored: 0,
            computed: 0,
            scheduled: 0,
            decoding: None,
            hit: None,
            preemptions: 0,
        }
    }

    /// How many tokens there are: the prompt, and what came out.
    pub(super) const fn len(&self) -> usize {
        self.job.prompt.len() + self.produced
    }

    /// The name of the block at this place of the prompt and its output.
    pub(super) fn name(&mut self, place: usize, block_size: usize) -> Name {
        // What the stream goes on with is the output only where the job says so.
        let known = if self.job.follows { self.job.prompt.names().len() } else { self.job.prompt.len() / block_size };
        if place < known {
            return self.job.prompt.names()[place];
        }
        while self.names.len() <= place - known {
            let place = known + self.names.len();
            let parent = match place.checked_sub(1) {
                Some(before) if before >= known => self.names[before - known],
                Some(before) => self.job.prompt.names()[before],
                None => ROOT,
            };
            let tokens = place * block_size..(place + 1) * block_size;
            let next = if tokens.start >= self.job.prompt.len() && !self.job.follows {
                let (seed, before) = (self.job.seed, self.job.prompt.len());
                name(parent, tokens.map(|position| output_token(seed, position - before)))
            } else {
                name(parent, tokens.map(|position| self.token(position)))
            };
            self.names.push(next);
        }
        self.names[place - known]
    }

    /// The token at a position of the prompt and its output.
    pub(super) fn token(&self, position: usize) -> TokenId {
        let known = if self.job.follows { self.job.prompt.known() } else { self.job.prompt.tokens() };
        match known.get(position) {
            Some(&token) => token,
            None => output_token(self.job.seed, position - self.job.prompt.len()),
        }
    }

    /// Whether all that is left to compute, the `scheduled` tokens included, is the token that came out last.
    pub(super) const fn is_last_token(&self) -> bool {
        let before = self.computed - self.scheduled;
        before >= self.job.prompt.len() && self.len() == before + 1
    }
}
