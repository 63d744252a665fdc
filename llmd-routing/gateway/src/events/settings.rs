//! What can be set about KV events: where an engine publishes them, and every limit.

use std::time::Duration;

use llmd_core::event::SilenceSettings;

/// Where one worker publishes its KV events.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "these three are what an engine says about its event stream")]
pub struct KvEventSource {
    /// The PUB socket, as `tcp://host:port` or `ipc://path`.
    pub endpoint: String,
    /// The ROUTER socket that answers for what was missed. Without it a gap costs all that is known of the worker.
    pub replay_endpoint: Option<String>,
    /// The topic to subscribe to; every topic that begins with it is delivered. Empty is all of them.
    pub topic: String,
}

/// What an engine says of itself elsewhere than in its event stream, by which the stream is judged: see
/// [`Doubts`](llmd_core::event::Doubts).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "what a stream is judged by is told together")]
pub struct EngineSaid {
    /// How many blocks it must have stored since this was last told, at least.
    pub stored: u64,
    /// How many blocks its GPU memory has, where it says so.
    pub gpu_blocks: Option<u64>,
}

/// The limits of event subscriptions. Every default is in the field's description.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct EventSettings {
    /// How many messages of all workers may wait for the writer; then their sockets are read no further. Default: 1024.
    pub max_queued: usize,
    /// How many batches of one worker may wait while those before them are asked for. More are dropped, counted, and
    /// asked for later. Default: 4096.
    pub max_waiting_batches: usize,
    /// How long one attempt to connect to a stream may take. Default: 2 s.
    pub connect_timeout: Duration,
    /// How long to wait before a broken stream is connected again. Default: 100 ms.
    pub reconnect_after: Duration,
    /// How many workers may be asked for replay at once. Default: 8.
    pub max_replays: usize,
    /// How long one replay may take in all. Default: 2 min.
    pub replay_total: Duration,
    /// How long a replay may say nothing. Default: 2 s.
    pub replay_idle: Duration,
    /// How many replays in a row may bring nothing before a worker's state is called approximate. Default: 3.
    pub max_replay_attempts: u32,
    /// How long to wait after the first replay that brought nothing; doubled for each further one. Default: 100 ms.
    pub replay_backoff: Duration,
    /// The longest wait between two replays. Default: 5 s.
    pub replay_backoff_max: Duration,
    /// How long a stream may be quiet before its engine is asked whether it said something since. Default: 2 s.
    pub probe_after: Duration,
    /// How long a worker may be disconnected before its state is called recovering. Default: 1 s.
    pub disconnect_grace: Duration,
    /// When an engine is taken to store blocks while its stream says nothing. Default: 64 blocks, 5 s.
    pub silence: SilenceSettings,
    /// How many changes of state are remembered per worker; the oldest go first. Default: 256.
    pub max_timeline: usize,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self {
            max_queued: 1024,
            max_waiting_batches: 4096,
            connect_timeout: Duration::from_secs(2),
            reconnect_after: Duration::from_millis(100),
            max_replays: 8,
            replay_total: Duration::from_secs(120),
            replay_idle: Duration::from_secs(2),
            max_replay_attempts: 3,
            replay_backoff: Duration::from_millis(100),
            replay_backoff_max: Duration::from_secs(5),
            probe_after: Duration::from_secs(2),
            disconnect_grace: Duration::from_secs(1),
            silence: SilenceSettings::default(),
            max_timeline: 256,
        }
    }
}
