//! Which of a prefiller's ranks each of our workers needs.

use std::collections::HashMap;

use llmd_core::{Error, ErrorKind, GroupIdx, Result};

use super::worker::Layouts;
use crate::grant::Grant;
use crate::layout::KvLayout;
use crate::plan::Plan;
use crate::session::{Granted, Params, Part};

/// Which of a prefiller's ranks each of our workers needs, remembered by how caches lie.
#[derive(Debug, Default)]
pub(super) struct Shards {
    known: HashMap<(usize, GroupIdx, Vec<KvLayout>), Vec<usize>>,
}

/// How many pairs of engines are remembered.
const MOST: usize = 1024;

impl Shards {
    /// What each of these workers has to be told of an offer, in their order.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] and [`ErrorKind::Unsupported`] when the offer cannot be read, or is of caches that are not like ours.
    pub(super) fn divide(&mut self, params: &Params, workers: &[Layouts]) -> Result<Vec<Params>> {
        let mut layouts = HashMap::<GroupIdx, Vec<KvLayout>>::new();
        for Granted { part, grant, .. } in params.granted() {
            let grant = Grant::from_bytes(grant)?;
            layouts.entry(part.group).or_default().push(grant.layout().clone());
        }
        workers.iter().enumerate().map(|(worker, ours)| self.of(worker, params, &layouts, ours)).collect()
    }

    fn of(
        &mut self,
        worker: usize,
        params: &Params,
        theirs: &HashMap<GroupIdx, Vec<KvLayout>>,
        ours: &Layouts,
    ) -> Result<Params> {
        if theirs.len() != ours.len() {
            let message = format!("an offer of {} cache groups, expected {}", theirs.len(), ours.len());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let mut needed = Vec::new();
        for (group, layout) in ours {
            let Some(there) = theirs.get(group) else {
                return Err(Error::new(ErrorKind::Invalid, format!("an offer without cache group {}", group.0)));
            };
            for (shard, from) in self.needed(worker, *group, there, layout)?.into_iter().enumerate() {
                let part = Part { group: *group, shard: from as u32 };
                let granted = params.granted().iter().find(|granted| granted.part == part);
                let granted =
                    granted.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("an offer without {part}")))?;
                needed.push(Granted { part: Part { group: *group, shard: shard as u32 }, ..granted.clone() });
            }
        }
        needed.sort_by_key(|granted| granted.part);
        Params::new(params.tokens(), params.ttl(), needed)
    }

    fn needed(&mut self, worker: usize, group: GroupIdx, theirs: &[KvLayout], ours: &KvLayout) -> Result<Vec<usize>> {
        let key = (worker, group, theirs.to_vec());
        if let Some(needed) = self.known.get(&key) {
            return Ok(needed.clone());
        }
        let needed: Vec<usize> = Plan::cover(theirs, ours)?.into_iter().map(|(shard, _)| shard).collect();
        if self.known.len() >= MOST {
            self.known.clear();
        }
        self.known.insert(key, needed.clone());
        Ok(needed)
    }
}
