//! What a scheduler knows of a request.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::outcome::Blocks;
use crate::session::RequestId;

/// What a scheduler knows of a request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) stage: Stage,
    /// Tokens of what others offer: where they end at the latest. `None` when nothing is offered.
    pub(super) offered: Option<u32>,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Others were told how to fetch it.
    Lent(Told),
    /// Blocks were allocated.
    Loading { told: Told, command: Arc<[u8]>, is_preempted: bool, is_waiting: bool },
    /// It waits for its turn.
    Waiting,
}

/// What workers were told, and which have not said that it ended.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) number: u64,
    pub(super) ended: Blocks,
    /// Whether the engine does not want it any more.
    pub(super) is_aborted: bool,
}

impl Told {
    pub(super) fn new(number: u64, workers: usize) -> Self {
        Self { number, ended: Blocks::none(workers), is_aborted: false }
    }
}

/// All requests that are known, by name and by number.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) requests: BTreeMap<RequestId, Request>,
    by_number: HashMap<u64, RequestId>,
    next: u64,
}

impl Known {
    /// A number that was never used.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// From now on this is what is known.
    pub(super) fn set(&mut self, id: &RequestId, request: Request) {
        self.forget(id);
        if let Stage::Lent(told) | Stage::Loading { told, .. } = &request.stage {
            self.by_number.insert(told.number, id.clone());
        }
        self.requests.insert(id.clone(), request);
    }

    pub(super) fn forget(&mut self, id: &RequestId) -> Option<Request> {
        let request = self.requests.remove(id)?;
        if let Stage::Lent(told) | Stage::Loading { told, .. } = &request.stage {
            self.by_number.remove(&told.number);
        }
        Some(request)
    }

    /// A worker says that this has ended.
    pub(super) fn ended(&mut self, worker: usize, number: u64, is_left: bool) {
        let Some(id) = self.by_number.get(&number).cloned() else { return };
        let Some(request) = self.requests.get_mut(&id) else { return };
        match &mut request.stage {
            Stage::Lent(told) => {
                told.ended.set(worker);
                if told.ended.is_all() {
                    self.forget(&id);
                }
            }
            Stage::Loading { told, is_waiting, .. } => {
                told.ended.set(worker);
                *is_waiting &= is_left;
                if !told.ended.is_all() {
                    return;
                }
                let may_ask_again = *is_waiting && !told.is_aborted;
                let request = self.forget(&id);
                if let Some(request) = request.filter(|_| may_ask_again) {
                    self.set(&id, Request { stage: Stage::Waiting, ..request });
                }
            }
            Stage::Waiting => {}
        }
    }
}
