//! What was read of each endpoint for one decision.

use std::sync::Arc;

use crate::pool::Said;
use crate::{Endpoint, Load, Pool};

/// What was read of each endpoint for one decision, by place in the pool: the same for all plugins, and for the explanation
/// afterwards. What no plugin reads is not there.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(crate) said: Option<Arc<Said>>,
    pub(crate) loads: Vec<Load>,
}

impl Snapshot {
    /// All that there is to know of these endpoints.
    pub fn of(pool: &[Arc<Endpoint>]) -> Self {
        let mut snapshot = Self { said: Some(Arc::new(Said::of(pool))), ..Self::default() };
        snapshot.read_loads(pool);
        snapshot
    }

    /// Reads what each endpoint last said about itself.
    pub(crate) fn read_metrics(&mut self, pool: &Pool) {
        self.said = Some(pool.said());
    }

    /// Reads what was sent to each endpoint and has not ended.
    pub(crate) fn read_loads(&mut self, pool: &[Arc<Endpoint>]) {
        self.loads.clear();
        self.loads.extend(pool.iter().map(|endpoint| endpoint.in_flight().load()));
    }
}
