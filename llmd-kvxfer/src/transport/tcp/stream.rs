//! One connection, of which one thread at a time has the turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use llmd_core::{Error, Result};
use parking_lot::Mutex;

use super::super::poller::Interest;
use super::hub::{Hub, News};
use super::pulling::Pulling;
use super::serving::Serving;
use super::socket::Socket;

/// One connection.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) token: u64,
    pub(super) socket: Socket,
    /// When its handshake has to be over.
    pub(super) deadline: Duration,
    is_shaken: AtomicBool,
    is_over: AtomicBool,
    /// Somebody wants its turn to be had again.
    is_wanted: AtomicBool,
    role: Mutex<Role>,
}

#[derive(Debug)]
pub(super) enum Role {
    /// The peer reads from us.
    Serving(Box<Serving>),
    /// We read from the peer.
    Pulling(Box<Pulling>),
    /// It has none any more.
    Over,
}

/// How a turn ended, if not in an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// There is more to do when the connection is ready for this.
    When(Interest),
    /// The other side closed it.
    Closed,
}

/// How many bytes are moved in one turn: then others have theirs.
pub(super) const BUDGET: usize = 2 << 20;

impl Stream {
    pub(super) fn new(token: u64, socket: Socket, deadline: Duration, role: Role) -> Arc<Self> {
        let (is_shaken, is_over, is_wanted) = Default::default();
        Arc::new(Self { token, socket, deadline, is_shaken, is_over, is_wanted, role: Mutex::new(role) })
    }

    /// Does what there is to do; or, when somebody is at it, has them look again.
    pub(super) fn run(self: &Arc<Self>, hub: &Hub, budget: usize) {
        self.is_wanted.store(true, Ordering::SeqCst);
        while self.is_wanted.load(Ordering::SeqCst) && !self.is_over() {
            // Whoever has it looks once more when they are done.
            let Some(mut role) = self.role.try_lock() else { return };
            self.is_wanted.store(false, Ordering::SeqCst);
            let turn = match &mut *role {
                Role::Serving(serving) => serving.turn(self, hub, budget),
                Role::Pulling(pulling) => pulling.turn(self, hub, budget),
                Role::Over => return,
            };
            let turn = turn.and_then(|turn| match turn {
                Turn::When(interest) => hub.arm(self, interest).map(|()| turn),
                Turn::Closed => Ok(turn),
            });
            match turn {
                Ok(Turn::When(_)) => {}
                Ok(Turn::Closed) => self.over(hub, None),
                Err(error) => self.over(hub, Some(error)),
            }
        }
    }

    /// Its handshake is over.
    pub(super) fn shaken(&self) {
        self.is_shaken.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_shaken(&self) -> bool {
        self.is_shaken.load(Ordering::Relaxed)
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Nobody begins another turn. Gives what it was, once a turn that is under way has ended.
    pub(super) fn end(&self) -> Role {
        self.is_over.store(true, Ordering::SeqCst);
        std::mem::replace(&mut *self.role.lock(), Role::Over)
    }

    fn over(&self, hub: &Hub, error: Option<Error>) {
        self.is_over.store(true, Ordering::SeqCst);
        hub.say(News::Gone { token: self.token, error });
    }
}

pub(super) fn interest(has_more: bool) -> Result<Turn> {
    Ok(Turn::When(if has_more { Interest::ReadAndWrite } else { Interest::Read }))
}
