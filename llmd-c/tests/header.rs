//! `include/llmd.h` is what the sources declare. `UPDATE_EXPECT=1` writes it anew.

use std::fs;
use std::path::{Path, PathBuf};

use cbindgen::{Builder, Config};

/// The sources, in the order in which the header should be read.
const SOURCES: [&str; 20] = [
    "status.rs",
    "error.rs",
    "string.rs",
    "version.rs",
    "namespace.rs",
    "hasher.rs",
    "events/event.rs",
    "events/fault.rs",
    "events/mod.rs",
    "index/mod.rs",
    "index/fed.rs",
    "index/workers.rs",
    "index/query.rs",
    "index/stats.rs",
    "endpoint.rs",
    "request.rs",
    "scheduler/mod.rs",
    "scheduler/needs.rs",
    "decision/usage.rs",
    "decision/mod.rs",
];

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn the_header_is_what_the_sources_declare() {
    let config = Config::from_file(here().join("cbindgen.toml")).unwrap();
    let sources = SOURCES.iter().map(|source| here().join("src").join(source));
    let builder = sources.fold(Builder::new().with_config(config), Builder::with_src);
    let mut made = Vec::new();
    builder.generate().unwrap().write(&mut made);

    expect_test::expect_file!["../include/llmd.h"].assert_eq(&String::from_utf8(made).unwrap());
}

#[test]
fn no_source_that_declares_something_is_left_out() {
    let sources = here().join("src");
    let declares = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        text.contains("#[unsafe(no_mangle)]") || text.contains("#[repr(C)]\npub ")
    };
    let mut found: Vec<_> = files(&sources).into_iter().filter(declares).collect();
    let mut listed: Vec<_> = SOURCES.iter().map(|source| sources.join(source)).collect();
    found.sort();
    listed.sort();

    assert_eq!(found, listed);
}
