//! A transport that goes wrong now and then.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use crate::grant::Grant;
use crate::outcome::Outcome;
use crate::pool::Pool;
use crate::transport::{Cost, Ending, Home, Note, Transfer, TransferId, Transport, Trust, forward};

/// What goes wrong, and how often: each a share of 1.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "written out by tests")]
pub struct Faults {
    /// Transfers that are refused when they are posted.
    pub refuse: f64,
    /// Transfers that were made, and of which it is said that the peer was lost.
    pub lose: f64,
    /// Notes that nobody hears.
    pub mute: f64,
    /// How late an end is told at most.
    pub delay: Duration,
    /// From which all chances follow.
    pub seed: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { refuse: 0.0, lose: 0.0, mute: 0.0, delay: Duration::ZERO, seed: 1 }
    }
}

/// The transport that it wraps, with [`Faults`].
#[derive(Debug)]
pub struct Flaky<T> {
    inner: T,
    faults: Faults,
    state: u64,
    late: BTreeMap<(Duration, TransferId), Ending>,
}

impl<T: Transport> Flaky<T> {
    /// With these faults.
    pub const fn new(inner: T, faults: Faults) -> Self {
        Self { inner, faults, state: faults.seed, late: BTreeMap::new() }
    }

    fn chance(&mut self) -> f64 {
        (splitmix(&mut self.state) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The same ending, or another.
    fn changed(&mut self, ending: Ending) -> Ending {
        if ending.outcome == Outcome::Done && self.chance() < self.faults.lose {
            let blocks = ending.blocks.len();
            return Ending::failed(ending.id, blocks, Outcome::PeerLost, "the peer was lost, says the test");
        }
        ending
    }
}

impl<T: Transport> Transport for Flaky<T> {
    forward! { inner:
        fn name(&self) -> &'static str;
        fn trust(&self) -> Trust;
        fn start(&mut self, home: &Arc<Home>) -> Result<()>;
        fn address(&self) -> Option<String>;
        fn register(&mut self, pool: &Pool) -> Result<()>;
        fn unregister(&mut self, pool: &Pool);
        fn reach(&self, grant: &Grant, pool: &Pool) -> Result<Cost>;
        fn cancel(&mut self, transfer: TransferId);
        fn sleep(&mut self) -> bool;
        fn awake(&mut self);
        fn wake_fd(&self) -> Option<BorrowedFd<'_>>;
        fn peers(&self) -> usize;
    }

    fn post(&mut self, now: Duration, transfer: Transfer) -> Result<Option<Ending>> {
        if self.chance() < self.faults.refuse {
            return Err(Error::new(ErrorKind::Unavailable, "the transfer is refused, says the test"));
        }
        let ending = self.inner.post(now, transfer)?;
        Ok(ending.map(|ending| self.changed(ending)))
    }

    fn tell(&mut self, now: Duration, grant: &Grant, note: Note) -> Result<()> {
        if self.chance() < self.faults.mute { Ok(()) } else { self.inner.tell(now, grant, note) }
    }

    fn poll(&mut self, now: Duration, ended: &mut Vec<Ending>) -> bool {
        let mut endings = Vec::new();
        let is_any = self.inner.poll(now, &mut endings);
        for ending in endings {
            let (late, ending) = (self.faults.delay.mul_f64(self.chance()), self.changed(ending));
            self.late.insert((now + late, ending.id), ending);
        }
        let later = self.late.split_off(&(now + Duration::from_nanos(1), 0));
        ended.extend(std::mem::replace(&mut self.late, later).into_values());
        is_any
    }

    fn next_deadline(&self) -> Option<Duration> {
        let late = self.late.keys().next().map(|&(late, _)| late);
        late.into_iter().chain(self.inner.next_deadline()).min()
    }
}

/// The next of a sequence of numbers that look random.
pub(super) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
