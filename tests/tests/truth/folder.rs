//! Captures that are not in this repository: every file of a folder, in the forms of `tests/fixtures/vllm-0.32-truth`
//! and `tests/fixtures/vllm-0.32`.

use std::fmt;
use std::path::{Path, PathBuf};

use llmd_core::index::{ExactIndex, IndexSettings};
use llmd_core::testing::ModelIndex;

use crate::capture::Capture;
use crate::messages::Messages;
use crate::replay::{Found, How, replay};

/// One recording, in one of the two forms.
enum Recording {
    /// With what the engine held.
    Truth(Capture),
    /// With what it said only: compared with what follows from its own names.
    Messages(Messages),
}

impl Recording {
    fn read(path: &Path) -> Result<Self, String> {
        if path.extension().is_some_and(|end| end == "gz") {
            Capture::read(path).map(Self::Truth)
        } else {
            Messages::read(path).map(Self::Messages)
        }
    }

    /// What was found, by the name of the index.
    fn replay(&self) -> [(&'static str, Found); 2] {
        let settings = IndexSettings::default().with_block_size(self.block_size());
        let model = ModelIndex::new(settings);
        let model = (model.clone(), model);
        let exact = ExactIndex::new(settings);
        let (model, exact) = match self {
            Self::Truth(capture) => (replay(capture, model, How::default()), replay(capture, exact, How::default())),
            Self::Messages(messages) => (messages.replay(model), messages.replay(exact)),
        };
        [("the model", model), ("the index", exact)]
    }

    fn block_size(&self) -> usize {
        match self {
            Self::Truth(capture) => capture.config.hash_block_size,
            Self::Messages(messages) => messages.block_size(),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { steps, lookups, short, wrong, .. } = self;
        write!(
            f,
            "{steps} steps, {lookups} lookups, {} wrong, {} short and not called exact",
            wrong.len(),
            short.len()
        )?;
        wrong.iter().take(8).try_for_each(|wrong| write!(f, "\n    {wrong}"))
    }
}

/// The recordings of a folder: all files that end in `.json.gz` or `.json`, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let is_one = |path: &PathBuf| [".json", ".json.gz"].iter().any(|end| path.to_string_lossy().ends_with(end));
    let mut files: Vec<_> = paths.filter(is_one).collect();
    assert!(!files.is_empty(), "{}: expected files that end in .json.gz or .json", folder.display());
    files.sort();
    files
}

/// Replays every file, says what came of it, and gives the complaints.
fn complaints(folder: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    for path in files(folder) {
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let recording = match Recording::read(&path) {
            Ok(recording) => recording,
            Err(error) => {
                println!("{name}: not of a known form: {error}");
                complaints.push(format!("{name} is not of a known form"));
                continue;
            }
        };
        for (index, found) in recording.replay() {
            println!("{name}, {index}: {found}");
            if !found.wrong.is_empty() {
                complaints.push(format!("{name}: {index} was wrong {} times", found.wrong.len()));
            }
        }
    }
    complaints
}

#[test]
#[ignore = "`cargo xtask test --captures DIR` runs it on a folder of captures"]
fn every_capture_of_a_folder_is_replayed() {
    let folder = std::env::var_os("LLMD_CAPTURES").expect("LLMD_CAPTURES names a folder");
    let complaints = complaints(Path::new(&folder));
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn the_recordings_without_truth_are_replayed_too() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/vllm-0.32");
    let (mut steps, mut lookups, mut shared) = (0, 0, 0);
    for path in files(&fixtures) {
        let name = path.to_string_lossy().into_owned();
        if name.contains("hash_vectors") || name.contains("wire_versions") {
            assert!(Recording::read(&path).is_err(), "{name} is no recording");
            continue;
        }
        let recording = Recording::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (_, found) in recording.replay() {
            assert_eq!(found.wrong, [""; 0], "{name}");
            assert!(found.steps > 0 && found.lookups > 0 && found.hits > 0, "{name}: {found}");
            steps += found.steps;
            lookups += found.lookups;
            shared += found.shared;
        }
    }
    assert!(steps > 150 && lookups > 500 && shared > 0, "{steps} steps, {lookups} lookups, {shared} of shared blocks");
}
