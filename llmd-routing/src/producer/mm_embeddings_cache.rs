//! `mm-embeddings-cache-producer`: which images and other items each endpoint should have encoded, going by what was sent there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::WorkerId;
use parking_lot::Mutex;
use serde::Deserialize;
use smallvec::SmallVec;

use super::lru::Lru;
use super::sweep::Sweep;
use crate::plugin::{Attributes, Data, Hooks, Picked, Plugin, Producer};
use crate::{Endpoint, Request, tenancy};

/// How many endpoints are remembered; beyond that, the one that was sent nothing for longest is forgotten.
const MAX_ENDPOINTS: usize = 4096;

/// Room for embeddings at each endpoint when the parameters do not say, in MiB, as in llm-d.
const CACHE_MIB: u64 = 4096;

/// What one item takes of it, as in llm-d.
const ITEM_MIB: u64 = 2;

type Items = SmallVec<[u128; 4]>;

/// Remembers which items were sent where, and believes that an endpoint keeps the embeddings of those that were used there
/// last. The share that it has of a request's items is what it says of each endpoint.
///
/// Formula: llm-d's `mm-embeddings-cache-producer`: an item takes 2 MiB, and those of a request count alike. llm-d remembers
/// the endpoint that decodes; here each that has a stage of the request, since it is before the decode that items are encoded.
/// Items of different tenants are different.
#[derive(Debug)]
pub struct MmEmbeddingsCache(Arc<Memory>);

/// The parameters of `mm-embeddings-cache-producer`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Parameters {
    #[serde(rename = "cacheSizeInMBPerServer")]
    cache_size_in_mb_per_server: i64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { cache_size_in_mb_per_server: CACHE_MIB as i64 }
    }
}

impl Parameters {
    /// How many items fit; a size that is not positive is the default, as in llm-d.
    pub(crate) fn items(&self) -> usize {
        let size = u64::try_from(self.cache_size_in_mb_per_server).ok().filter(|&size| size > 0);
        usize::try_from(size.unwrap_or(CACHE_MIB) / ITEM_MIB).unwrap_or(usize::MAX).max(1)
    }
}

#[derive(Debug)]
struct Memory {
    name: Arc<str>,
    /// How many items each endpoint is believed to keep.
    capacity: usize,
    max_endpoints: usize,
    sent: Mutex<Sent>,
}

/// What was sent to each endpoint last.
#[derive(Debug, Default)]
struct Sent {
    endpoints: HashMap<WorkerId, Encoded>,
    sweep: Sweep,
    turns: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Encoded {
    items: Lru,
    /// The turn in which something was sent there last.
    turn: u64,
}

impl MmEmbeddingsCache {
    /// A producer of this name, which believes that each endpoint keeps so many items.
    pub fn new(name: impl Into<Arc<str>>, items: usize) -> Self {
        let sent = Mutex::default();
        Self(Arc::new(Memory { name: name.into(), capacity: items, max_endpoints: MAX_ENDPOINTS, sent }))
    }
}

impl Memory {
    fn remember(&self, items: &Items, picked: &Picked<'_>) {
        let sent = &mut *self.sent.lock();
        let worker = picked.endpoint.worker();
        if !sent.endpoints.contains_key(&worker) && sent.endpoints.len() >= self.max_endpoints {
            sent.forget_idle();
        }
        sent.turns += 1;
        let new = || Encoded { items: Lru::new(self.capacity), turn: 0 };
        let encoded = sent.endpoints.entry(worker).or_insert_with(new);
        encoded.turn = sent.turns;
        items.iter().for_each(|&item| encoded.items.touch(item));
        let Sent { endpoints, sweep, .. } = sent;
        sweep.heard(picked, |gone| _ = endpoints.remove(&gone));
    }
}

impl Sent {
    /// How many of these items an endpoint has, out of how many.
    fn share(&self, worker: WorkerId, items: &Items) -> f64 {
        let has = |encoded: &Encoded| items.iter().filter(|&&item| encoded.items.contains(item)).count();
        self.endpoints.get(&worker).map_or(0, has) as f64 / items.len() as f64
    }

    fn forget_idle(&mut self) {
        let idle = self.endpoints.iter().min_by_key(|(_, encoded)| encoded.turn).map(|(&worker, _)| worker);
        let forgotten = idle.and_then(|worker| self.endpoints.remove(&worker));
        self.dropped += forgotten.map_or(0, |encoded| encoded.items.len() as u64);
    }
}

impl Plugin for MmEmbeddingsCache {
    fn reads(&self) -> Vec<Data> {
        vec![Data::Tokens]
    }

    /// Items that were forgotten because there were too many endpoints.
    fn dropped(&self) -> u64 {
        self.0.sent.lock().dropped
    }

    fn settings(&self) -> String {
        format!("{} items per endpoint", self.0.capacity)
    }
}

impl Producer for MmEmbeddingsCache {
    fn makes(&self) -> Data {
        Data::EncoderMatch(self.0.name.to_string())
    }

