//! From a configuration to a scheduler.

use std::sync::Arc;

use llmd_core::index::PrefixIndex;
use llmd_core::{Error, Result};

use super::blueprint::{Around, Blueprint, Part};
use super::document::{EndpointPickerConfig, PluginRef, ProfileConfig};
use super::fit::Given;
use super::kv_events::Precise;
use super::plugin_config::PluginConfig;
use super::plugins::{DEFAULT_ENCODER_PRODUCER, DEFAULT_PREFIX_PRODUCER};
use crate::admitter::SaturationAdmitter;
use crate::plugin::{Data, Decider, Plugin, Producer, ProfileHandler, Scorer};
use crate::producer::{InFlightLoad, PrecisePrefixCache};
use crate::scheduler::{Components, Instance, Made, Origin};
use crate::scorer::PrefixCacheScorer;
use crate::{Profile, Scheduler};

/// A scheduler to be: a configuration, and the components that it needs.
#[derive(Clone, Debug)]
#[must_use]
pub struct SchedulerBuilder {
    config: EndpointPickerConfig,
    index: Option<Arc<dyn PrefixIndex>>,
    experimental: bool,
    producers: Vec<(String, Arc<dyn Producer>)>,
}

impl Scheduler {
    /// A scheduler of this configuration.
    pub fn builder(config: EndpointPickerConfig) -> SchedulerBuilder {
        SchedulerBuilder { config, index: None, experimental: false, producers: Vec::new() }
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

    /// The same, with a producer of one's own, which plugins read from by this name: `predicted-latency-producer`, say.
    pub fn with_producer(mut self, name: impl Into<String>, producer: Arc<dyn Producer>) -> Self {
        self.producers.push((name.into(), producer));
        self
    }

    /// Makes the scheduler, adding what the configuration leaves out.
    ///
    /// # Errors
    ///
    /// [`Invalid`](llmd_core::ErrorKind::Invalid) when plugins do not fit together, an experimental one is not allowed, or an index is missing.
    pub fn build(self) -> Result<Scheduler> {
        let Self { config, index, experimental, producers } = self;
        assemble(config, &Origin { index, experimental, producers, ..Origin::default() })
    }
}

/// A scheduler of this configuration, in the place of one that was made with `before`.
pub(super) fn assemble(config: EndpointPickerConfig, before: &Origin) -> Result<Scheduler> {
    let (config, mut added) = config.complete();
    let given = Given { index: before.index.is_some(), experimental: before.experimental };
    if let Some(misfit) = config.misfits(given).into_iter().next() {
        return Err(Error::new(misfit.kind, misfit.message));
    }
    let profiles = config.profiles.iter().map(|profile| profile.name.clone()).collect();
    let mut plugins = Plugins { profiles, ..Plugins::default() };
    // Handlers ask deciders, and so come after all others.
    let (handlers, others): (Vec<_>, Vec<_>) =
        config.plugins.iter().partition(|plugin| plugin.blueprint.is(Part::Handler));
    others.into_iter().chain(handlers).try_for_each(|plugin| plugins.make(plugin, before))?;
    before.producers.iter().for_each(|producer| plugins.add_given(producer));
    config.saturation_detector().map_or(Ok(()), |detector| plugins.admit_by(detector, before))?;
    let profiles = config.profiles.iter().map(|profile| plugins.profile(profile)).collect::<Vec<_>>();
    let handler = plugins.handlers.pop().expect("there is one handler");
    plugins.add_missing(&profiles, &handler, &config, before, &mut added)?;
    let Origin { index, experimental, producers, .. } = before.clone();
    let origin = Origin { index, experimental, producers, made: std::mem::take(&mut plugins.made) };
    Scheduler::configured(plugins.components(profiles, handler), added, origin)
}

type Named<P> = (String, Arc<P>);

/// What the admitter is called by which `saturationDetector` refuses requests.
const SATURATION: &str = "saturationDetector";

/// The plugins of a configuration, by name.
#[derive(Debug, Default)]
struct Plugins {
    instances: Vec<(String, Instance)>,
    deciders: Vec<Named<dyn Decider>>,
    handlers: Vec<Named<dyn ProfileHandler>>,
    in_flight: Option<InFlightLoad>,
    made: Vec<Made>,
    /// The names of the profiles.
    profiles: Vec<String>,
}

impl Plugins {
    /// Makes a plugin, or takes the one that was made from just this before.
    fn make(&mut self, plugin: &PluginConfig, before: &Origin) -> Result<()> {
        if let Blueprint::InFlight(load) = &plugin.blueprint {
            self.in_flight = Some(load.clone());
        }
        // A handler is made anew, since the deciders that it asks may be others.
        let kept = before.find(&plugin.name, plugin.type_name, &plugin.parameters).cloned();
        let kept = kept.filter(|kept| kept.handler.is_none());
        let Self { deciders, profiles, .. } = &*self;
        let around = Around { name: &plugin.name, index: before.index.as_ref(), deciders, profiles };
        let Some(instance) = kept.map_or_else(|| instance(plugin, &around), |kept| Ok(Some(kept)))? else {
            return Ok(());
        };
        let name = plugin.name.clone();
        self.deciders.extend(instance.decider.clone().map(|decider| (name.clone(), decider)));
        if let Some(handler) = &instance.handler {
            self.handlers.push((name.clone(), Arc::clone(handler)));
        }
        let parameters = plugin.parameters.clone();
        self.made.push(Made {
            name: name.clone(),
            type_name: plugin.type_name,
            parameters,
            instance: instance.clone(),
        });
        self.instances.push((name, instance));
        Ok(())
    }

