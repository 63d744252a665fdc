//! Who serves what, as it is at one moment: what a request reads, swapped whole when something changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use llmd_core::hash::{Lora, Namespace};
use llmd_routing::Pool;

use super::member::Member;
use super::served::Served;

/// Who serves what.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(super) models: BTreeMap<String, Model>,
    pub(super) members: HashMap<String, Arc<Member>>,
}

/// A model, or an adapter, that requests can name.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// The scheduler and the index of the model whose cache its requests use.
    pub(crate) served: Arc<Served>,
    /// Its own name, when it is an adapter.
    pub(super) adapter: Option<Lora>,
    /// Who serves it and is not left alone; everybody who serves it, when all are.
    pub(crate) pool: Pool,
    /// How many of those are not left alone.
    pub(super) healthy: usize,
}

impl Model {
    /// What its prompts are computed under, for a client who gives this salt.
    pub(crate) fn namespace(&self, salt: Option<&str>) -> Namespace {
        let namespace = Namespace::default();
        let namespace = match &self.adapter {
            Some(adapter) => namespace.with_lora(adapter.clone()),
            None => namespace,
        };
        match salt {
            Some(salt) => namespace.with_cache_salt(salt),
            None => namespace,
        }
    }

    /// How many of its endpoints are not left alone.
    pub(crate) fn healthy(&self) -> usize {
        self.healthy
    }

    /// The model that this is an adapter of.
    pub(crate) fn base(&self) -> Option<&str> {
        self.adapter.as_ref().map(|_| self.served.name())
    }
}

impl Snapshot {
    /// The model of this name.
    pub(crate) fn model(&self, name: &str) -> Option<&Model> {
        self.models.get(name)
    }

    /// Every model, by name.
    pub(crate) fn models(&self) -> impl ExactSizeIterator<Item = (&String, &Model)> {
        self.models.iter()
    }

    /// The endpoint of this name.
    pub(crate) fn member(&self, name: &str) -> Option<&Arc<Member>> {
        self.members.get(name)
    }

    /// Every endpoint.
    pub(crate) fn members(&self) -> impl ExactSizeIterator<Item = &Arc<Member>> {
        self.members.values()
    }

    /// Each scheduler once.
    pub(crate) fn served(&self) -> impl Iterator<Item = &Arc<Served>> {
        self.models.values().filter(|model| model.adapter.is_none()).map(|model| &model.served)
    }

    /// Why requests should go to another gateway; `None` when every model has an endpoint that is not left alone.
    pub(crate) fn unready(&self) -> Option<String> {
        if self.models.is_empty() {
            return Some("no endpoint has said yet which models it serves".into());
        }
        let (name, _) = self.models.iter().find(|(_, model)| model.healthy == 0)?;
        Some(format!("every endpoint of model {name} is failing"))
    }
}
