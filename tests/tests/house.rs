//! The house is in order: links lead somewhere, files that are named exist, decisions are listed, and nothing says where
//! somebody's machine keeps it.

use std::fs;
use std::path::{Path, PathBuf};

use llmd_tests::{checkout, machine_path, page};

/// Every page but those that came with captures of others.
fn pages() -> Vec<(PathBuf, String)> {
    let files = checkout::files("").into_iter().filter(|file| file.extension().is_some_and(|end| end == "md"));
    let pages: Vec<_> =
        files.filter_map(|file| Some((checkout::text(&file)?, file))).map(|(text, file)| (file, text)).collect();
    assert!(pages.iter().any(|(file, _)| file == Path::new("README.md")), "there is no README.md");
    pages
}

fn exists(path: &Path) -> bool {
    checkout::root().join(path).exists()
}

fn nothing(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_link_leads_somewhere() {
    let mut links = 0;
    let mut broken = Vec::new();
    for (file, text) in pages() {
        for target in page::links(&file, &text) {
            links += 1;
            if !exists(&target) {
                broken.push(format!("{} links to {}, which is not there", file.display(), target.display()));
            }
        }
    }

    nothing(&broken);
    assert!(links > 5, "only {links} links were read");
}

#[test]
fn every_file_that_a_page_names_exists() {
    let folders = fs::read_dir(checkout::root()).expect("the checkout is there").flatten();
    let folders = folders.filter(|entry| entry.path().is_dir() && entry.file_name() != "target");
    let folders: Vec<_> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let mut names = 0;
    let mut missing = Vec::new();
    for (file, text) in pages() {
        for name in page::files_named(&text, &folders) {
            names += 1;
            if !exists(Path::new(name)) {
                missing.push(format!("{} names `{name}`, which is not there", file.display()));
            }
        }
    }

    nothing(&missing);
    assert!(names > 5, "only {names} names were read");
}

#[test]
fn no_file_holds_a_path_of_a_machine() {
    let files = checkout::files("").into_iter();
    let files: Vec<_> = files.filter(|file| !file.iter().any(|part| part == "fixtures")).collect();
    assert!(files.len() > 100, "only {} files were read", files.len());
    let found = files.iter().filter_map(|file| {
        let text = checkout::text(file)?;
        let (line, path) = machine_path::first(&text)?;
        Some(format!("{}:{line}: {path}", file.display()))
    });

    nothing(&found.collect::<Vec<_>>());
}

#[test]
fn every_decision_is_listed() {
    let decisions = checkout::files("docs/adr");
    let list = checkout::text(Path::new("docs/adr/README.md")).expect("docs/adr/README.md is there");
    let listed = page::links(Path::new("docs/adr/README.md"), &list);
    let unlisted = decisions.iter().filter(|file| !file.ends_with("README.md") && !listed.contains(file));
    let unlisted: Vec<_> =
        unlisted.map(|file| format!("{} is not listed in docs/adr/README.md", file.display())).collect();

    nothing(&unlisted);
    assert!(decisions.len() > 2, "only {} decisions were read", decisions.len());
}

#[test]
fn every_library_was_invited() {
    let manifest = checkout::text(Path::new("Cargo.toml")).expect("Cargo.toml is there");
    let invited = checkout::text(Path::new("docs/adr/0002-dependencies.md")).expect("the decision is there");
    let table = manifest.split("[workspace.dependencies]").nth(1).expect("the table is there");
    let table = table.split("\n[").next().unwrap_or_default();
    let names = table.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
    let names: Vec<_> = names.filter(|name| !name.starts_with("llmd-")).collect();
    let uninvited = names.iter().filter(|name| !invited.contains(&format!("`{name}`")));
    let uninvited: Vec<_> =
        uninvited.map(|name| format!("{name} has no line in docs/adr/0002-dependencies.md")).collect();

    nothing(&uninvited);
    assert!(names.len() > 20, "only {} libraries were read", names.len());
}
