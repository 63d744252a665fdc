//! Agent and session in an engine's processes: one that schedules, and a worker for each shard of the model.
//!
//! The memory of the KV cache, and the [`Agent`](crate::Agent), are in the workers. What knows of requests and blocks is the scheduler.
//! Each [`Worker`] runs both state machines of a [session](crate::session) for its shard, on a thread of its own; the [`Scheduler`]
//! tells all workers what the engine decided, and knows without asking what the engine asks it.
//!
//! ```text
//!  engine's scheduler           engine's workers                                another engine
//!   Scheduler ── computed ─────► Worker ── grant ──► Agent
//!             ◄─ granted ───────                       ▲
//!        │                                             └────────── reads ─────────── Agent
//!        └──────────────── router: kv_transfer_params.grant ──► Scheduler ── arrive ──► Worker
//!                                Worker::take ─► sent                Worker::take ─► received, failed
//! ```
//!
//! The two talk over a socket, and each proves to the other that it has the engine's key. Nothing that a scheduler says is answered,
//! but for what it has to put into an answer at once: the grants of a request that was computed. What has ended is told by the
//! worker's [`take`](Worker::take), to whoever runs the engine's worker:
//!
//! - a request of which [`Scheduler::computed`] gave a text is `sent` once by every worker;
//! - a request for which tokens were [`allocated`](Scheduler::allocated) from outside is `received` once by every worker, however that
//!   ended: aborted, preempted, or with blocks that `failed`, which the engine computes.
//!
//! That holds when a connection is lost, when a peer is, and when a thread panics.
//!
//! ```
//! use llmd_core::GroupIdx;
//! use llmd_kvxfer::engine::{Scheduler, SchedulerSettings, Worker, WorkerSettings};
//! use llmd_kvxfer::session::RequestId;
//! use llmd_kvxfer::session::decode::Allocation;
//! use llmd_kvxfer::{Agent, KvLayout, Local, Region};
//!
//! let here = Local::default();
//! let engine = |name: &str| -> llmd_core::Result<_> {
//!     let agent = Agent::builder(name).transport(here.clone()).build()?;
//!     let pool = agent.register(Region::memfd(8 * 4096)?, KvLayout::opaque("bytes", 8, 4096)?)?;
//!     let worker = Worker::new(agent, vec![(GroupIdx(0), pool.clone())], b"key", WorkerSettings::default())?;
//!     let scheduler = Scheduler::new(&[worker.address()], b"key", SchedulerSettings::default())?;
//!     Ok((pool, worker, scheduler))
//! };
//! let (computed, prefill_worker, prefill) = engine("prefill")?;
//! let (cache, decode_worker, decode) = engine("decode")?;
//! let id = RequestId::new("cmpl-7")?;
//!
//! computed.write_block(3, &[7; 4096])?;
//! let text = prefill.computed(&id, 16, vec![(GroupIdx(0), 0, vec![3])])?.expect("it is granted");
//! // … the text goes with the request …
//! decode.arrive(&id, 16, &text)?;
//! assert_eq!(decode.matched(&id, 0), 16);
//! let blocks = Allocation { group: GroupIdx(0), block_tokens: 16, from_token: 0, blocks: vec![5] };
//! decode.allocated(&id, 0, 16, vec![blocks])?;
//! while decode_worker.take()?.received.is_empty() {
//!     std::thread::yield_now();
//! }
//! assert_eq!(cache.read_block(5)?, [7; 4096]);
//! while prefill_worker.take()?.sent.is_empty() {
//!     std::thread::yield_now();
//! }
//! # Ok::<(), llmd_core::Error>(())
//! ```

mod clock;
mod line;
mod message;
mod place;
mod scheduler;
mod stream;
mod wait;
mod worker;

pub use self::scheduler::{Scheduler, SchedulerSettings, SchedulerStats};
pub use self::worker::{Done, Worker, WorkerSettings, WorkerStats};

/// The tenant under which the two sides of a connection know each other: no agent's.
const TENANT: &str = "llmd engine";
