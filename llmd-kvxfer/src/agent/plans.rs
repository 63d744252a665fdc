//! Plans that were made once are used again.

use std::collections::HashMap;
use std::sync::Arc;

use llmd_core::Result;

use crate::grant::Grant;
use crate::layout::KvLayout;
use crate::plan::Plan;
use crate::pool::Pool;

/// Plans between layouts of grants and pools of ours.
#[derive(Debug, Default)]
pub(super) struct Plans {
    known: HashMap<u32, Vec<(KvLayout, Arc<Plan>)>>,
    count: usize,
}

/// How many are remembered: a pool for each cache group, and a layout for each kind of peer.
const MOST: usize = 1024;

impl Plans {
    pub(super) fn plan(&mut self, grant: &Grant, pool: &Pool) -> Result<Arc<Plan>> {
        if let Some(known) = self.known.get(&pool.id())
            && let Some((_, plan)) = known.iter().find(|(layout, _)| layout == grant.layout())
        {
            return Ok(Arc::clone(plan));
        }
        if self.count >= MOST {
            *self = Self::default();
        }
        let plan = Arc::new(Plan::new(grant.layout(), pool.layout())?);
        self.known.entry(pool.id()).or_default().push((grant.layout().clone(), Arc::clone(&plan)));
        self.count += 1;
        Ok(plan)
    }
}
