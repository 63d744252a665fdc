//! The faults and what the index made of them, in words.

use crate::fault::{FaultResult, WorkerFate};
use crate::index::Change;
use crate::report::table::Table;

/// States that are shown of one worker; between the first and the last of more, the middle is left out.
const MOST_CHANGES: usize = 7;

/// What was done to each engine, how its state went, and whether the index was right in the end.
pub(crate) fn table(result: &FaultResult) -> Table {
    let mut table = Table::new(["engine", "gaps", "replays", "blocks", "wrong", "what was done to it"]);
    for worker in &result.workers {
        table.row([
            worker.name.clone(),
            worker.gaps.to_string(),
            worker.replays.to_string(),
            worker.blocks.to_string(),
            worker.wrong_blocks.as_ref().map_or_else(|_| "unknown".to_owned(), usize::to_string),
            worker.fault.to_owned(),
        ]);
    }
    table
}

/// One line for each engine: its states and when they began, by the gateway's clock.
pub(crate) fn timelines(workers: &[WorkerFate]) -> String {
    workers.iter().map(|worker| format!("{}  {}\n", worker.name, timeline(&worker.timeline))).collect()
}

fn timeline(changes: &[Change]) -> String {
    let word = |change: &Change| format!("{} {:.2} s", change.state, change.at);
    let arrow = " → ";
    if changes.len() <= MOST_CHANGES {
        return changes.iter().map(word).collect::<Vec<_>>().join(arrow);
    }
    let (head, tail) = (&changes[..MOST_CHANGES / 2], &changes[changes.len() - MOST_CHANGES / 2..]);
    let mut words: Vec<String> = head.iter().map(word).collect();
    words.push(format!("… {} more …", changes.len() - head.len() - tail.len()));
    words.extend(tail.iter().map(word));
    words.join(arrow)
}

/// What the requests felt of it.
pub(crate) fn summary(result: &FaultResult) -> String {
    let recovery = result.recovery.map_or_else(
        || "the index never knew the restarted engine exactly again".to_owned(),
        |time| format!("{} ms (wall) from the restarted engine's ready line to exact again", time.as_millis()),
    );
    format!(
        "{} requests: {} failed before the first byte, {} cut after it, {} sent to another engine; {recovery}",
        result.samples.len(),
        result.failed_before_first_byte(),
        result.cut_streams(),
        result.retried(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(states: &[&str]) -> Vec<Change> {
        (0..).map(f64::from).zip(states).map(|(at, &state)| Change { at, state: state.to_owned() }).collect()
    }

    #[test]
    fn a_timeline_reads_from_left_to_right() {
        let crash = changes(&["exact", "recovering", "exact"]);
        assert_eq!(timeline(&crash), "exact 0.00 s → recovering 1.00 s → exact 2.00 s");
    }

    #[test]
    fn the_middle_of_a_long_timeline_is_counted() {
        let states: Vec<&str> = ["exact", "recovering"].into_iter().cycle().take(21).collect();
        let text = timeline(&changes(&states));
        assert!(text.starts_with("exact 0.00 s → recovering 1.00 s → exact 2.00 s → … 15 more … → "), "{text}");
        assert!(text.ends_with("exact 18.00 s → recovering 19.00 s → exact 20.00 s"), "{text}");
    }
}
