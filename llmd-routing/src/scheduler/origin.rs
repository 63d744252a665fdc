//! What a scheduler was made with, so that another configuration can take its place and lose nothing.

use std::sync::Arc;

use llmd_core::index::PrefixIndex;

use crate::plugin::{Filter, Picker, Producer, ProfileHandler, Scorer};

/// What a scheduler was made with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) index: Option<Arc<dyn PrefixIndex>>,
    pub(crate) experimental: bool,
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

/// A plugin, by what it is asked.
#[derive(Clone, Debug)]
pub(crate) enum Instance {
    Filter(Arc<dyn Filter>),
    Handler(Arc<dyn ProfileHandler>),
    Picker(Arc<dyn Picker>),
    Producer(Arc<dyn Producer>),
    Scorer(Arc<dyn Scorer>),
}

impl Origin {
    /// The plugin that is called so and was made from just this.
    pub(crate) fn find(&self, name: &str, type_name: &str, parameters: &str) -> Option<&Instance> {
        let same = |made: &&Made| made.name == name && made.type_name == type_name && made.parameters == parameters;
        self.made.iter().find(same).map(|made| &made.instance)
    }
}
