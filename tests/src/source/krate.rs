//! A crate's sources: its modules, what each names, and what its root offers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Name, named, without_tests, words};
use crate::checkout;

/// The sources of one crate.
#[derive(Debug)]
pub struct Krate {
    /// Its files but those that only tests have.
    pub modules: Vec<Module>,
    /// Which module the names come from that the root offers: `Error` → `error`.
    pub offered: BTreeMap<String, String>,
}

/// One file.
#[derive(Debug)]
pub struct Module {
    /// Where it lies, from the checkout's root.
    pub file: PathBuf,
    /// Its place in the crate: `["index", "explain"]`; empty for the root and for binaries.
    pub path: Vec<String>,
    /// What it names.
    pub names: Vec<Name>,
    /// The modules it declares; `true` for those that are `pub`.
    pub declares: BTreeMap<String, bool>,
}

impl Krate {
    /// Reads the files below `folder`.
    pub fn read(folder: &str) -> Self {
        let files = checkout::files(folder).into_iter().filter(|file| file.extension().is_some_and(|end| end == "rs"));
        let files = files.filter_map(|file| Some((checkout::text(&file)?, file)));
        Self::of(folder, files.map(|(text, file)| (file, text)).collect())
    }

    /// The crate with these files below `folder`.
    pub fn of(folder: &str, files: Vec<(PathBuf, String)>) -> Self {
        let mut only_tests: Vec<Vec<String>> = Vec::new();
        let mut modules = Vec::new();
        for (file, text) in files {
            let path = place(folder, &file);
            let words = words(&text);
            let (words, hidden) = without_tests(&words);
            only_tests.extend(hidden.iter().map(|name| [path.as_slice(), &[(*name).to_owned()]].concat()));
            let mut declares = BTreeMap::new();
            for (at, pair) in words.windows(3).enumerate().filter(|(_, three)| three[0].text == "mod") {
                let is_public = at > 0 && words[at - 1].text == "pub";
                if matches!(pair[2].text, ";" | "{") {
                    declares.insert(pair[1].text.to_owned(), is_public);
                }
            }
            modules.push(Module { names: named(&words, &path), file, path, declares });
        }
        modules.retain(|module| !only_tests.iter().any(|hidden| module.path.starts_with(hidden)));
        let root = modules.iter().find(|module| module.file.ends_with("lib.rs"));
        let offered = root.map(offered).unwrap_or_default();
        Self { modules, offered }
    }

    /// The modules that stand directly below the root. Those of a binary are its own where there is a library too.
    pub fn top_modules(&self) -> Vec<&str> {
        let roots = || self.modules.iter().filter(|module| module.path.is_empty());
        let library = roots().find(|root| root.file.ends_with("lib.rs"));
        let declared = library.or_else(|| roots().next()).map(|root| &root.declares);
        declared.into_iter().flat_map(|declares| declares.keys()).map(String::as_str).collect()
    }

    /// The module directly below the root that a name leads to, as far as it leads into this crate.
    pub fn top_module_of<'a>(&'a self, name: &'a Name) -> Option<&'a str> {
        let first = name.in_crate()?.first()?;
        let offered = self.offered.get(first).map(String::as_str);
        offered.or_else(|| self.top_modules().contains(&first.as_str()).then_some(first))
    }

    /// Whether everybody can reach the module at `path`.
    pub fn is_public(&self, path: &[String]) -> bool {
        (0..path.len()).all(|len| {
            let parents = self.modules.iter().filter(|module| module.path == path[..len]);
            parents.into_iter().any(|parent| parent.declares.get(&path[len]) == Some(&true))
        })
    }
}

/// Where a file stands in its crate.
fn place(folder: &str, file: &std::path::Path) -> Vec<String> {
    let inside = file.strip_prefix(folder).unwrap_or(file).with_extension("");
    let mut path: Vec<_> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if path.first().is_some_and(|first| first == "bin") {
        path.clear();
    }
    if path.last().is_some_and(|last| matches!(last.as_str(), "lib" | "main" | "mod")) {
        path.pop();
    }
    path
}

fn offered(root: &Module) -> BTreeMap<String, String> {
    let exports = root.names.iter().filter(|name| name.is_export);
    let inside = exports.filter_map(|name| {
        let path = name.in_crate().unwrap_or(&name.segments);
        let [module, .., last] = path else { return None };
        root.declares.contains_key(module).then(|| (last.clone(), module.clone()))
    });
    inside.collect()
}
