//! What a scheduler is made from.

use std::sync::Arc;

use crate::plugin::{Admitter, HeaderProcessor, Plugin, Producer, ProfileHandler, Screener};
use crate::producer::InFlightLoad;
use crate::profile::Profile;

/// A plugin under its name.
pub(super) type Named<P> = (String, Arc<P>);

/// What a scheduler is made from: see [`Scheduler::new`](crate::Scheduler::new). Each plugin has a name, by which explanations know it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Components {
    pub(super) profiles: Vec<Profile>,
    pub(super) handler: Named<dyn ProfileHandler>,
    pub(super) header_processors: Vec<Named<dyn HeaderProcessor>>,
    pub(super) producers: Vec<Named<dyn Producer>>,
    pub(super) screeners: Vec<Named<dyn Screener>>,
    pub(super) admitters: Vec<Named<dyn Admitter>>,
    pub(super) observers: Vec<Named<dyn Plugin>>,
    pub(super) in_flight: InFlightLoad,
}

impl Components {
    /// No profile yet, and this handler.
    pub fn new(name: impl Into<String>, handler: Arc<dyn ProfileHandler>) -> Self {
        Self {
            profiles: Vec::new(),
            handler: (name.into(), handler),
            header_processors: Vec::new(),
            producers: Vec::new(),
            screeners: Vec::new(),
            admitters: Vec::new(),
            observers: Vec::new(),
            in_flight: InFlightLoad::default(),
        }
    }

    /// The same, with this profile after those before it.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profiles.push(profile);
        self
    }

    /// The same, with somebody who looks at the headers of each request first.
    pub fn header_processor(mut self, name: impl Into<String>, processor: Arc<dyn HeaderProcessor>) -> Self {
        self.header_processors.push((name.into(), processor));
        self
    }

    /// The same, with this producer. It does not run when nobody reads what it makes.
    pub fn producer(mut self, name: impl Into<String>, producer: Arc<dyn Producer>) -> Self {
        self.producers.push((name.into(), producer));
        self
    }

    /// The same, with this screener.
    pub fn screener(mut self, name: impl Into<String>, screener: Arc<dyn Screener>) -> Self {
        self.screeners.push((name.into(), screener));
        self
    }

    /// The same, with this admitter after those before it.
    pub fn admitter(mut self, name: impl Into<String>, admitter: Arc<dyn Admitter>) -> Self {
        self.admitters.push((name.into(), admitter));
        self
    }

    /// The same, with a plugin that only follows requests.
    pub fn observer(mut self, name: impl Into<String>, observer: Arc<dyn Plugin>) -> Self {
        self.observers.push((name.into(), observer));
        self
    }

    /// The same, counting requests and uncached tokens in flight so.
    pub fn in_flight(self, in_flight: InFlightLoad) -> Self {
        Self { in_flight, ..self }
    }
}
