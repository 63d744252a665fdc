//! The last decisions, with what the index knew when they were made.

use std::collections::VecDeque;
use std::fmt::Write as _;

use llmd_core::index::{Explanation as IndexExplanation, PrefixIndex as _};
use llmd_routing::{Decision, Explanation, Request};
use parking_lot::Mutex;

use crate::model::Model;

/// The last decisions; older ones are forgotten.
#[derive(Debug)]
pub(crate) struct Decisions {
    kept: Mutex<VecDeque<Kept>>,
    max: usize,
}

#[derive(Debug)]
struct Kept {
    id: String,
    model: String,
    prompt_tokens: Option<usize>,
    decision: Explanation,
    index: Option<IndexExplanation>,
    /// The names of the workers.
    names: Vec<String>,
}

impl Decisions {
    /// Remembers at most `max`.
    pub(crate) fn new(max: usize) -> Self {
        Self { kept: Mutex::default(), max }
    }

    /// Remembers a decision.
    pub(crate) fn remember(&self, request: &Request, model: &Model, decision: &Decision) {
        let index = request.tokens.as_ref().zip(model.served.events.as_ref()).map(|(tokens, events)| {
            let chain = events.index.hasher().chain(tokens, &request.namespace);
            let mut explanation = events.index.explain(&chain);
            explanation.workers.retain(|worker| model.pool.iter().any(|endpoint| endpoint.worker() == worker.worker()));
            explanation
        });
        let names = model.pool.iter().map(|endpoint| format!("{} is {}", endpoint.worker(), endpoint.name())).collect();
        let kept = Kept {
            id: request.id.clone(),
            model: request.model.clone(),
            prompt_tokens: request.tokens.as_ref().map(Vec::len),
            decision: decision.explain(),
            index,
            names,
        };
        let mut all = self.kept.lock();
        if all.len() >= self.max.max(1) {
            all.pop_front();
        }
        all.push_back(kept);
    }

    /// Why the request of this id went where it went; of several with one id, the last.
    pub(crate) fn explain(&self, id: &str) -> Option<String> {
        let all = self.kept.lock();
        let kept = all.iter().rev().find(|kept| kept.id == id)?;
        let mut text = format!("request {id} for model {}", kept.model);
        match kept.prompt_tokens {
            Some(tokens) => _ = writeln!(text, ", {tokens} prompt tokens\n"),
            None => text.push_str(", without tokens\n\n"),
        }
        _ = writeln!(text, "{}", kept.decision);
        if let Some(index) = &kept.index {
            _ = writeln!(text, "\nwhat the index knew of the prompt, where {}:\n{index}", kept.names.join(", "));
        }
        Some(text)
    }
}
