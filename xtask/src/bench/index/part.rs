//! The parts of the bench, and the processes that each of them takes.

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;

use super::job::Job;

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Part {
    /// Queries with digests given, over the grid
    Grid,
    /// Queries from tokens, over the grid
    E2e,
    /// Hashing alone
    Hash,
    /// A trace of events, replayed
    Events,
    /// What an entry costs in memory
    Memory,
    /// Many conversations under one system prompt
    Fanout,
    /// The longest stall while an index grows
    Growth,
    /// A reader beside a writer
    Readers,
    /// Adversarial caches
    Fuzz,
    /// Captures of real engines
    Truth,
}

const EVERYONE: [&str; 5] = ["llmd", "smg", "dynamo-crtc", "dynamo-radix", "dynamo-positional"];
/// Whom it is worth to ask where a process is needed for each.
const BEST: [&str; 3] = ["llmd", "smg", "dynamo-crtc"];

const BLOCKS: [usize; 5] = [8, 64, 512, 2048, 8192];
const WORKERS: [usize; 4] = [8, 64, 512, 1024];

/// Loads of one index from nothing.
const LOADS: usize = 5;

/// How long one process may take.
const LIMIT: Duration = Duration::from_secs(900);
const QUICK_LIMIT: Duration = Duration::from_secs(60);

impl Part {
    pub(super) const ALL: [Self; 10] = [
        Self::Grid,
        Self::E2e,
        Self::Hash,
        Self::Events,
        Self::Memory,
        Self::Fanout,
        Self::Growth,
        Self::Readers,
        Self::Fuzz,
        Self::Truth,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::E2e => "e2e",
            Self::Hash => "hash",
            Self::Events => "events",
            Self::Memory => "memory",
            Self::Fanout => "fanout",
            Self::Growth => "growth",
            Self::Readers => "readers",
            Self::Fuzz => "fuzz",
            Self::Truth => "truth",
        }
    }

    /// The processes to run, in order. Where memory, a panic or a hang of one index would weigh on others, each has its
    /// own.
    pub(super) fn jobs(self, quick: bool, trace: &Path, captures: &Path) -> Vec<Job> {
        let limit = if quick { QUICK_LIMIT } else { LIMIT };
        let job = |words: &str| Job::new(words, limit);
        let smaller = |words| if quick { words } else { "" };
        let whos = |everyone: &'static [&'static str]| if quick { &BEST[..] } else { everyone };
        match self {
            Self::Grid | Self::E2e => {
                let tokens = if self == Self::E2e { " --tokens" } else { "" };
                let smaller = smaller(" --entries 100000 --windows 3 --window-ms 4");
                let (blocks, workers) =
                    if quick { (&BLOCKS[1..4], &WORKERS[..2]) } else { (&BLOCKS[..], &WORKERS[..]) };
                let cells = blocks.iter().flat_map(|blocks| workers.iter().map(move |workers| (blocks, workers)));
                let cell = |(blocks, workers)| {
                    job(&format!("cell --blocks {blocks} --workers {workers}{tokens}{smaller}")).together()
                };
                cells.map(cell).collect()
            }
            Self::Hash => vec![job(&format!("hash{}", smaller(" --turns 5"))).together()],
            Self::Events => {
                let smaller = smaller(" --requests 1000 --workers 8 --turns 1 --only llmd,smg,dynamo-crtc");
                let replay =
                    |removals| job(&format!("events --removals {removals}{smaller}")).with("--trace", trace).together();
                ["grouped", "single"].map(replay).into()
            }
            Self::Memory => {
                let smaller = smaller(" --entries 500000");
                let whos = whos(&EVERYONE).iter().flat_map(|who| [1, 8].map(|replicas| (who, replicas)));
                whos.map(|(who, replicas)| job(&format!("memory --who {who} --replicas {replicas}{smaller}"))).collect()
            }
            Self::Fanout => {
                let smaller = smaller(" --children 1000,10000");
                BEST.iter().map(|who| job(&format!("fanout --who {who}{smaller}"))).collect()
            }
            Self::Growth => {
                let (smaller, loads) = (smaller(" --entries 300000"), if quick { 1 } else { LOADS });
                let whos = (0..loads).flat_map(|_| BEST);
                whos.map(|who| job(&format!("growth --who {who}{smaller}"))).collect()
            }
            Self::Readers => {
                vec![job(&format!("readers{}", smaller(" --entries 200000 --windows 4 --queries 2000"))).together()]
            }
            Self::Fuzz => vec![job(&format!("fuzz{}", smaller(" --queries 3000"))).together()],
            Self::Truth => vec![job("truth").with("--captures", captures).together()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_work_and_less_of_it_when_it_is_quick() {
        for part in Part::ALL {
            let jobs = |quick| part.jobs(quick, Path::new("trace"), Path::new("captures"));
            let (all, quick) = (jobs(false), jobs(true));
            assert!(!quick.is_empty() && quick.len() <= all.len(), "{part:?}");
        }
    }
}
