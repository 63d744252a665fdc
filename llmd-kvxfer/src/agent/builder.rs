//! How an agent is built.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use parking_lot::Mutex;

use super::choice::Pace;
use super::ops::Ops;
use super::plans::Plans;
use super::{Agent, Carrier, Inner, thread};
use crate::grant::AgentId;
use crate::handshake::{Identity, Keys};
use crate::transport::{Check, Home, HomeSettings, Transport, process};

/// Builds an [`Agent`].
#[must_use = "no agent is there until it is built"]
pub struct AgentBuilder {
    name: String,
    tenant: String,
    keys: Keys,
    check: Check,
    spin: Duration,
    copy_threads: usize,
    max_leases: usize,
    max_operations: usize,
    clock: Option<Arc<dyn Fn() -> Duration + Send + Sync>>,
    transports: Vec<Box<dyn Transport>>,
}

/// The tenant of agents that name none.
const DEFAULT_TENANT: &str = "default";
/// How many transports one agent may have: one bit of a word each.
const MAX_TRANSPORTS: usize = 64;

impl AgentBuilder {
    pub(super) fn new(name: String) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut keys = Keys::default();
        keys.add(DEFAULT_TENANT, None);
        Self {
            name,
            tenant: DEFAULT_TENANT.to_owned(),
            keys,
            check: Check::default(),
            spin: Duration::from_micros(50),
            copy_threads: (cores / 2).clamp(1, 4),
            max_leases: 1 << 16,
            max_operations: 1 << 16,
            clock: None,
            transports: Vec::new(),
        }
    }

    /// Moves blocks by this transport too. Where several can, the one that is expected to be fastest does.
    pub fn transport(mut self, transport: impl Transport + 'static) -> Self {
        self.transports.push(Box::new(transport));
        self
    }

    /// Belongs to this tenant, and proves it by this key where peers ask: agents of a tenant know each other by it. Unless others are
    /// [served](Self::serve) too, nobody else is let in. Without one, agents are of the tenant `default`, which needs no proof: who
    /// may connect is the matter of sockets' permissions and networks.
    pub fn tenant(mut self, tenant: impl Into<String>, key: &[u8]) -> Self {
        self.tenant = tenant.into();
        self.keys = Keys::default();
        self.keys.add(&self.tenant, Some(key));
        self
    }

    /// Serves peers of this tenant too, of pools that are [registered for it](Agent::register_for).
    pub fn serve(mut self, tenant: &str, key: &[u8]) -> Self {
        self.keys.add(tenant, Some(key));
        self
    }

    /// When what arrives is held against what was sealed. The default is always.
    pub const fn check(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    /// How long its thread goes on looking after something happened before it sleeps. The default is 50 µs.
    pub const fn spin(mut self, spin: Duration) -> Self {
        self.spin = spin;
        self
    }

    /// How many threads copy; whoever [waits](Agent::wait) helps. The default is half of the cores, 1 to 4.
    pub const fn copy_threads(mut self, threads: usize) -> Self {
        self.copy_threads = threads;
        self
    }

    /// How many leases may hold at once. The default is 65,536.
    pub const fn max_leases(mut self, leases: usize) -> Self {
        self.max_leases = leases;
        self
    }

    /// How many operations may be under way, or have ended without being polled. The default is 65,536.
    pub const fn max_operations(mut self, operations: usize) -> Self {
        self.max_operations = operations;
        self
    }

    /// Its time, for tests that turn it: how long it is since some moment. The agent's thread looks at it at least every 10 ms.
    pub fn clock(mut self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Builds it, and has its transports begin to serve.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for settings that make no sense, and what a transport says that cannot begin.
    pub fn build(self) -> Result<Agent> {
        if !(1..=MAX_TRANSPORTS).contains(&self.transports.len()) {
            let message = format!("{} transports, expected 1 to {MAX_TRANSPORTS}", self.transports.len());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if self.copy_threads == 0 {
            return Err(Error::new(ErrorKind::Invalid, "0 threads that copy, expected at least 1"));
        }
        let is_turned = self.clock.is_some();
        let home = Arc::new(Home::new(HomeSettings {
            me: Identity { agent: AgentId::random()?, name: self.name },
            keys: self.keys,
            tenant: self.tenant,
            check: self.check,
            spin: self.spin,
            copy_threads: self.copy_threads,
            max_leases: self.max_leases,
            clock: self.clock.unwrap_or_else(thread::clock),
        })?);
        let (mut transports, mut wake_fds) = (Vec::new(), Vec::new());
        for mut transport in self.transports {
            transport.start(&home)?;
            if let Some(fd) = transport.wake_fd() {
                wake_fds.push(fd.try_clone_to_owned().map_err(|cause| {
                    Error::new(ErrorKind::Exhausted, "a file descriptor for the agent's thread").with_source(cause)
                })?);
            }
            transports.push(Mutex::new(Carrier { transport, pace: Pace::default() }));
        }
        let names = transports.iter().map(|carrier| carrier.lock().transport.name()).collect();
        let inner = Arc::new(Inner {
            home,
            transports,
            names,
            moves: Mutex::default(),
            ops: Mutex::new(Ops::new(self.max_operations)),
            plans: Mutex::new(Plans::default()),
            wanted: Mutex::default(),
            wake_fds,
            next_pool: AtomicU32::new(0),
            process: process(),
            sleeps_until: AtomicU64::new(0),
            looked_at: AtomicU64::new(0),
            looks: AtomicU32::new(0),
            is_over: AtomicBool::new(false),
            is_done: parking_lot::Condvar::new(),
        });
        let life = thread::start(&inner, is_turned)?;
        Ok(Agent { inner, _life: Arc::new(life) })
    }
}

impl std::fmt::Debug for AgentBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentBuilder")
            .field("name", &self.name)
            .field("tenant", &self.tenant)
            .field("transports", &self.transports)
            .finish_non_exhaustive()
    }
}
