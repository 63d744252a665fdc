//! Which endpoint: producers, then profiles under one small lock, then a decision that holds its place.

mod decision;
mod describe;
mod explain;
mod origin;
mod parts;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use llmd_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use rand::Rng;

pub use decision::Decision;
use decision::Stage;
pub use describe::Description;
pub use explain::{EndpointExplanation, Explanation, Fate, ProfileExplanation, Turn};
pub(crate) use origin::{Instance, Made, Origin};

use crate::plugin::{Context, Producer, ProfileHandler};
use crate::producer::InFlightLoad;
use crate::profile::Profile;
use crate::{Needs, Pool, Request};
use parts::Parts;

/// Chooses endpoints for the requests of one pool.
///
/// A decision is made in three steps: producers find out what the plugins read; profiles filter, score and pick; the
/// chosen endpoint's counters move. The last two happen under one lock, so that of two requests that arrive at once the
/// second sees the first: a burst spreads. Plugins must not call back into their scheduler.
#[derive(Debug)]
pub struct Scheduler {
    parts: ArcSwap<Parts>,
    turn: Mutex<()>,
    /// Held by whoever puts other parts in the place of these.
    renewal: Mutex<()>,
}

impl Scheduler {
    /// A scheduler of these profiles, run as `handler` says, with what `producers` make. Requests and uncached tokens in
    /// flight are counted as `in_flight` says. A producer of what nobody reads does not run.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when there is no profile, when two have one name, or when a plugin reads from a producer that
    /// is not there.
    pub fn new(
        profiles: Vec<Profile>,
        handler: (String, Arc<dyn ProfileHandler>),
        producers: Vec<(String, Arc<dyn Producer>)>,
        in_flight: InFlightLoad,
    ) -> Result<Self> {
        let parts = Parts::new(profiles, handler, producers, in_flight)?;
        Ok(Self::of(parts))
    }

    fn of(parts: Parts) -> Self {
        Self { parts: ArcSwap::from_pointee(parts), turn: Mutex::new(()), renewal: Mutex::new(()) }
    }

    /// A scheduler of a configuration: what was added to what it says, and what it was made with.
    pub(crate) fn configured(
        profiles: Vec<Profile>,
        handler: (String, Arc<dyn ProfileHandler>),
        producers: Vec<(String, Arc<dyn Producer>)>,
        in_flight: InFlightLoad,
        added: Vec<String>,
        origin: Origin,
    ) -> Result<Self> {
        let parts = Parts::new(profiles, handler, producers, in_flight)?;
        Ok(Self::of(Parts { added, origin, ..parts }))
    }

    /// Puts the parts of another scheduler in the place of its own: `make` gets what these were made with.
    pub(crate) fn renew(&self, make: impl FnOnce(&Origin) -> Result<Self>) -> Result<()> {
        let _renewal = self.renewal.lock();
        let made = make(&self.parts.load().origin)?;
        self.parts.store(made.parts.into_inner());
        Ok(())
    }

    /// What it must be given.
    pub fn needs(&self) -> Needs {
        self.parts.load().needs
    }

    /// What it is made of, what was added by default included.
    pub fn describe(&self) -> Description {
        Description::of(&self.parts.load())
    }

    /// How many things each plugin has dropped so far because a limit of its own was reached, by the plugin's name.
    pub fn dropped(&self) -> Vec<(String, u64)> {
        self.parts.load().plugins.iter().map(|(name, plugin)| (name.clone(), plugin.dropped())).collect()
    }

    /// Chooses an endpoint of `pool`, and reserves a place there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the pool is empty; [`ErrorKind::Exhausted`] when a filter, which is named, left
    /// nobody; [`ErrorKind::Internal`] when a plugin breaks its contract.
    pub fn decide(&self, request: &Request, pool: &Pool, now: Duration, rng: &mut impl Rng) -> Result<Decision> {
        if pool.is_empty() {
            return Err(Error::new(ErrorKind::Unavailable, format!("no endpoint serves model {}", request.model)));
        }
        let parts = self.parts.load_full();
        let (attributes, mut hooks) = parts.produce(request, pool, now);
        let metrics = parts.metrics(pool);
        let mut cx = Context::new(request, &attributes, now, rng);

        let turn = self.turn.lock();
        let (mut runs, primary) = parts.run(&mut cx, pool, &metrics)?;
        let reservations = parts.reserve(request, pool, &attributes, &runs);
        drop(turn);

        runs.iter_mut().for_each(|run| run.complete(rng));
        hooks.extend(parts.plugins.iter().filter_map(|(_, plugin)| plugin.follow(request)));
        let mut decision = Decision {
            parts,
            pool: pool.clone(),
            attributes,
            runs,
            primary,
            tried: 0,
            reservations,
            hooks,
            max_output_tokens: request.max_output_tokens,
            stage: Stage::Sent,
        };
        decision.tell_picked(now);
        Ok(decision)
    }
}
