//! How to make a plugin: what the reading of its parameters comes to.

use std::fmt;
use std::sync::Arc;

use llmd_core::Result;
use llmd_core::index::PrefixIndex;

use super::kv_events::Precise;
use super::shell::Shell;
use super::tokens::TokenProducer;
use crate::plugin::{
    Admitter, Decider, Detector, Filter, HeaderProcessor, Picker, Plugin, Producer, ProfileHandler, Scorer, Screener,
};
use crate::producer::InFlightLoad;
use crate::scheduler::Instance;

/// How to make a plugin, its parameters read: each scheduler makes its own.
#[derive(Clone)]
pub(super) enum Blueprint {
    InFlight(InFlightLoad),
    /// It is taken, and says nothing that is not so anyway.
    Nothing,
    Plugin(&'static [Part], Make),
    Precise(Box<Precise>),
    /// A scorer that brings a producer of its own: what llm-d had before it told the two apart.
    PreciseScorer(Box<Precise>),
    /// It is for the shell to do.
    Shell(Shell),
    Tokens(TokenProducer),
}

/// What a plugin is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    Admitter,
    Decider,
    Filter,
    Handler,
    HeaderProcessor,
    Observer,
    Picker,
    /// A producer of prefix matches, which others read by its name.
    PrefixProducer,
    Producer,
    Scorer,
    Screener,
}

pub(super) type Make = Arc<dyn Fn(&Around<'_>) -> Result<Instance> + Send + Sync>;

/// What a plugin is made with, besides its parameters.
pub(super) struct Around<'a> {
    /// What it is called.
    pub(super) name: &'a str,
    /// The index of KV events.
    pub(super) index: Option<&'a Arc<dyn PrefixIndex>>,
    /// The deciders of the configuration, by name.
    pub(super) deciders: &'a [(String, Arc<dyn Decider>)],
    /// The names of the profiles.
    pub(super) profiles: &'a [String],
}

impl Around<'_> {
    /// The decider of this name.
    pub(super) fn decider(&self, name: &str) -> Option<Arc<dyn Decider>> {
        self.deciders.iter().find(|(known, _)| known == name).map(|(_, decider)| Arc::clone(decider))
    }
}

impl Blueprint {
    /// Whether the plugin is asked this.
    pub(super) fn is(&self, part: Part) -> bool {
        match self {
            Self::InFlight(_) | Self::Nothing | Self::Shell(_) | Self::Tokens(_) => false,
            Self::Plugin(parts, _) => parts.contains(&part),
            Self::Precise(_) => part == Part::PrefixProducer,
            Self::PreciseScorer(_) => matches!(part, Part::PrefixProducer | Part::Scorer),
        }
    }

    /// Whether the plugin may stand in a profile.
    pub(super) fn stands_in_profiles(&self) -> bool {
        [Part::Filter, Part::Scorer, Part::Picker].into_iter().any(|part| self.is(part))
    }

