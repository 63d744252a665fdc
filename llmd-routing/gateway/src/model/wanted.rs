//! What must be served and followed, given the endpoints and what they said: worked out from nothing each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use llmd_core::WorkerId;
use llmd_core::hash::Lora;
use llmd_routing::Pool;

use super::directory::Surroundings;
use super::member::Member;
use super::served::Served;
use super::snapshot::{Model, Snapshot};
use crate::events::KvEventSource;

/// Whose events are followed, into which model's index.
pub(super) type Watched = BTreeMap<(String, WorkerId), KvEventSource>;

/// What must be served and followed.
#[derive(Debug, Default)]
pub(super) struct Wanted<'a> {
    models: BTreeMap<String, WantedModel<'a>>,
    watched: Watched,
    names: BTreeMap<WorkerId, &'a str>,
}

#[derive(Debug, Default)]
struct WantedModel<'a> {
    /// The model that it is an adapter of.
    base: Option<String>,
    members: Vec<&'a Arc<Member>>,
    block_size: Option<usize>,
}

impl<'a> Wanted<'a> {
    /// What these endpoints want, with at most so many models.
    pub(super) fn by(members: impl Iterator<Item = &'a Arc<Member>>, max_models: usize) -> Self {
        let mut wanted = Self::default();
        for member in members {
            let worker = member.endpoint.worker();
            wanted.names.insert(worker, member.name());
            let learned = member.learned.lock();
            for listed in learned.models.iter().flatten() {
                if wanted.models.len() == max_models && !wanted.models.contains_key(&listed.name) {
                    tracing::warn!("model {} is one too many, and not served", listed.name);
                    continue;
                }
                let model = wanted.models.entry(listed.name.clone()).or_default();
                model.base = model.base.take().or_else(|| listed.base.clone());
                model.members.push(member);
                model.block_size = model.block_size.or(learned.block_size);
                if let (None, Some(source)) = (&listed.base, &learned.source) {
                    wanted.watched.insert((listed.name.clone(), worker), source.clone());
                }
            }
        }
        wanted
    }

    /// Makes a scheduler for each model that is no adapter, and lets go of all others.
    pub(super) fn serve(&self, served: &mut BTreeMap<String, Arc<Served>>, around: &Surroundings) {
        let is_base = |name: &String| self.models.get(name).is_some_and(|model| model.base.is_none());
        served.retain(|name, _| is_base(name));
        for (name, model) in self.models.iter().filter(|(name, _)| is_base(name)) {
            if served.contains_key(name) {
                continue;
            }
            match Served::new(name.clone(), around, model.block_size) {
                Ok(new) => _ = served.insert(name.clone(), Arc::new(new)),
                Err(error) => tracing::error!("model {name} cannot be served: {error}"),
            }
        }
    }

    /// Subscribes to what is to be watched, and to nothing else.
    pub(super) fn follow(&self, served: &BTreeMap<String, Arc<Served>>, watched: &mut Watched) {
        let subscriptions = |model: &String| Some(&served.get(model)?.events.as_ref()?.subscriptions);
        for (model, worker) in watched.keys().filter(|key| !self.watched.contains_key(*key)) {
            if let Some(subscriptions) = subscriptions(model) {
                subscriptions.unwatch(*worker);
            }
        }
        for (key @ (model, worker), source) in &self.watched {
            let Some(subscriptions) = subscriptions(model).filter(|_| watched.get(key) != Some(source)) else {
                continue;
            };
            let name = self.names[worker];
            if let Err(error) = subscriptions.watch(*worker, name, source.clone()) {
                tracing::error!("the KV events of endpoint {name} cannot be followed: {error}");
            }
        }
        watched.clone_from(&self.watched);
    }

    /// What requests see.
    pub(super) fn snapshot(
        self,
        served: &BTreeMap<String, Arc<Served>>,
        members: &BTreeMap<String, Arc<Member>>,
    ) -> Snapshot {
        let models = self.models.into_iter().filter_map(|(name, model)| {
            let model = model.seen(&name, served)?;
            Some((name, model))
        });
        Snapshot {
            models: models.collect(),
            members: members.iter().map(|(name, member)| (name.clone(), Arc::clone(member))).collect(),
        }
    }
}

impl WantedModel<'_> {
    /// As requests see it; `None` when it has no scheduler, its base's or its own.
    fn seen(self, name: &str, served: &BTreeMap<String, Arc<Served>>) -> Option<Model> {
        let served = Arc::clone(served.get(self.base.as_deref().unwrap_or(name))?);
        let healthy: Vec<_> = self.members.iter().filter(|member| !member.is_ejected()).copied().collect();
        let candidates = if healthy.is_empty() { &self.members } else { &healthy };
        Some(Model {
            pool: Pool::new(candidates.iter().map(|member| Arc::clone(&member.endpoint))),
            healthy: healthy.len(),
            served,
            adapter: self.base.is_some().then(|| Lora::new(name)),
        })
    }
}
