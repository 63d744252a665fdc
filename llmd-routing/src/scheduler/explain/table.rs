//! An explanation as text: a table per profile.

use std::fmt;

use llmd_core::index::WorkerState;

use super::{EndpointExplanation, Explanation, Fate, ProfileExplanation, Turn};
use crate::plugin::PrefixMatch;

/// A table per profile, and above it the reason.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for profile in &self.profiles {
            let decides = if profile.name == self.profile { "" } else { " (does not decide)" };
            writeln!(f, "profile {}{decides}: {}", profile.name, profile.reason())?;
            profile.table().iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        Ok(())
    }
}

impl ProfileExplanation {
    /// Why the chosen endpoint was chosen, in one sentence.
    pub fn reason(&self) -> String {
        let ranked: Vec<_> = self.endpoints.iter().filter_map(EndpointExplanation::ranking).collect();
        let Some(place) = ranked.iter().position(|&(_, _, turn)| turn == Turn::Chosen) else {
            return "its filters left nobody".to_owned();
        };
        let (name, total, _) = ranked[place];
        let mut reason = format!("{} chose {name} of {}", self.picker, count(ranked.len(), "candidate"));
        if place > 0 {
            reason =
                format!("{name} of {} is next after {}", count(ranked.len(), "candidate"), count(place, "failure"));
        }
        let best = ranked.iter().map(|&(_, total, _)| total).fold(f64::NEG_INFINITY, f64::max);
        let equal = ranked.iter().filter(|&&(_, other, _)| other == total).count();
        match ranked.get(place + 1) {
            _ if self.scorers.is_empty() => reason + ", unscored",
            _ if total < best => reason + &format!(", {:.3} below the best", best - total),
            Some(_) if equal > 1 => reason + &format!(", one of {equal} with {total:.3}"),
            Some(&(next, second, _)) => reason + &format!(", {:.3} ahead of {next}", total - second),
            None => reason,
        }
    }

    fn table(&self) -> Vec<String> {
        let prefix = self.endpoints.iter().any(|endpoint| endpoint.prefix.is_some());
        let mut head = vec!["rank".to_owned(), "endpoint".to_owned()];
        head.extend(self.scorers.iter().map(|(name, weight)| format!("{name} × {weight}")));
        head.push("total".to_owned());
        if prefix {
            head.extend(["cached tokens".to_owned(), "index".to_owned()]);
        }
        head.push(String::new());
        let mut rows = vec![head];
        for (rank, endpoint) in (1..).zip(&self.endpoints) {
            let mut row = endpoint.cells(rank, self.scorers.len());
            let note = row.pop().unwrap_or_default();
            if prefix {
                row.extend(endpoint.prefix.map_or_else(|| [String::new(), String::new()], |found| cached(&found)));
            }
            row.push(note);
            rows.push(row);
        }
        align(&rows)
    }
}

impl EndpointExplanation {
    fn ranking(&self) -> Option<(&str, f64, Turn)> {
        match &self.fate {
            Fate::Ranked { total, turn, .. } => Some((&self.endpoint, *total, *turn)),
            Fate::Dropped { .. } => None,
        }
    }

    /// Rank, name, a cell per scorer, the total, and a note.
    fn cells(&self, rank: usize, scorers: usize) -> Vec<String> {
        match &self.fate {
            Fate::Dropped { by } => {
                let mut cells = vec!["-".to_owned(), self.endpoint.clone()];
                cells.extend((0..=scorers).map(|_| "-".to_owned()));
                cells.push(format!("dropped by {by}"));
                cells
            }
            Fate::Ranked { scores, total, picked, turn, .. } => {
                let mut cells = vec![rank.to_string(), self.endpoint.clone()];
                cells.extend(scores.iter().chain([total]).map(|score| format!("{score:.3}")));
                cells.push(match turn {
                    Turn::Chosen => "chosen".to_owned(),
                    Turn::Failed => "failed".to_owned(),
                    Turn::Waiting if *picked => "picked too".to_owned(),
                    Turn::Waiting => String::new(),
                });
                cells
            }
        }
    }
}

fn cached(found: &PrefixMatch) -> [String; 2] {
    let sure = match found.state {
        WorkerState::Exact if found.speculative > 0 => "exact, partly expected".to_owned(),
        state => state.to_string(),
    };
    [found.hit_tokens.to_string(), sure]
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Lines of columns: the second, a name, and the last, a note, to the left, numbers to the right.
fn align(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows[0].len();
    let widths: Vec<_> = (0..columns)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 1 || column + 1 == columns { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
