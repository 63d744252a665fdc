//! Filters, then weighted scorers, then a picker: one way to choose an endpoint.

use std::sync::{Arc, OnceLock};

use llmd_core::{Error, ErrorKind, Result};
use smallvec::SmallVec;

use crate::plugin::{By, Candidates, Context, Dropped, Filter, Picker, Plugin, Ranked, Scorer, Stage};

/// One way to choose an endpoint: filters one after the other, then the weighted sum of scores, then a picker.
///
/// Each plugin has a name, by which an explanation and a configuration know it. A plugin may stand in several profiles.
#[derive(Clone, Debug)]
pub struct Profile {
    name: String,
    filters: Vec<(String, Arc<dyn Filter>)>,
    scorers: Vec<WeightedScorer>,
    picker: (String, Arc<dyn Picker>),
}

#[derive(Clone, Debug)]
struct WeightedScorer {
    name: String,
    weight: f64,
    scorer: Arc<dyn Scorer>,
}

/// What a profile found, before anything is reserved.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// The profile, by its place in the scheduler.
    pub(crate) profile: usize,
    /// Who passed the filters, by place in the pool.
    pub(crate) places: SmallVec<[u32; 16]>,
    /// Who did not.
    pub(crate) dropped: Vec<Dropped>,
    /// The stage that it chooses for.
    pub(crate) stage: Stage,
    /// How many of the ranked endpoints failed before the current one.
    pub(crate) tried: usize,
    /// A row of scores per scorer, as it gave them, and a last row with their weighted sums.
    pub(crate) scores: Vec<f64>,
    /// Whom the picker picked, by place among the candidates, best first.
    pub(crate) picks: Ranked,
    /// The random order in which equal ones follow those that were picked.
    pub(crate) seed: u64,
    /// Everybody, best first: made when somebody asks, which few do.
    pub(crate) order: OnceLock<Ranked>,
}

impl Profile {
    /// A profile that only picks.
    pub fn new(name: impl Into<String>, picker_name: impl Into<String>, picker: Arc<dyn Picker>) -> Self {
        Self { name: name.into(), filters: Vec::new(), scorers: Vec::new(), picker: (picker_name.into(), picker) }
    }

    /// The same, with this filter after those before it.
    #[must_use]
    pub fn filter(mut self, name: impl Into<String>, filter: Arc<dyn Filter>) -> Self {
        self.filters.push((name.into(), filter));
        self
    }

    /// The same, with what this scorer says counted `weight` times.
    #[must_use]
    pub fn scorer(mut self, name: impl Into<String>, weight: f64, scorer: Arc<dyn Scorer>) -> Self {
        self.scorers.push(WeightedScorer { name: name.into(), weight, scorer });
        self
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of its filters, in order.
    pub fn filters(&self) -> impl ExactSizeIterator<Item = &str> {
        self.filters.iter().map(|(name, _)| name.as_str())
    }

    /// The names and weights of its scorers, in order.
    pub fn scorers(&self) -> impl ExactSizeIterator<Item = (&str, f64)> {
        self.scorers.iter().map(|scorer| (scorer.name.as_str(), scorer.weight))
    }

    /// The name of its picker.
    pub fn picker(&self) -> &str {
        &self.picker.0
    }

    /// Its scorers, in order.
    pub(crate) fn scoring(&self) -> impl ExactSizeIterator<Item = &Arc<dyn Scorer>> {
        self.scorers.iter().map(|scorer| &scorer.scorer)
    }

    /// Each of its plugins by name, in the order in which they run.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = (&str, Arc<dyn Plugin>)> {
        let filters = self.filters.iter().map(|(name, filter)| (name.as_str(), Arc::clone(filter) as Arc<dyn Plugin>));
        let scorers = self
            .scorers
            .iter()
            .map(|WeightedScorer { name, scorer, .. }| (name.as_str(), Arc::clone(scorer) as Arc<dyn Plugin>));
        let picker = (self.picker.0.as_str(), Arc::clone(&self.picker.1) as Arc<dyn Plugin>);
        filters.chain(scorers).chain([picker])
    }

    /// Chooses, as the profile at this place in its scheduler. A run that ends with no candidates has no ranking; its last filter is to blame.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] when the picker picks none of the candidates it was given.
    pub(crate) fn run(&self, cx: &mut Context<'_>, profile: usize, mut candidates: Candidates<'_>) -> Result<Run> {
        for (place, (_, filter)) in self.filters.iter().enumerate() {
            if candidates.is_empty() {
                break;
            }
            candidates.enter(By::Filter(place as u16));
            filter.filter(cx, &mut candidates);
        }
        if candidates.is_empty() {
            let (places, dropped) = candidates.into_parts();
            return Ok(Run { profile, places, dropped, ..Run::default() });
        }
        let scores = self.score(cx, &candidates);
        let totals = &scores[self.scorers.len() * candidates.len()..];
        let mut picks = Ranked::default();
        self.picker.1.pick(cx, totals, &mut picks);
        picks.check(candidates.len());
        if picks.first().is_none() {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("picker {} picked none of its candidates", self.picker.0),
            ));
        }
        picks.demote(totals);
        let (places, dropped) = candidates.into_parts();
        Ok(Run { profile, places, dropped, scores, picks, ..Run::default() })
    }

    fn score(&self, cx: &Context<'_>, candidates: &Candidates<'_>) -> Vec<f64> {
        let mut scores = vec![0.0; (self.scorers.len() + 1) * candidates.len()];
        let (rows, totals) = scores.split_at_mut(self.scorers.len() * candidates.len());
        for (row, WeightedScorer { weight, scorer, .. }) in rows.chunks_exact_mut(candidates.len()).zip(&self.scorers) {
            scorer.score(cx, candidates, row);
            for (total, score) in totals.iter_mut().zip(row) {
                *total += score.clamp(0.0, 1.0) * weight;
            }
        }
        scores
    }
}

impl Run {
    /// The weighted sums, by place among the candidates.
    pub(crate) fn totals(&self) -> &[f64] {
        &self.scores[self.scores.len().saturating_sub(self.places.len())..]
    }

    /// Sends the request nowhere any more.
    pub(crate) fn retire(&mut self) {
        self.tried = self.places.len();
    }

    /// The place in the pool of the endpoint that it chooses now; `None` when the filters left nobody.
    pub(crate) fn current(&self) -> Option<usize> {
        self.at(self.tried)
    }

    /// The place in the pool of the endpoint at this rank, from 0.
    pub(crate) fn at(&self, rank: usize) -> Option<usize> {
        let column = match self.picks.get(rank) {
            None if rank < self.places.len() => self.order().get(rank),
            picked => picked,
        };
        column.map(|column| self.places[column] as usize)
    }

    /// Places in the pool, best first: those that the picker picked, then the others by score.
    pub(crate) fn ranked(&self) -> impl ExactSizeIterator<Item = usize> + Clone {
        self.order().iter().map(|column| self.places[column] as usize)
    }

    /// Places among the candidates, best first.
    pub(crate) fn order(&self) -> &Ranked {
        self.order.get_or_init(|| self.picks.completed(self.totals(), self.seed))
    }
}