    /// Takes a producer that whoever builds the scheduler gives.
    fn add_given(&mut self, (name, producer): &Named<dyn Producer>) {
        let instance = Instance { producer: Some(Arc::clone(producer)), ..Instance::default() };
        self.instances.push((name.clone(), instance));
    }

    /// Refuses what may be refused while this detector, which need not be configured, says that everybody is full.
    fn admit_by(&mut self, detector: &str, before: &Origin) -> Result<()> {
        if self.find(detector).is_none() {
            self.make(&PluginConfig::default_of(detector), before)?;
        }
        let detector = self.find(detector).and_then(|instance| instance.detector.clone());
        let admitter = detector.map(|detector| Arc::new(SaturationAdmitter::new(detector)) as _);
        self.instances.push((SATURATION.to_owned(), Instance { admitter, ..Instance::default() }));
        Ok(())
    }

    fn find(&self, name: &str) -> Option<&Instance> {
        self.instances.iter().find(|(known, _)| known == name).map(|(_, instance)| instance)
    }

    fn profile(&self, config: &ProfileConfig) -> Profile {
        let picker = |plugin: &PluginRef| Some((plugin.name.clone(), self.find(&plugin.name)?.picker.clone()?));
        let mut pickers = config.plugins.iter().filter_map(picker);
        let (name, picker) = pickers.next().expect("every profile has been given a picker");
        let profile = Profile::new(config.name.clone(), name, picker);
        config.plugins.iter().fold(profile, |mut profile, plugin| {
            let Some(instance) = self.find(&plugin.name) else { return profile };
            if let Some(filter) = &instance.filter {
                profile = profile.filter(plugin.name.clone(), Arc::clone(filter));
            }
            match &instance.scorer {
                Some(scorer) => profile.scorer(plugin.name.clone(), plugin.weight, Arc::clone(scorer)),
                None => profile,
            }
        })
    }

    /// Adds the default producers of what is read and not made.
    fn add_missing(
        &mut self,
        profiles: &[Profile],
        handler: &Named<dyn ProfileHandler>,
        config: &EndpointPickerConfig,
        before: &Origin,
        added: &mut Vec<String>,
    ) -> Result<()> {
        let reads = self.reads(profiles, handler);
        let reader =
            |wanted: &dyn Fn(&Data) -> bool| reads.iter().find(|(_, data)| wanted(data)).map(|(name, _)| name.clone());
        for DefaultProducer { name, makes } in DEFAULT_PRODUCERS {
            if self.find(name).is_some() {
                continue;
            }
            let any = |data: &Data| {
                *data == Data::AnyPrefixMatch && *name == DEFAULT_PREFIX_PRODUCER && !self.makes_prefix_matches()
            };
            if let Some(reader) = reader(&|data| any(data) || *data == makes((*name).to_owned())) {
                self.make(&PluginConfig::default_of(name), before)?;
                added.push(format!("{name}, since {reader} reads what it makes"));
            }
        }
        let load = reader(&|data| matches!(data, Data::InFlightRequests | Data::InFlightTokens));
        if let Some(reader) = load.filter(|_| self.in_flight.is_none()) {
            added.push(format!("inflight-load-producer, since {reader} reads what it makes"));
        }
        let tokens = reader(&|data| {
            matches!(
                data,
                Data::AnyPrefixMatch
                    | Data::EncoderMatch(_)
                    | Data::InFlightTokens
                    | Data::PrefixMatch(_)
                    | Data::Tokens
            )
        });
        let named = config.plugins.iter().any(|plugin| matches!(plugin.blueprint, Blueprint::Tokens(_)));
        if let Some(reader) = tokens.filter(|_| !named) {
            added.push(format!("token-producer, which estimates, since {reader} reads what it makes"));
        }
        Ok(())
    }