    fn produce(
        &self,
        request: &Request,
        pool: &[Arc<Endpoint>],
        _: Duration,
        out: &mut Attributes,
    ) -> Option<Box<dyn Hooks>> {
        let named = request.namespace.multimodal.iter().filter(|item| !item.identifier.is_empty());
        let mut items: Items = named.map(|item| tenancy::digest(request, &item.identifier)).collect();
        items.sort_unstable();
        items.dedup();
        if items.is_empty() {
            return None;
        }
        let sent = self.0.sent.lock();
        let shares = pool.iter().map(|endpoint| sent.share(endpoint.worker(), &items)).collect();
        drop(sent);
        out.set_encoder_matches(&self.0.name, shares);
        Some(Box::new(Remember { memory: Arc::clone(&self.0), items }))
    }
}

/// Remembers where the items of a request go.
#[derive(Debug)]
struct Remember {
    memory: Arc<Memory>,
    items: Items,
}

impl Hooks for Remember {
    fn picked(&mut self, picked: &Picked<'_>) {
        self.memory.remember(&self.items, picked);
    }
}

#[cfg(test)]
mod tests {
    use llmd_core::hash::{MultimodalItem, Namespace};

    use super::*;
    use crate::Pool;
    use crate::testing::{pool, request};

    fn with(items: &[&str]) -> Request {
        let item = |&identifier: &&str| MultimodalItem { identifier: identifier.to_owned(), offset: 0, len: 1 };
        let items: Vec<_> = items.iter().map(item).collect();
        request([]).with_namespace(Namespace::default().with_multimodal(items))
    }

    /// The shares that endpoints have of these items, and then where they are sent.
    fn sent(producer: &MmEmbeddingsCache, request: &Request, pool: &Pool, place: usize, seconds: u64) -> Vec<f64> {
        let (mut attributes, now) = (Attributes::default(), Duration::from_secs(seconds));
        let hooks = producer.produce(request, pool, now, &mut attributes);
        hooks.expect("there are items").picked(&Picked::new(&pool[place], pool, now));
        attributes.encoder_matches("p").expect("there are items").to_vec()
    }

    #[test]
    fn an_endpoint_has_the_share_of_items_that_was_sent_there() {
        let (producer, pool) = (MmEmbeddingsCache::new("p", 8), pool(2));
        assert_eq!(sent(&producer, &with(&["a"]), &pool, 0, 0), [0.0, 0.0]);
        assert_eq!(sent(&producer, &with(&["b", "c"]), &pool, 1, 0), [0.0, 0.0]);
        // An item that is there twice counts once.
        assert_eq!(sent(&producer, &with(&["a", "b", "c", "d", "a"]), &pool, 1, 0), [0.25, 0.5]);
        assert_eq!(sent(&producer, &with(&["d"]).of_tenant("t"), &pool, 0, 0), [0.0, 0.0]);
        assert_eq!(sent(&producer, &with(&["d"]), &pool, 0, 0), [0.0, 1.0]);
    }

    #[test]
    fn a_request_without_items_says_nothing() {
        let (producer, mut attributes) = (MmEmbeddingsCache::new("p", 8), Attributes::default());
        assert!(producer.produce(&with(&[""]), &pool(1), Duration::ZERO, &mut attributes).is_none());
        assert_eq!(attributes.encoder_matches("p"), None);
    }

    #[test]
    fn items_endpoints_and_those_that_are_gone_are_forgotten() {
        let (producer, all) = (MmEmbeddingsCache::new("p", 2), pool(3));
        sent(&producer, &with(&["a", "b"]), &all, 0, 0);
        sent(&producer, &with(&["c"]), &all, 0, 0);
        let shares = sent(&producer, &with(&["a", "b", "c"]), &all, 1, 0);
        assert_eq!(shares, [2.0 / 3.0, 0.0, 0.0], "no more than its size");

        let left = Pool::new(all[1..].iter().cloned());
        sent(&producer, &with(&["d"]), &left, 0, 120);
        assert_eq!(sent(&producer, &with(&["c"]), &all, 2, 121)[0], 0.0, "it was gone");
        assert_eq!(producer.dropped(), 0);

        let few = Memory { name: "p".into(), capacity: 2, max_endpoints: 1, sent: Mutex::default() };
        let producer = MmEmbeddingsCache(Arc::new(few));
        sent(&producer, &with(&["a", "b"]), &all, 0, 0);
        assert_eq!(sent(&producer, &with(&["c"]), &all, 1, 0), [0.0; 3]);
        assert_eq!(sent(&producer, &with(&["a", "c"]), &all, 1, 0), [0.0, 0.5, 0.0]);
        assert_eq!(producer.dropped(), 2);
    }

    #[test]
    fn a_size_is_so_many_items_of_two_mebibytes() {
        for (size, items) in [(4096, 2048), (0, 2048), (-1, 2048), (1, 1), (5, 2)] {
            assert_eq!(Parameters { cache_size_in_mb_per_server: size }.items(), items, "{size}");
        }
    }
}
