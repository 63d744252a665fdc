//! What is done when something in here panicked.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Core, machines};
use crate::agent::OpId;
use crate::engine::message::Notice;
use crate::session::RequestId;

/// What is still under way when the machines that wanted it are gone.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) ops: HashMap<OpId, RequestId>,
    /// Which lease was whose, only the machine knew: all that was lent ends with the last of them.
    pub(super) leases: BTreeSet<u64>,
    pub(super) lent: BTreeMap<RequestId, u64>,
}

impl Core {
    /// Something in here panicked: nobody knows what the machines hold, so they are made anew, and all that was under way is given up.
    /// It is told as soon as the agent reads and writes nothing of it any more.
    pub(in crate::engine::worker) fn recover(&mut self) {
        self.stats.panics += 1;
        if let Ok((prefill, decode)) = machines(&self.agent, self.boot, &self.settings) {
            (self.prefill, self.decode) = (prefill, decode);
        }
        self.kept.clear();
        self.fetches.clear();
        self.asked.clear();
        for (op, running) in std::mem::take(&mut self.ops) {
            // In a forked child nothing of this runs.
            let _cancelled = self.agent.cancel(op);
            self.left.ops.insert(op, running.request);
        }
        for id in self.loads.keys().cloned().collect::<Vec<_>>() {
            self.settle_load(&id);
        }
        for (number, lease) in std::mem::take(&mut self.leases) {
            if self.agent.release(lease).unwrap_or(false) {
                self.left.leases.insert(number);
            }
        }
        self.left.lent.append(&mut self.lent);
        self.settle_lent();
    }

    /// Tells of a load that was left behind, when nothing writes into it any more.
    pub(super) fn settle_load(&mut self, id: &RequestId) {
        if self.left.ops.values().any(|left| left == id) {
            return;
        }
        let failed = self.all_blocks(id);
        self.end_load(id, failed);
    }

    /// Tells of all that was lent and left behind, when nobody reads any of it any more.
    pub(super) fn settle_lent(&mut self) {
        if !self.left.leases.is_empty() {
            return;
        }
        for (id, number) in std::mem::take(&mut self.left.lent) {
            self.notices.push(Notice::Ended { number, is_waiting: false });
            self.done.sent.push(id);
        }
    }
}
