//! What a scheduler was made with, so that another configuration can take its place and lose nothing.

use std::sync::Arc;

use llmd_core::index::PrefixIndex;

use crate::plugin::{
    Admitter, Decider, Detector, Filter, HeaderProcessor, Picker, Plugin, Producer, ProfileHandler, Scorer, Screener,
};

/// What a scheduler was made with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) index: Option<Arc<dyn PrefixIndex>>,
    pub(crate) experimental: bool,
    /// Producers that came from outside of the configuration.
    pub(crate) producers: Vec<(String, Arc<dyn Producer>)>,
    pub(crate) made: Vec<Made>,
}

/// One plugin, and what it was made from.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) name: String,
    pub(crate) type_name: &'static str,
    /// Its parameters, written in one way.
    pub(crate) parameters: String,
    pub(crate) instance: Instance,
}

/// A plugin, by what it is asked: one thing or several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Instance {
    pub(crate) admitter: Option<Arc<dyn Admitter>>,
    pub(crate) decider: Option<Arc<dyn Decider>>,
    pub(crate) detector: Option<Arc<dyn Detector>>,
    pub(crate) filter: Option<Arc<dyn Filter>>,
    pub(crate) handler: Option<Arc<dyn ProfileHandler>>,
    pub(crate) header_processor: Option<Arc<dyn HeaderProcessor>>,
    pub(crate) observer: Option<Arc<dyn Plugin>>,
    pub(crate) picker: Option<Arc<dyn Picker>>,
    pub(crate) producer: Option<Arc<dyn Producer>>,
    pub(crate) scorer: Option<Arc<dyn Scorer>>,
    pub(crate) screener: Option<Arc<dyn Screener>>,
}

impl Origin {
    /// The plugin that is called so and was made from just this.
    pub(crate) fn find(&self, name: &str, type_name: &str, parameters: &str) -> Option<&Instance> {
        let same = |made: &&Made| made.name == name && made.type_name == type_name && made.parameters == parameters;
        self.made.iter().find(same).map(|made| &made.instance)
    }
}
