//! A transport that is no faster than it may be.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::Result;

use crate::grant::Grant;
use crate::pool::Pool;
use crate::transport::{Cost, Ending, Home, Note, Transfer, TransferId, Transport, Trust, forward};

/// The transport that it wraps, whose transfers end no earlier than they would at this rate, one after the other.
#[derive(Debug)]
pub struct Throttled<T> {
    inner: T,
    /// Bytes a second.
    rate: f64,
    /// When the last transfer that was posted is over at this rate.
    free: Duration,
    earliest: HashMap<TransferId, Duration>,
    late: BTreeMap<(Duration, TransferId), Ending>,
}

impl<T: Transport> Throttled<T> {
    /// So many bytes a second.
    pub fn new(inner: T, rate: f64) -> Self {
        Self { inner, rate, free: Duration::ZERO, earliest: HashMap::new(), late: BTreeMap::new() }
    }

    fn keep(&mut self, now: Duration, ending: Ending) {
        let earliest = self.earliest.remove(&ending.id).unwrap_or(now);
        self.late.insert((earliest, ending.id), ending);
    }
}

impl<T: Transport> Transport for Throttled<T> {
    forward! { inner:
        fn name(&self) -> &'static str;
        fn trust(&self) -> Trust;
        fn start(&mut self, home: &Arc<Home>) -> Result<()>;
        fn address(&self) -> Option<String>;
        fn register(&mut self, pool: &Pool) -> Result<()>;
        fn unregister(&mut self, pool: &Pool);
        fn tell(&mut self, now: Duration, grant: &Grant, note: Note) -> Result<()>;
        fn sleep(&mut self) -> bool;
        fn awake(&mut self);
        fn wake_fd(&self) -> Option<BorrowedFd<'_>>;
        fn peers(&self) -> usize;
    }

    fn reach(&self, grant: &Grant, pool: &Pool) -> Result<Cost> {
        let cost = self.inner.reach(grant, pool)?;
        Ok(Cost::new(cost.latency, cost.rate.min(self.rate)))
    }

    fn post(&mut self, now: Duration, transfer: Transfer) -> Result<Option<Ending>> {
        let (id, takes) = (transfer.id, Duration::try_from_secs_f64(transfer.bytes() as f64 / self.rate));
        let ending = self.inner.post(now, transfer)?;
        self.free = self.free.max(now) + takes.unwrap_or(Duration::from_secs(3600));
        self.earliest.insert(id, self.free);
        if let Some(ending) = ending {
            self.keep(now, ending);
        }
        Ok(None)
    }

    fn cancel(&mut self, transfer: TransferId) {
        self.earliest.remove(&transfer);
        self.inner.cancel(transfer);
    }

    fn poll(&mut self, now: Duration, ended: &mut Vec<Ending>) -> bool {
        let mut endings = Vec::new();
        let is_any = self.inner.poll(now, &mut endings);
        endings.into_iter().for_each(|ending| self.keep(now, ending));
        let later = self.late.split_off(&(now + Duration::from_nanos(1), 0));
        let due = std::mem::replace(&mut self.late, later);
        let is_due = !due.is_empty();
        ended.extend(due.into_values());
        is_any || is_due
    }

    fn next_deadline(&self) -> Option<Duration> {
        let late = self.late.keys().next().map(|&(late, _)| late);
        late.into_iter().chain(self.inner.next_deadline()).min()
    }
}
