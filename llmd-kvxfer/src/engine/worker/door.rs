//! Who commands a worker: one scheduler at a time, which has proven that it has the engine's key.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{ErrorKind, Result};

use super::core::Core;
use super::{WorkerSettings, WorkerStats};
use crate::engine::TENANT;
use crate::engine::line::Line;
use crate::engine::message::{Command, Here, Notice};
use crate::engine::stream::{Listener, Stream};
use crate::engine::wait::For;
use crate::grant::AgentId;
use crate::handshake::{Identity, Keys, Listening};

/// Where schedulers come in, and the one that commands.
#[derive(Debug)]
pub(super) struct Door {
    listener: Listener,
    me: Identity,
    keys: Keys,
    here: Here,
    guests: Vec<Guest>,
    /// Who commands, and who commanded last.
    master: Option<Line>,
    last: Option<AgentId>,
    is_lost: bool,
}

/// One that has not proven who it is.
#[derive(Debug)]
struct Guest {
    line: Line,
    /// What it said, once it has.
    listening: Option<Listening>,
    until: Duration,
}

/// What a guest came to.
enum Seen {
    Known(AgentId),
    Later,
}

/// How many may be there that have not proven who they are, and for how long.
const MAX_GUESTS: usize = 16;
const GREETING: Duration = Duration::from_secs(5);

impl Door {
    pub(super) fn new(listener: Listener, boot: AgentId, key: &[u8], settings: &WorkerSettings, core: &Core) -> Self {
        let mut keys = Keys::default();
        keys.add(TENANT, Some(key));
        let groups = core.pools().iter().map(|(group, pool)| (*group, pool.layout().clone())).collect();
        let WorkerSettings { shard, shards, .. } = *settings;
        let here = Here { boot, shard, shards, ttl: settings.prefill.ttl, groups };
        let me = Identity { agent: boot, name: format!("worker {shard} of {shards}") };
        Self { listener, me, keys, here, guests: Vec::new(), master: None, last: None, is_lost: false }
    }

    /// Lets in whoever is there.
    pub(super) fn accept(&mut self, now: Duration, stats: &mut WorkerStats) {
        for _ in 0..MAX_GUESTS {
            match self.listener.accept() {
                Ok(Some(stream)) => {
                    if self.guests.len() >= MAX_GUESTS {
                        stats.refused_schedulers += 1;
                        self.guests.remove(0);
                    }
                    let (line, until) = (Line::new(stream), now.saturating_add(GREETING));
                    self.guests.push(Guest { line, listening: None, until });
                }
                Ok(None) => return,
                Err(_) => {
                    stats.refused_schedulers += 1;
                    return;
                }
            }
        }
    }

    /// Hears those that have not proven who they are. Says that another scheduler commands than before.
    pub(super) fn greet(&mut self, now: Duration, stats: &mut WorkerStats) -> bool {
        let mut is_another = false;
        for mut guest in std::mem::take(&mut self.guests) {
            match guest.hear(&self.me, &self.keys) {
                Ok(Seen::Later) if now < guest.until => self.guests.push(guest),
                Ok(Seen::Later) => stats.refused_schedulers += 1,
                Ok(Seen::Known(who)) if self.master.is_some() && self.last != Some(who) => {
                    stats.refused_schedulers += 1;
                    let why = "another scheduler commands this worker".to_owned();
                    // One that does not hear it sees that it is cut off.
                    let _said = guest.line.say(Notice::Refused { why }.encode());
                }
                Ok(Seen::Known(who)) => {
                    if guest.line.say(Notice::Here(self.here.clone()).encode()).is_ok() {
                        stats.schedulers += 1;
                        is_another = self.last.replace(who) != Some(who);
                        // One that comes again has left its old connection, whether that is known here or not.
                        self.is_lost |= self.master.replace(guest.line).is_some();
                    }
                }
                // Whoever only looks whether somebody listens leaves without a word.
                Err(error) if error.kind() == ErrorKind::Unavailable && guest.listening.is_none() => {}
                Err(error) => {
                    stats.refused_schedulers += 1;
                    stats.malformed_messages += u64::from(error.kind() == ErrorKind::Corrupt);
                }
            }
        }
        is_another
    }

    /// The next command, if there is one. [`None`] also when the one who commands is gone.
    pub(super) fn hear(&mut self, stats: &mut WorkerStats) -> Option<Command> {
        let heard = self.master.as_mut()?.hear();
        match heard.and_then(|bytes| bytes.as_deref().map(Command::decode).transpose()) {
            Ok(command) => command,
            Err(error) => {
                stats.malformed_messages += u64::from(error.kind() != ErrorKind::Unavailable);
                self.lose();
                None
            }
        }
    }

    fn lose(&mut self) {
        self.is_lost |= self.master.take().is_some();
    }

    /// Whether the one who commanded has gone since this was last asked.
    pub(super) const fn is_lost(&mut self) -> bool {
        std::mem::replace(&mut self.is_lost, false)
    }

    /// Says what happened, and says whether all of it has left; nobody is there to hear it when nobody commands.
    pub(super) fn say(&mut self, notices: &mut Vec<Notice>) -> bool {
        let Some(master) = &mut self.master else {
            notices.clear();
            return true;
        };
        let said: Result<()> = notices.drain(..).try_for_each(|notice| master.say(notice.encode()));
        if said.is_ok() {
            return master.flush();
        }
        self.lose();
        true
    }

    /// What is to be watched.
    pub(super) fn watched(&self) -> impl Iterator<Item = (Arc<Stream>, For)> + '_ {
        let watched = |line: &Line| {
            let what = if line.is_unsent() { For::ReadingAndWriting } else { For::Reading };
            (Arc::clone(line.stream()), what)
        };
        self.guests.iter().map(move |guest| watched(&guest.line)).chain(self.master.iter().map(watched))
    }

    pub(super) fn listener(&self) -> std::os::fd::BorrowedFd<'_> {
        self.listener.as_fd()
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.guests.iter().map(|guest| guest.until).min()
    }
}

impl Guest {
    fn hear(&mut self, me: &Identity, keys: &Keys) -> Result<Seen> {
        self.line.flush();
        while let Some(bytes) = self.line.hear()? {
            match self.listening.take() {
                None => match Listening::on_hello(me, keys, &bytes, &[]) {
                    Ok((listening, welcome)) => {
                        self.line.say(welcome)?;
                        self.listening = Some(listening);
                    }
                    Err((error, refusal)) => {
                        // One that does not hear it sees that it is cut off.
                        let _said = self.line.say(refusal);
                        return Err(error);
                    }
                },
                Some(listening) => {
                    let signed = listening.signed();
                    let (who, _) = listening.on_proof(&bytes)?;
                    self.line.sign(signed);
                    return Ok(Seen::Known(who.agent));
                }
            }
        }
        Ok(Seen::Later)
    }
}
