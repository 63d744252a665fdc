//! From a configuration to a scheduler.

use std::collections::HashMap;
use std::sync::Arc;

use llmd_core::index::PrefixIndex;
use llmd_core::{Error, ErrorKind, Result};

use super::blueprint::Blueprint;
use super::catalogue::Stability;
use super::document::{EndpointPickerConfig, ProfileConfig};
use super::kv_events::Precise;
use super::plugin_config::PluginConfig;
use super::plugins::DEFAULT_PREFIX_PRODUCER;
use crate::plugin::{Data, Filter, Picker, Producer, ProfileHandler, Scorer};
use crate::producer::{ApproxPrefixCache, InFlightLoad, PrecisePrefixCache};
use crate::scheduler::{Instance, Made, Origin};
use crate::{Profile, Scheduler};

/// A scheduler to be: a configuration, and the components that it needs.
#[derive(Clone, Debug)]
#[must_use]
pub struct SchedulerBuilder {
    config: EndpointPickerConfig,
    index: Option<Arc<dyn PrefixIndex>>,
    experimental: bool,
}

impl Scheduler {
    /// A scheduler of this configuration.
    pub fn builder(config: EndpointPickerConfig) -> SchedulerBuilder {
        SchedulerBuilder { config, index: None, experimental: false }
    }

    /// A scheduler of the configuration in llm-d's YAML.
    ///
    /// # Errors
    ///
    /// As [`EndpointPickerConfig::from_yaml`].
    pub fn from_yaml(text: &str) -> Result<SchedulerBuilder> {
        EndpointPickerConfig::from_yaml(text).map(Self::builder)
    }
}

impl SchedulerBuilder {
    /// The same, with the index that `precise-prefix-cache-producer` asks.
    pub fn with_index(self, index: impl PrefixIndex + 'static) -> Self {
        self.with_shared_index(Arc::new(index))
    }

    /// The same, with an index that others ask too.
    pub fn with_shared_index(self, index: Arc<dyn PrefixIndex>) -> Self {
        Self { index: Some(index), ..self }
    }

    /// The same, allowing plugins that are experimental in llm-d; it has the flag `--allow-experimental-plugins` for it.
    pub fn allow_experimental(self, experimental: bool) -> Self {
        Self { experimental, ..self }
    }

    /// Makes the scheduler, adding what the configuration leaves out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when plugins do not fit together, an experimental one is not allowed, or an index is missing.
    pub fn build(self) -> Result<Scheduler> {
        let (index, experimental) = (self.index, self.experimental);
        assemble(self.config, &Origin { index, experimental, ..Origin::default() })
    }
}

