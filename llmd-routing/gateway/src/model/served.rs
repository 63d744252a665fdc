//! One model's scheduler, with the index that it asks and the event streams that feed it.

use llmd_core::Result;
use llmd_core::index::{ExactIndex, ExactReader};
use llmd_routing::Scheduler;

use super::directory::Surroundings;
use crate::events::Subscriptions;

/// One model's scheduler, with the index that it asks and the event streams that feed it.
#[derive(Debug)]
pub(crate) struct Served {
    name: String,
    pub(crate) scheduler: Scheduler,
    pub(crate) events: Option<Events>,
}

/// What is known from KV events.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) index: ExactReader,
    pub(crate) subscriptions: Subscriptions,
}

impl Served {
    /// A scheduler as the plan says, with an index of its own when the plan needs events.
    pub(super) fn new(name: String, around: &Surroundings, engine_block_size: Option<usize>) -> Result<Self> {
        let Surroundings { plan, settings, clock, .. } = around;
        let (writer, index) = ExactIndex::new(plan.index_settings(engine_block_size));
        let scheduler = plan.scheduler(index.clone())?;
        if !plan.needs().events {
            return Ok(Self { name, scheduler, events: None });
        }
        let subscriptions = Subscriptions::start(settings.events.clone(), writer, clock.clone());
        Ok(Self { name, scheduler, events: Some(Events { index, subscriptions }) })
    }

    /// The model.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}
