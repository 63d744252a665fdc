//! What a scheduler knows, and what it says to whom.

mod lend;
mod links;
mod offer;

use std::time::Duration;

use llmd_core::Result;

use self::lend::Asking;
use super::fit::{Fits, Layouts};
use super::known::{Known, Stage};
use super::link::{Link, Pass};
use super::settings::SchedulerSettings;
use super::stats::SchedulerStats;
use crate::engine::message::Command;
use crate::engine::place::Place;
use crate::session::{RequestId, Reuse};

/// What a scheduler knows.
#[derive(Debug)]
pub(super) struct State {
    settings: SchedulerSettings,
    decode: crate::session::decode::Settings,
    pass: Pass,
    links: Vec<Link>,
    /// How our workers' caches are laid out.
    layouts: Layouts,
    fits: Fits,
    known: Known,
    asking: Option<Asking>,
    stats: SchedulerStats,
}

impl State {
    pub(super) fn new(places: Vec<Place>, key: &[u8], settings: SchedulerSettings) -> Result<Self> {
        Ok(Self {
            decode: settings.decode(),
            settings,
            pass: Pass::new(key)?,
            links: places.into_iter().map(Link::new).collect(),
            layouts: Layouts::new(),
            fits: Fits::default(),
            known: Known::default(),
            asking: None,
            stats: SchedulerStats::default(),
        })
    }

    pub(super) fn abort(&mut self, now: Duration, id: &RequestId) -> Reuse {
        self.hear(now);
        let Some(request) = self.known.requests.get_mut(id) else { return Reuse::Now };
        match &mut request.stage {
            Stage::Waiting => {
                self.stats.aborted += 1;
                self.withdraw(now, id);
                Reuse::Now
            }
            Stage::Lent(told) | Stage::Loading { told, .. } => {
                if !std::mem::replace(&mut told.is_aborted, true) {
                    self.stats.aborted += 1;
                    self.say_to_all(now, &Command::Abort { id: id.clone() });
                }
                Reuse::Later
            }
        }
    }

    pub(super) fn preempted(&mut self, now: Duration, id: &RequestId) -> Reuse {
        self.hear(now);
        match self.known.requests.get_mut(id).map(|request| &mut request.stage) {
            Some(Stage::Loading { is_preempted, .. }) => {
                if !std::mem::replace(is_preempted, true) {
                    self.stats.preempted += 1;
                    self.say_to_all(now, &Command::Preempted { id: id.clone() });
                }
                Reuse::Later
            }
            Some(Stage::Lent(_)) => Reuse::Later,
            Some(Stage::Waiting) | None => Reuse::Now,
        }
    }

    pub(super) fn stats(&self) -> SchedulerStats {
        let connected = self.links.iter().filter(|link| link.line.is_some()).count();
        SchedulerStats { connected, requests: self.known.requests.len(), ..self.stats.clone() }
    }
}
