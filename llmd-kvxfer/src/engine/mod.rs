//! What the processes of one engine run to hand requests over: a [`Worker`] beside each rank's memory, and a [`Scheduler`] where
//! requests and blocks are known.
//!
//! An engine schedules in one process and computes in others. The agent has to be where the memory is; which requests are handed over,
//! and into which blocks, is known where they are scheduled, and an answer must not leave before its blocks are lent. So the
//! scheduler tells the workers over a socket of their own, and a worker answers from a thread that waits for nobody: what the
//! engine's own messages say comes a step later.
//!
//! ```text
//!  scheduler's process                     worker's process, one for each rank
//!   Scheduler ── computed, arrive, … ──►    Worker ── session::Prefill, session::Decode
//!             ◄── granted, ended ──────       │ carries out what they want with its Agent
//!                                             ▼
//!                                           take() : sent, received, failed ──► the engine's step
//! ```
//!
//! Both sides of a socket prove that they have the engine's key, which is drawn when it starts.

mod answer;
mod duties;
mod link;
mod listener;
mod message;
mod scheduler;
mod shards;
mod worker;

pub use self::answer::{Done, Failed};
pub use self::scheduler::{Scheduler, SchedulerSettings, SchedulerStats};
pub use self::worker::{Worker, WorkerSettings, WorkerStats};
