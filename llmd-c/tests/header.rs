//! `include/llmd.h` is what the sources declare. `UPDATE_EXPECT=1` writes it anew.

use std::fs;
use std::path::{Path, PathBuf};

use cbindgen::{Builder, Config};

/// The modules, in the order in which the header should be read; each brings those below it.
const MODULES: [&str; 18] = [
    "status",
    "error",
    "string",
    "bytes",
    "version",
    "namespace",
    "hasher",
    "events",
    "index",
    "endpoint",
    "request",
    "scheduler",
    "check",
    "decision",
    "device",
    "region",
    "layout",
    "agent",
];

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where a module of this name begins.
fn file(module: &str) -> PathBuf {
    let sources = here().join("src");
    let folder = sources.join(module).join("mod.rs");
    if folder.exists() { folder } else { sources.join(module).with_extension("rs") }
}

/// Every source file below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).expect("the sources are there").map(|entry| entry.expect("they can be listed").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn the_header_is_what_the_sources_declare() {
    let config = Config::from_file(here().join("cbindgen.toml")).unwrap();
    let builder = MODULES.iter().map(|module| file(module)).fold(Builder::new().with_config(config), Builder::with_src);
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
    let declaring: Vec<_> = files(&sources).into_iter().filter(declares).collect();
    let module = |file: &PathBuf| {
        let below = file.strip_prefix(&sources).unwrap().iter().next().unwrap();
        Path::new(below).with_extension("").display().to_string()
    };
    let mut found: Vec<_> = declaring.iter().map(module).collect();
    found.sort();
    found.dedup();
    let mut listed = MODULES.to_vec();
    listed.sort_unstable();

    assert!(declaring.len() > 15, "only {} files declare something", declaring.len());
    assert_eq!(found, listed);
}
