//! One model's scheduler, with the index that it asks and the event streams that feed it.

use std::sync::Arc;

use llmd_core::Result;
use llmd_core::index::{ExactIndex, ExactReader, IndexSettings};
use llmd_routing::Scheduler;

use crate::clock::Clock;
use crate::events::{EventSettings, Subscriptions};
use crate::plan::Plan;

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
    pub(super) fn new(name: String, plan: &Plan, clock: &Clock) -> Result<Self> {
        if !plan.needs().events {
            return Ok(Self { name, scheduler: plan.scheduler(None)?, events: None });
        }
        let settings = IndexSettings::default().with_block_size(plan.block_size());
        let (writer, index) = ExactIndex::new(settings);
        let scheduler = plan.scheduler(Some(Arc::new(index.clone())))?;
        let subscriptions = Subscriptions::start(EventSettings::default(), writer, clock.clone());
        Ok(Self { name, scheduler, events: Some(Events { index, subscriptions }) })
    }

    /// The model.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}
