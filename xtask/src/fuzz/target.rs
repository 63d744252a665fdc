//! What is fuzzed.

use clap::ValueEnum;

/// A program of the workspace `fuzz`.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Target {
    /// Engines' names for blocks
    EngineHash,
    /// The messages of vLLM and SGLang
    Events,
    /// The bytes of a grant
    Grant,
    /// The index beside its model
    Index,
    /// The index on any events
    IndexEvents,
    /// The text by which a decoder fetches what was prefilled
    Params,
    /// What agents say to each other
    Peers,
    /// The order of a stream
    Sequencer,
    /// The bytes of a snapshot
    Snapshot,
    /// The answers of TensorRT-LLM
    Trtllm,
}

impl Target {
    pub(super) const ALL: [Self; 10] = [
        Self::EngineHash,
        Self::Events,
        Self::Grant,
        Self::Index,
        Self::IndexEvents,
        Self::Params,
        Self::Peers,
        Self::Sequencer,
        Self::Snapshot,
        Self::Trtllm,
    ];

    /// The name of its program.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::EngineHash => "engine_hash",
            Self::Events => "events",
            Self::Grant => "grant",
            Self::Index => "index",
            Self::IndexEvents => "index_events",
            Self::Params => "params",
            Self::Peers => "peers",
            Self::Sequencer => "sequencer",
            Self::Snapshot => "snapshot",
            Self::Trtllm => "trtllm",
        }
    }

    /// Whether it reads what engines publish, so that recordings of that are a good beginning.
    pub(super) const fn reads_messages(self) -> bool {
        matches!(self, Self::Events | Self::IndexEvents)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_program_is_a_target_under_its_name() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
        let file = |entry: fs::DirEntry| entry.path().file_stem().unwrap().to_string_lossy().into_owned();
        let mut programs: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| file(entry.unwrap())).collect();
        programs.sort_unstable();

        assert_eq!(programs, Target::ALL.map(Target::name));
        let words =
            Target::value_variants().iter().map(|target| target.to_possible_value().unwrap().get_name().to_owned());
        assert_eq!(words.collect::<Vec<_>>(), programs);
    }
}
