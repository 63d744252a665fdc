//! The checkout as it lies on disk.

use std::fs;
use std::path::{Path, PathBuf};

/// What is built or fetched, and belongs to nobody's hand.
const MADE: [&str; 4] = [".git", ".venv", "__pycache__", "target"];

/// Where the workspace lies.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in the workspace")
}

/// Every file below `folder` that somebody wrote, in order, as paths from [`root`].
pub fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found.sort_unstable();
    found.into_iter().map(|path| path.strip_prefix(root()).expect("found below the root").to_owned()).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if MADE.contains(&name.as_ref()) || name.starts_with("target-") {
            continue;
        }
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The text of a file, given by its path from [`root`]; `None` when it is not text.
pub fn text(file: &Path) -> Option<String> {
    String::from_utf8(fs::read(root().join(file)).ok()?).ok()
}