    pub(super) fn admitter<P: Admitter + 'static>(make: impl Fn() -> P + Send + Sync + 'static) -> Self {
        let make = move |_: &Around<'_>| Ok(Instance { admitter: Some(Arc::new(make())), ..Instance::default() });
        Self::Plugin(&[Part::Admitter], Arc::new(make))
    }

    pub(super) fn decider<P: Decider + 'static>(make: impl Fn() -> P + Send + Sync + 'static) -> Self {
        let make = move |_: &Around<'_>| Ok(Instance { decider: Some(Arc::new(make())), ..Instance::default() });
        Self::Plugin(&[Part::Decider], Arc::new(make))
    }

    /// A filter that also says how full a pool is.
    pub(super) fn detector<P>(make: impl Fn() -> P + Send + Sync + 'static) -> Self
    where
        P: Detector + Filter + 'static,
    {
        let make = move |_: &Around<'_>| {
            let plugin = Arc::new(make());
            let (filter, detector) = (Arc::clone(&plugin) as Arc<dyn Filter>, plugin as Arc<dyn Detector>);
            Ok(Instance { filter: Some(filter), detector: Some(detector), ..Instance::default() })
        };
        Self::Plugin(&[Part::Filter], Arc::new(make))
    }

    pub(super) fn filter<P: Filter + 'static>(make: impl Fn() -> P + Send + Sync + 'static) -> Self {
        let make = move |_: &Around<'_>| Ok(Instance { filter: Some(Arc::new(make())), ..Instance::default() });
        Self::Plugin(&[Part::Filter], Arc::new(make))
    }

    /// A plugin that is a filter and a scorer at once.
    pub(super) fn filter_and_scorer<P>(make: impl Fn() -> P + Send + Sync + 'static) -> Self
    where
        P: Filter + Scorer + 'static,
    {
        let make = move |_: &Around<'_>| {
            let plugin = Arc::new(make());
            let (filter, scorer) = (Arc::clone(&plugin) as Arc<dyn Filter>, plugin as Arc<dyn Scorer>);
            Ok(Instance { filter: Some(filter), scorer: Some(scorer), ..Instance::default() })
        };
        Self::Plugin(&[Part::Filter, Part::Scorer], Arc::new(make))
    }

    pub(super) fn handler<P>(make: impl Fn(&Around<'_>) -> Result<P> + Send + Sync + 'static) -> Self
    where
        P: ProfileHandler + 'static,
    {
        let make =
            move |around: &Around<'_>| Ok(Instance { handler: Some(Arc::new(make(around)?)), ..Instance::default() });
        Self::Plugin(&[Part::Handler], Arc::new(make))
    }

    pub(super) fn header_processor<P: HeaderProcessor + 'static>(make: impl Fn() -> P + Send + Sync + 'static) -> Self {
        let make =
            move |_: &Around<'_>| Ok(Instance { header_processor: Some(Arc::new(make())), ..Instance::default() });
        Self::Plugin(&[Part::HeaderProcessor], Arc::new(make))
    }

    /// A plugin that only follows requests.
    pub(super) fn observer<P: Plugin + 'static>(make: impl Fn() -> P + Send + Sync + 'static) -> Self {
        let make = move |_: &Around<'_>| Ok(Instance { observer: Some(Arc::new(make())), ..Instance::default() });
        Self::Plugin(&[Part::Observer], Arc::new(make))
    }

    pub(super) fn picker<P: Picker + 'static>(make: impl Fn() -> P + Send + Sync + 'static) -> Self {
        let make = move |_: &Around<'_>| Ok(Instance { picker: Some(Arc::new(make())), ..Instance::default() });
        Self::Plugin(&[Part::Picker], Arc::new(make))
    }

    /// A producer of prefix matches, made for its name.
    pub(super) fn prefix_producer<P: Producer + 'static>(make: impl Fn(&str) -> P + Send + Sync + 'static) -> Self {
        Self::Plugin(&[Part::PrefixProducer], Arc::new(move |around| Ok(produces(make(around.name)))))
    }

    /// A producer of something else, made for its name.
    pub(super) fn producer<P: Producer + 'static>(make: impl Fn(&str) -> P + Send + Sync + 'static) -> Self {
        Self::Plugin(&[Part::Producer], Arc::new(move |around| Ok(produces(make(around.name)))))
    }

    pub(super) fn scorer<P: Scorer + 'static>(make: impl Fn() -> P + Send + Sync + 'static) -> Self {
        let make = move |_: &Around<'_>| Ok(Instance { scorer: Some(Arc::new(make())), ..Instance::default() });
        Self::Plugin(&[Part::Scorer], Arc::new(make))
    }

    pub(super) fn screener<P: Screener + 'static>(make: impl Fn() -> P + Send + Sync + 'static) -> Self {
        let make = move |_: &Around<'_>| Ok(Instance { screener: Some(Arc::new(make())), ..Instance::default() });
        Self::Plugin(&[Part::Screener], Arc::new(make))
    }
}

fn produces(producer: impl Producer + 'static) -> Instance {
    Instance { producer: Some(Arc::new(producer)), ..Instance::default() }
}

impl fmt::Debug for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFlight(load) => f.debug_tuple("InFlight").field(load).finish(),
            Self::Nothing => f.write_str("Nothing"),
            Self::Shell(shell) => write!(f, "{shell:?}"),
            Self::Plugin(parts, _) => f.debug_tuple("Plugin").field(parts).finish_non_exhaustive(),
            Self::Precise(precise) => f.debug_tuple("Precise").field(precise).finish(),
            Self::PreciseScorer(precise) => f.debug_tuple("PreciseScorer").field(precise).finish(),
            Self::Tokens(tokens) => f.debug_tuple("Tokens").field(tokens).finish(),
        }
    }
}
