//! What the endpoints of a pool said about themselves, so that most of it need not be read for every decision.

use std::sync::Arc;

use crate::{Endpoint, EngineMetrics};

/// Endpoints on a sheet: so many are read again when one of them said something.
const ON_A_SHEET: usize = 16;

/// What the endpoints of a pool said about themselves at one moment. Sheets on which nobody has said anything since are
/// shared with the moments before.
#[derive(Debug, Default)]
pub(crate) struct Said(Vec<Arc<Sheet>>);

/// A few endpoints: how often each had said something, and what it said last.
type Sheet = [(u64, Option<Arc<EngineMetrics>>)];

impl Said {
    /// What these endpoints say now.
    pub(crate) fn of(endpoints: &[Arc<Endpoint>]) -> Self {
        Self(endpoints.chunks(ON_A_SHEET).map(|few| few.iter().map(read).collect()).collect())
    }

    /// What they say now; `None` when that is what is here. They are those of whom this was made.
    pub(crate) fn renewed(&self, endpoints: &[Arc<Endpoint>]) -> Option<Self> {
        let mut sheets = None;
        for (place, (sheet, few)) in self.0.iter().zip(endpoints.chunks(ON_A_SHEET)).enumerate() {
            let entries = sheet.iter().zip(few);
            if entries.clone().any(|((times, _), endpoint)| *times != endpoint.times_said()) {
                let renewed = entries.map(|(entry, endpoint)| again(entry, endpoint));
                sheets.get_or_insert_with(|| self.0.clone())[place] = renewed.collect();
            }
        }
        sheets.map(Self)
    }

    /// What the endpoint at this place in the pool said last.
    pub(crate) fn get(&self, place: usize) -> Option<&EngineMetrics> {
        let (_, metrics) = self.0.get(place / ON_A_SHEET)?.get(place % ON_A_SHEET)?;
        metrics.as_deref()
    }
}

/// What an endpoint says now.
fn read(endpoint: &Arc<Endpoint>) -> (u64, Option<Arc<EngineMetrics>>) {
    // How often before what: what is said between the two is read again the next time.
    (endpoint.times_said(), endpoint.metrics())
}

/// What an endpoint says now, which said `entry` before.
fn again(entry: &(u64, Option<Arc<EngineMetrics>>), endpoint: &Arc<Endpoint>) -> (u64, Option<Arc<EngineMetrics>>) {
    if entry.0 == endpoint.times_said() { entry.clone() } else { read(endpoint) }
}
