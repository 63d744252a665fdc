//! Why a prefix ends where it does, in an index's own words.

use std::sync::{Arc, OnceLock};

use llmd_core::hash::Chain;
use llmd_core::index::{Explanation, PrefixIndex};

use crate::Endpoint;
use crate::plugin::Why;

/// Asks an index about a prompt when somebody first wants to know, once for all endpoints.
#[derive(Debug)]
pub(super) struct Explained {
    index: Arc<dyn PrefixIndex>,
    chain: Arc<Chain>,
    explanation: OnceLock<Explanation>,
}

impl Explained {
    /// What `index` knows about a prompt.
    pub(super) const fn new(index: Arc<dyn PrefixIndex>, chain: Arc<Chain>) -> Self {
        Self { index, chain, explanation: OnceLock::new() }
    }
}

impl Why for Explained {
    fn why(&self, endpoint: &Endpoint) -> Option<String> {
        let explanation = self.explanation.get_or_init(|| self.index.explain(&self.chain));
        explanation.get(endpoint.worker()).map(ToString::to_string)
    }
}
