//! How to make a plugin: what the reading of its parameters comes to.

use std::fmt;
use std::sync::Arc;

use super::kv_events::Precise;
use super::tokens::TokenProducer;
use crate::plugin::{Filter, Picker, ProfileHandler, Scorer};
use crate::producer::{ApproxSettings, InFlightLoad};

/// How to make a plugin, its parameters read: each scheduler makes its own.
#[derive(Clone)]
pub(super) enum Blueprint {
    Approx(ApproxSettings),
    Filter(Maker<dyn Filter>),
    Handler(Maker<dyn ProfileHandler>),
    InFlight(InFlightLoad),
    /// It is taken, and says nothing that is not so anyway.
    Nothing,
    Picker(Maker<dyn Picker>),
    Precise(Box<Precise>),
    Scorer(Maker<dyn Scorer>),
    Tokens(TokenProducer),
}

pub(super) type Maker<T> = Arc<dyn Fn() -> Arc<T> + Send + Sync>;

impl fmt::Debug for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filter(_) => "Filter",
            Self::Handler(_) => "Handler",
            Self::Approx(_) | Self::InFlight(_) | Self::Precise(_) | Self::Tokens(_) => "Producer",
            Self::Nothing => "Nothing",
            Self::Picker(_) => "Picker",
            Self::Scorer(_) => "Scorer",
        })
    }
}
