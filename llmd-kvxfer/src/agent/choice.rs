//! Which transport is taken: the one that is expected to be fastest, by what it was.

use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};

use super::Inner;
use crate::grant::Grant;
use crate::plan::Plan;
use crate::pool::Pool;
use crate::transport::Cost;

/// A transport that was considered for a grant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Considered {
    /// Which.
    pub transport: &'static str,
    /// What it is expected to cost, or why it cannot be taken.
    pub cost: Result<Cost, String>,
}

/// How fast a transport was, by each of its ways.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// Bytes a second of what was large enough to tell.
    rates: Vec<(&'static str, f64)>,
}

/// From how many bytes on a transfer tells something of the rate.
const TELLING: u64 = 1 << 20;
/// How much the last one counts.
const WEIGHT: f64 = 0.2;

impl Pace {
    pub(super) fn record(&mut self, way: &'static str, bytes: u64, took: Duration) {
        if bytes < TELLING || took.is_zero() {
            return;
        }
        let rate = bytes as f64 / took.as_secs_f64();
        match self.rates.iter_mut().find(|(known, _)| *known == way) {
            Some((_, known)) => *known += WEIGHT * (rate - *known),
            None => self.rates.push((way, rate)),
        }
    }

    fn known(&self, cost: Cost) -> Cost {
        let known = self.rates.iter().find(|(way, _)| *way == cost.way);
        Cost { rate: known.map_or(cost.rate, |(_, rate)| *rate), ..cost }
    }
}

impl Inner {
    /// Which transports may be taken, as bits.
    pub(super) fn allowed(&self, only: Option<&[&str]>) -> Result<u64> {
        let Some(only) = only else { return Ok(u64::MAX) };
        only.iter().try_fold(0, |allowed, wanted| {
            let place = self.names.iter().position(|name| name == wanted).ok_or_else(|| {
                let message = format!("transport `{wanted}`, expected one of the agent's: {}", self.names.join(", "));
                Error::new(ErrorKind::Invalid, message)
            })?;
            Ok(allowed | 1 << place)
        })
    }

    /// The one that is expected to be fastest.
    pub(super) fn choose(&self, grant: &Grant, pool: &Pool, allowed: u64, plan: &Plan, blocks: usize) -> Result<usize> {
        let bytes = plan.period_bytes().saturating_mul(blocks.div_ceil(plan.period().1) as u64);
        let mut best: Option<(Duration, usize)> = None;
        for place in (0..self.transports.len()).filter(|place| allowed >> place & 1 == 1) {
            let carrier = self.transports[place].lock();
            if let Ok(cost) = carrier.transport.reach(grant, pool) {
                let takes = carrier.pace.known(cost).of(bytes);
                if best.is_none_or(|(least, _)| takes < least) {
                    best = Some((takes, place));
                }
            }
        }
        best.map(|(_, place)| place).ok_or_else(|| {
            let why = |Considered { transport, cost }| match cost {
                Ok(_) => format!("{transport}: not allowed"),
                Err(why) => format!("{transport}: {why}"),
            };
            let why: Vec<_> = self.consider(grant, pool, Some(allowed)).into_iter().map(why).collect();
            let message = format!("no transport reaches agent {} ({})", grant.agent(), why.join("; "));
            Error::new(ErrorKind::Unavailable, message)
        })
    }

    pub(super) fn consider(&self, grant: &Grant, pool: &Pool, allowed: Option<u64>) -> Vec<Considered> {
        let mut all = Vec::new();
        for (place, carrier) in self.transports.iter().enumerate() {
            let carrier = carrier.lock();
            let is_allowed = allowed.is_none_or(|allowed| allowed >> place & 1 == 1);
            let cost = match carrier.transport.reach(grant, pool) {
                Ok(_) if !is_allowed => Err("not allowed".to_owned()),
                Ok(cost) => Ok(carrier.pace.known(cost)),
                Err(error) => Err(error.to_string()),
            };
            all.push(Considered { transport: carrier.transport.name(), cost });
        }
        let takes = |considered: &Considered| considered.cost.as_ref().map_or(Duration::MAX, |cost| cost.of(TELLING));
        all.sort_by_key(takes);
        all
    }
}
