//! Who is measured: two processes, of which one holds blocks and the other pulls them.
//!
//! A family is one library, or the machine itself; a subject is a family in one form. What stands here is all that a
//! family says and does; the processes around it, their lines and the clock are the same for all.

use std::fmt::Debug;

use llmd_core::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::work::Work;

/// A library whose two sides run in this program. [`ALL`](crate::subjects::ALL) says what is measured of it.
pub(crate) trait Family: Debug + Sync {
    /// As the first word of its subjects' names.
    fn name(&self) -> &'static str;

    /// The side that holds the blocks: `pool` bytes, filled with [`word`](crate::work::word).
    ///
    /// # Errors
    ///
    /// Its own.
    fn serve(&self, form: &str, pool: usize) -> Result<Box<dyn Serve>>;

    /// The side that pulls into a pool of as many bytes.
    ///
    /// # Errors
    ///
    /// Its own.
    fn pull(&self, form: &str, pool: usize) -> Result<Box<dyn Pull>>;
}

/// The side that holds the blocks. Every method but the first has a meaning for some families only.
pub(crate) trait Serve: Debug {
    /// What a puller must know to reach it.
    ///
    /// # Errors
    ///
    /// Its own.
    fn offer(&mut self) -> Result<Value>;

    /// A puller has said this about itself.
    ///
    /// # Errors
    ///
    /// Its own.
    fn meet(&mut self, offer: &Value) -> Result<()> {
        _ = offer;
        Ok(())
    }

    /// What the puller must have for each of [`Work::transfers`].
    ///
    /// # Errors
    ///
    /// Its own.
    fn prepare(&mut self, work: &Work) -> Result<Value> {
        _ = work;
        Ok(Value::Null)
    }

    /// Answers the notifications that have come, for a tenth of a second at most.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] where there is none.
    fn echo(&mut self, wait: Wait) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, format!("no notifications, {} or not", wait.name())))
    }

    /// Makes the blocks of transfer `pull` ready to be pulled, with whatever guards their content.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] where nothing is sealed.
    fn seal(&mut self, work: &Work, pull: usize) -> Result<()> {
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("transfer {pull} of {} blocks needs no seal", work.point.blocks),
        ))
    }
}

/// The side that pulls.
pub(crate) trait Pull: Debug {
    /// What the other side must know about it.
    ///
    /// # Errors
    ///
    /// Its own.
    fn offer(&mut self) -> Result<Value> {
        Ok(Value::Null)
    }

    /// The other side has said this about itself. The latest that was met is pulled from.
    ///
    /// # Errors
    ///
    /// Its own.
    fn meet(&mut self, offer: &Value) -> Result<()>;

    /// Gets ready for [`Work::transfers`]; `tickets` is what the other side prepared.
    ///
    /// # Errors
    ///
    /// Its own.
    fn prepare(&mut self, work: &Work, tickets: &Value) -> Result<()>;

    /// In which of its subject's ways it pulls from now on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] where there is one way only.
    fn choose(&mut self, way: &str) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, format!("no way {way:?}")))
    }

    /// Posts transfer number `pull`.
    ///
    /// # Errors
    ///
    /// Its own.
    fn post(&mut self, work: &Work, pull: usize) -> Result<()>;

    /// Waits until what was posted is complete.
    ///
    /// # Errors
    ///
    /// Its own.
    fn finish(&mut self) -> Result<()>;

    /// The pool, as words. Nothing is under way.
    fn pool(&mut self) -> &mut [u64];

    /// Sends a notification and waits for the answer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] where there is none.
    fn notify(&mut self, wait: Wait) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, format!("no notifications, {} or not", wait.name())))
    }
}

/// How a side waits for a notification.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Wait {
    /// It sleeps until it is woken.
    Sleeping,
    /// It looks again and again.
    Spinning,
}

impl Wait {
    pub(crate) const ALL: [Self; 2] = [Self::Sleeping, Self::Spinning];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sleeping => "sleeping",
            Self::Spinning => "spinning",
        }
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wait| wait.name() == name)
    }
}

/// A family in one form, and what is measured of it.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// As figures name it: `<family>.<form>`.
    pub(crate) name: &'static str,
    /// Whose two sides it is.
    pub(crate) side: Side,
    /// How it can pull, where there are several ways; each is measured.
    pub(crate) ways: &'static [&'static str],
    /// Where the side that holds the blocks runs.
    pub(crate) apart: Apart,
    /// What is measured.
    pub(crate) parts: &'static [Part],
}

/// What runs a subject's two sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Side {
    /// This program.
    Ours,
    /// A script in Python, with these variables set.
    Script(&'static str, &'static [(&'static str, &'static str)]),
}

/// Whether the side that holds the blocks is like another pod on the same node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Apart {
    No,
    /// Processes and System V memory of its own; what it must have a network for it has over this machine's.
    Processes,
    /// And no network either.
    ProcessesAndNetwork,
}

/// Something to measure.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Part {
    /// Transfers of all sizes.
    Sizes,
    /// Transfers of 64 KiB blocks only.
    OneSize,
    /// A single block of 4 KiB.
    Latency,
    /// What posting 256 MiB takes.
    Submit,
    /// A notification there and back.
    Notify(Wait),
    /// Making blocks ready.
    Seal,
    /// What doing nothing costs a puller that has this many peers.
    Idle(usize),
}
