//! One endpoint of the gateway's, with what was learnt about it.

use std::sync::Arc;

use llmd_routing::Endpoint;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::listing::Listed;
use crate::discovery::EndpointEntry;
use crate::events::KvEventSource;
use crate::health::Health;

/// One endpoint of the gateway's. What looks at it ends when it is `gone`.
#[derive(Debug)]
pub(crate) struct Member {
    pub(super) entry: EndpointEntry,
    pub(crate) endpoint: Arc<Endpoint>,
    /// Survives a change of labels.
    pub(super) health: Arc<Mutex<Health>>,
    pub(super) learned: Arc<Mutex<Learned>>,
    /// Cancelled when it is listed no longer, or another member has taken its place.
    pub(super) gone: CancellationToken,
}

/// What an endpoint said about itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Learned {
    /// The models that it serves; `None` before its first answer.
    pub(super) models: Option<Vec<Listed>>,
    /// Tokens per block of its cache, where somebody asks.
    pub(super) block_size: Option<usize>,
    /// Where it publishes KV events.
    pub(super) source: Option<KvEventSource>,
}

impl Member {
    pub(super) fn new(
        entry: EndpointEntry,
        endpoint: Endpoint,
        health: Arc<Mutex<Health>>,
        learned: Arc<Mutex<Learned>>,
        gone: CancellationToken,
    ) -> Self {
        Self { entry, endpoint: Arc::new(endpoint), health, learned, gone }
    }

    /// Its name, which no other endpoint has.
    pub(crate) fn name(&self) -> &str {
        self.endpoint.name()
    }

    /// Whether it is left alone for failing.
    pub(crate) fn is_ejected(&self) -> bool {
        self.health.lock().is_ejected()
    }

    /// Whether nothing but labels, models and event source may differ.
    pub(super) fn is_at(&self, entry: &EndpointEntry) -> bool {
        self.entry.authority() == entry.authority()
    }
}