/// A scheduler of this configuration, in the place of one that was made with `before`.
pub(super) fn assemble(config: EndpointPickerConfig, before: &Origin) -> Result<Scheduler> {
    let (config, mut added) = config.complete();
    let experimental = config.plugins.iter().find(|plugin| plugin.stability == Stability::Experimental);
    if let Some(plugin) = experimental.filter(|_| !before.experimental) {
        let message = format!("plugin `{}` is experimental; allow experimental plugins to use it", plugin.name);
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let mut plugins = Plugins::default();
    for plugin in &config.plugins {
        plugins.make(plugin, before)?;
    }
    let profiles = config.profiles.iter().map(|profile| plugins.profile(profile)).collect::<Result<Vec<_>>>()?;
    let handler = plugins.handler(profiles.len())?;
    plugins.add_missing(&profiles, &config, before, &mut added)?;
    let Plugins { producers, in_flight, made, .. } = plugins;
    let origin = Origin { index: before.index.clone(), experimental: before.experimental, made };
    Scheduler::configured(profiles, handler, producers, in_flight.unwrap_or_default(), added, origin)
}

/// The plugins of a configuration, by name.
#[derive(Debug, Default)]
struct Plugins {
    filters: HashMap<String, Arc<dyn Filter>>,
    scorers: HashMap<String, Arc<dyn Scorer>>,
    pickers: HashMap<String, Arc<dyn Picker>>,
    handlers: Vec<(String, Arc<dyn ProfileHandler>)>,
    producers: Vec<(String, Arc<dyn Producer>)>,
    in_flight: Option<InFlightLoad>,
    made: Vec<Made>,
}

impl Plugins {
    /// Makes a plugin, or takes the one that was made from just this before.
    fn make(&mut self, plugin: &PluginConfig, before: &Origin) -> Result<()> {
        if let Blueprint::InFlight(load) = &plugin.blueprint {
            if self.in_flight.is_some() {
                let message =
                    format!("`{}` is a second inflight-load-producer, and requests are counted once", plugin.name);
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            self.in_flight = Some(load.clone());
        }
        let kept = before.find(&plugin.name, plugin.type_name, &plugin.parameters).cloned();
        let Some(instance) = kept.map_or_else(|| instance(plugin, before.index.as_ref()), |kept| Ok(Some(kept)))?
        else {
            return Ok(());
        };
        let name = plugin.name.clone();
        match instance.clone() {
            Instance::Filter(filter) => _ = self.filters.insert(name, filter),
            Instance::Handler(handler) => self.handlers.push((name, handler)),
            Instance::Picker(picker) => _ = self.pickers.insert(name, picker),
            Instance::Producer(producer) => self.producers.push((name, producer)),
            Instance::Scorer(scorer) => _ = self.scorers.insert(name, scorer),
        }
        let (name, parameters) = (plugin.name.clone(), plugin.parameters.clone());
        self.made.push(Made { name, type_name: plugin.type_name, parameters, instance });
        Ok(())
    }

    fn profile(&self, config: &ProfileConfig) -> Result<Profile> {
        let mut pickers = config.plugins.iter().filter_map(|plugin| self.pickers.get_key_value(&plugin.name));
        let (name, picker) = pickers.next().expect("every profile has been given a picker");
        if let Some((second, _)) = pickers.next() {
            let message = format!("profile `{}` has two pickers, `{name}` and `{second}`", config.name);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let profile = Profile::new(config.name.clone(), name.clone(), Arc::clone(picker));
        Ok(config.plugins.iter().fold(profile, |profile, plugin| {
            if let Some(filter) = self.filters.get(&plugin.name) {
                return profile.filter(plugin.name.clone(), Arc::clone(filter));
            }
            match self.scorers.get(&plugin.name) {
                Some(scorer) => profile.scorer(plugin.name.clone(), plugin.weight, Arc::clone(scorer)),
                None => profile,
            }
        }))
    }

    /// The one handler that there must be.
    fn handler(&self, profiles: usize) -> Result<(String, Arc<dyn ProfileHandler>)> {
        match &self.handlers[..] {
            [_] if profiles > 1 => {
                let message = format!("single-profile-handler runs one profile, and there are {profiles}");
                Err(Error::new(ErrorKind::Invalid, message))
            }
            [handler] => Ok(handler.clone()),
            [] => {
                let message = format!("there are {profiles} profiles and no profile handler that chooses between them");
                Err(Error::new(ErrorKind::Invalid, message))
            }
            [(first, _), (second, _), ..] => {
                Err(Error::new(ErrorKind::Invalid, format!("there are two profile handlers, `{first}` and `{second}`")))
            }
        }
    }

    /// Adds the default producers of what is read and not made.
    fn add_missing(
        &mut self,
        profiles: &[Profile],
        config: &EndpointPickerConfig,
        before: &Origin,
        added: &mut Vec<String>,
    ) -> Result<()> {
        let reads = self.reads(profiles);
        let reader =
            |wanted: fn(&Data) -> bool| reads.iter().find(|(_, data)| wanted(data)).map(|(name, _)| name.clone());
        let approx = reader(|data| *data == Data::PrefixMatch(DEFAULT_PREFIX_PRODUCER.to_owned()));
        let missing = !self.producers.iter().any(|(name, _)| name == DEFAULT_PREFIX_PRODUCER);
        if let Some(reader) = approx.filter(|_| missing) {
            self.make(&PluginConfig::default_of(DEFAULT_PREFIX_PRODUCER), before)?;
            added.push(format!("{DEFAULT_PREFIX_PRODUCER}, since {reader} reads what it makes"));
        }
        let load = reader(|data| matches!(data, Data::InFlightRequests | Data::InFlightTokens));
        if let Some(reader) = load.filter(|_| self.in_flight.is_none()) {
            added.push(format!("inflight-load-producer, since {reader} reads what it makes"));
        }
        let tokens = reader(|data| matches!(data, Data::InFlightTokens | Data::PrefixMatch(_) | Data::Tokens));
        let named = config.plugins.iter().any(|plugin| matches!(plugin.blueprint, Blueprint::Tokens(_)));
        if let Some(reader) = tokens.filter(|_| !named) {
            added.push(format!("token-producer, which estimates, since {reader} reads what it makes"));
        }
        Ok(())
    }

    /// What each plugin reads, those of profiles first.
    fn reads(&self, profiles: &[Profile]) -> Vec<(String, Data)> {
        let standing =
            profiles.iter().flat_map(Profile::plugins).map(|(name, plugin)| (name.to_owned(), plugin.reads()));
        let producers = self.producers.iter().map(|(name, producer)| (name.clone(), producer.reads()));
        let load = self.in_flight.as_ref().and_then(InFlightLoad::prefix_producer);
        let load = load.map(|name| ("inflight-load-producer".to_owned(), vec![Data::PrefixMatch(name.clone())]));
        let all = standing.chain(producers).chain(load);
        all.flat_map(|(name, data)| data.into_iter().map(move |data| (name.clone(), data))).collect()
    }
}

/// A new plugin; none of what says nothing that is not so anyway.
fn instance(plugin: &PluginConfig, index: Option<&Arc<dyn PrefixIndex>>) -> Result<Option<Instance>> {
    let name = plugin.name.as_str();
    Ok(Some(match &plugin.blueprint {
        Blueprint::Approx(settings) => Instance::Producer(Arc::new(ApproxPrefixCache::new(name, settings.clone()))),
        Blueprint::Filter(make) => Instance::Filter(make()),
        Blueprint::Handler(make) => Instance::Handler(make()),
        Blueprint::Picker(make) => Instance::Picker(make()),
        Blueprint::Precise(precise) => Instance::Producer(precise_producer(name, precise, index)?),
        Blueprint::Scorer(make) => Instance::Scorer(make()),
        Blueprint::InFlight(_) | Blueprint::Nothing | Blueprint::Tokens(_) => return Ok(None),
    }))
}

fn precise_producer(name: &str, precise: &Precise, index: Option<&Arc<dyn PrefixIndex>>) -> Result<Arc<dyn Producer>> {
    let Some(index) = index else {
        let message = format!("`{name}` asks an index of KV events, and the scheduler was built without one");
        return Err(Error::new(ErrorKind::Invalid, message));
    };
    let producer = PrecisePrefixCache::new(name, Arc::clone(index)).with_weights(precise.weights);
    Ok(Arc::new(match precise.speculative_ttl {
        Some(ttl) => producer.with_speculation(ttl),
        None => producer,
    }))
}