    fn makes_prefix_matches(&self) -> bool {
        let mut producers = self.instances.iter().filter_map(|(_, instance)| instance.producer.as_ref());
        producers.any(|producer| matches!(producer.makes(), Data::PrefixMatch(_)))
    }

    /// What each plugin reads, those of profiles first.
    fn reads(&self, profiles: &[Profile], handler: &Named<dyn ProfileHandler>) -> Vec<(String, Data)> {
        let standing =
            profiles.iter().flat_map(Profile::plugins).map(|(name, plugin)| (name.to_owned(), plugin.reads()));
        let handler = (handler.0.clone(), handler.1.reads());
        let others = self.instances.iter().flat_map(|(name, instance)| {
            let plugins = [
                instance.producer.clone().map(|plugin| plugin as Arc<dyn Plugin>),
                instance.admitter.clone().map(|plugin| plugin as _),
                instance.screener.clone().map(|plugin| plugin as _),
                instance.observer.clone(),
            ];
            plugins.into_iter().flatten().map(|plugin| (name.clone(), plugin.reads()))
        });
        let load = self.in_flight.as_ref().and_then(InFlightLoad::prefix_producer);
        let load = load.map(|name| ("inflight-load-producer".to_owned(), vec![Data::PrefixMatch(name.clone())]));
        let all = standing.chain([handler]).chain(others).chain(load);
        all.flat_map(|(name, data)| data.into_iter().map(move |data| (name.clone(), data))).collect()
    }

    fn components(self, profiles: Vec<Profile>, handler: Named<dyn ProfileHandler>) -> Components {
        let (name, handler) = handler;
        let mut components = profiles.into_iter().fold(Components::new(name, handler), Components::profile);
        for (name, instance) in self.instances {
            if let Some(processor) = instance.header_processor {
                components = components.header_processor(name.clone(), processor);
            }
            if let Some(producer) = instance.producer {
                components = components.producer(name.clone(), producer);
            }
            if let Some(screener) = instance.screener {
                components = components.screener(name.clone(), screener);
            }
            if let Some(admitter) = instance.admitter {
                components = components.admitter(name.clone(), admitter);
            }
            if let Some(observer) = instance.observer {
                components = components.observer(name, observer);
            }
        }
        components.in_flight(self.in_flight.unwrap_or_default())
    }
}

/// A producer that is added when somebody reads what it makes, under the name of its type.
struct DefaultProducer {
    name: &'static str,
    makes: fn(String) -> Data,
}

static DEFAULT_PRODUCERS: &[DefaultProducer] = &[
    DefaultProducer { name: DEFAULT_ENCODER_PRODUCER, makes: Data::EncoderMatch },
    DefaultProducer { name: DEFAULT_PREFIX_PRODUCER, makes: Data::PrefixMatch },
];

/// A new plugin; none of what says nothing that is not so anyway.
fn instance(plugin: &PluginConfig, around: &Around<'_>) -> Result<Option<Instance>> {
    match &plugin.blueprint {
        Blueprint::InFlight(_) | Blueprint::Nothing | Blueprint::Shell(_) | Blueprint::Tokens(_) => Ok(None),
        Blueprint::Plugin(_, make) => make(around).map(Some),
        Blueprint::Precise(precise) => {
            let producer = Some(precise_producer(around, precise));
            Ok(Some(Instance { producer, ..Instance::default() }))
        }
        Blueprint::PreciseScorer(precise) => {
            let producer = Some(precise_producer(around, precise));
            let scorer: Arc<dyn Scorer> = Arc::new(PrefixCacheScorer::new(around.name));
            Ok(Some(Instance { producer, scorer: Some(scorer), ..Instance::default() }))
        }
    }
}

fn precise_producer(around: &Around<'_>, precise: &Precise) -> Arc<dyn Producer> {
    let index = around.index.expect("who asks an index has one");
    let mut producer = PrecisePrefixCache::new(around.name, Arc::clone(index)).with_weights(precise.weights);
    if precise.measured {
        producer = producer.with_measured_weights();
    }
    Arc::new(match precise.speculative_ttl {
        Some(ttl) => producer.with_speculation(ttl),
        None => producer,
    })
}
