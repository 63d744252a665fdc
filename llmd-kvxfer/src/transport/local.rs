//! Between agents of one process.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;

use super::job::{self, Inbox, Job, Memory, Source};
use super::{Check, Cost, Ending, Home, Note, Transfer, TransferId, Transport, Trust};
use crate::grant::{AgentId, Grant};
use crate::plan::Plan;
use crate::pool::Pool;

/// Between agents of one process that were given clones of the same one. Each read is checked by the side that granted it.
#[derive(Debug, Default)]
pub struct Local {
    homes: Arc<Mutex<HashMap<AgentId, Weak<Home>>>>,
    started: Option<Started>,
}

#[derive(Debug)]
struct Started {
    home: Arc<Home>,
    inbox: Arc<Inbox>,
    jobs: HashMap<TransferId, Arc<dyn Job>>,
    own_plans: HashMap<(AgentId, u32), Arc<Plan>>,
}

/// Clones find each other.
impl Clone for Local {
    fn clone(&self) -> Self {
        Self { homes: Arc::clone(&self.homes), started: None }
    }
}

impl Local {
    fn home_of(&self, agent: AgentId) -> Result<Arc<Home>> {
        let home = self.homes.lock().get(&agent).and_then(Weak::upgrade);
        home.ok_or_else(|| Error::new(ErrorKind::Unavailable, format!("agent {agent} is not in this process")))
    }

    fn started(&mut self) -> Result<&mut Started> {
        self.started.as_mut().ok_or_else(not_started)
    }
}

pub(super) fn not_started() -> Error {
    Error::new(ErrorKind::Invalid, "a transport that no agent has started, expected one that was given to an agent")
}

impl Transport for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn trust(&self) -> Trust {
        Trust::Enforcing
    }

    fn start(&mut self, home: &Arc<Home>) -> Result<()> {
        self.homes.lock().insert(home.agent(), Arc::downgrade(home));
        let home = Arc::clone(home);
        let (inbox, jobs, own_plans) = (Inbox::new(), HashMap::new(), HashMap::new());
        self.started = Some(Started { home, inbox, jobs, own_plans });
        Ok(())
    }

    fn address(&self) -> Option<String> {
        None
    }

    fn register(&mut self, _pool: &Pool) -> Result<()> {
        Ok(())
    }

    fn unregister(&mut self, _pool: &Pool) {}

    fn reach(&self, grant: &Grant, _pool: &Pool) -> Result<Cost> {
        self.home_of(grant.agent()).map(|_| Cost::new(Duration::from_nanos(500), 10e9))
    }

    fn post(&mut self, _now: Duration, transfer: Transfer) -> Result<Option<Ending>> {
        let grant = &transfer.grant;
        let from = self.home_of(grant.agent())?;
        let started = self.started()?;
        let tenant = transfer.pool.tenant();
        let reading = match from.admit(tenant, grant.lease(), grant.capability(), grant.places()) {
            Ok(reading) => reading,
            Err(error) => return Ok(Some(refused(&transfer, &error))),
        };
        if reading.pool.layout() != grant.layout() {
            let message = format!("the grant lays pool {} out as it is not", grant.pool());
            return Ok(Some(refused(&transfer, &Error::new(ErrorKind::Denied, message))));
        }
        let is_checked = transfer.is_checked && from.check != Check::Off;
        let mut own = || {
            let own_plans = &mut started.own_plans;
            let own = own_plans.entry((from.agent(), reading.pool.id()));
            Arc::clone(own.or_insert_with(|| Arc::new(reading.pool.own_plan().clone())))
        };
        let source = Source {
            check: is_checked.then(|| (own(), Arc::clone(reading.pool.seals()) as _)),
            memory: Memory::of(&reading.pool),
            way: None,
            blocks: reading.blocks,
            places: reading.places,
            standing: Arc::new(from.board.clone()),
        };
        let id = transfer.id;
        let (ending, job) = job::begin(&started.home, &started.inbox, transfer, source)?;
        started.jobs.extend(job.map(|job| (id, job)));
        Ok(ending)
    }

    fn cancel(&mut self, transfer: TransferId) {
        if let Some(job) = self.started.as_ref().and_then(|started| started.jobs.get(&transfer)) {
            job.cancel();
        }
    }

    fn tell(&mut self, _now: Duration, grant: &Grant, note: Note) -> Result<()> {
        self.home_of(grant.agent())?.note(note)
    }

    fn poll(&mut self, _now: Duration, ended: &mut Vec<Ending>) -> bool {
        let Some(started) = &mut self.started else { return false };
        let known = ended.len();
        let is_any = started.inbox.take(ended);
        for ending in &ended[known..] {
            started.jobs.remove(&ending.id);
        }
        is_any
    }

    fn sleep(&mut self) -> bool {
        self.started.as_ref().is_none_or(|started| started.inbox.is_empty())
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Some(started) = &self.started {
            self.homes.lock().remove(&started.home.agent());
        }
    }
}

/// A read that the side that serves refused.
pub(super) fn refused(transfer: &Transfer, error: &Error) -> Ending {
    let outcome = super::outcome_of(error.kind());
    Ending::failed(transfer.id, transfer.blocks.len(), outcome, error.to_string())
}
