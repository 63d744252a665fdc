//! The rules that Cargo cannot see: who may name whom inside a crate, and what a part that thinks may not name.
//!
//! Each rule gives its breaches, one line each, with the place and what to do.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Krate, Module, Name};

#[cfg(test)]
mod tests;

/// What holds for one crate.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The name of its package.
    pub package: &'static str,
    /// Where its sources lie, from the checkout's root.
    pub sources: &'static str,
    /// Which of our own packages it may depend on.
    pub knows: &'static [&'static str],
    /// Its modules, lowest floor first; those on one floor do not name each other. Empty where floors do not matter.
    pub floors: &'static [&'static [&'static str]],
    /// Which of its modules do no I/O, own no thread and read no clock.
    pub thinks: Thinks,
}

/// Which modules of a crate do no I/O, own no thread and read no clock.
#[derive(Clone, Copy, Debug)]
pub enum Thinks {
    /// All of them.
    Everywhere,
    /// These, directly below the root.
    In(&'static [&'static str]),
}

impl Thinks {
    fn at(self, module: &Module) -> bool {
        match self {
            Self::Everywhere => true,
            Self::In(modules) => module.path.first().is_some_and(|top| modules.contains(&top.as_str())),
        }
    }
}

/// A lower module that names an upper one, a module that names its sibling, and modules that the plan does not know or
/// that are not there.
pub fn upward(plan: &Plan, krate: &Krate) -> Vec<String> {
    let floor_of: BTreeMap<&str, usize> = plan
        .floors
        .iter()
        .enumerate()
        .flat_map(|(floor, modules)| modules.iter().map(move |name| (*name, floor)))
        .collect();
    if floor_of.is_empty() {
        return Vec::new();
    }
    let there: BTreeSet<_> = krate.top_modules().into_iter().collect();
    let planned: BTreeSet<_> = floor_of.keys().copied().collect();
    let mut breaches: Vec<_> = there
        .difference(&planned)
        .map(|name| format!("{}: module `{name}` stands on no floor", plan.package))
        .collect();
    breaches.extend(
        planned.difference(&there).map(|name| format!("{}: module `{name}` is planned, but not there", plan.package)),
    );
    for module in &krate.modules {
        let Some(from) = module.path.first().map(String::as_str).filter(|top| there.contains(top)) else { continue };
        for name in &module.names {
            if name.in_crate().is_some_and(|path| path.first().is_some_and(|first| first == "*")) {
                breaches.push(at(module, name, "names everything that the root has: name what is needed"));
            }
            let Some(to) = krate.top_module_of(name).filter(|to| *to != from) else { continue };
            match floor_of.get(to).cmp(&floor_of.get(from)) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => {
                    breaches.push(at(
                        module,
                        name,
                        &format!("`{from}` and `{to}` are siblings and do not name each other"),
                    ));
                }
                std::cmp::Ordering::Greater => {
                    breaches.push(at(module, name, &format!("`{to}` stands above `{from}`: move what is needed down")));
                }
            }
        }
    }
    breaches
}

/// What a part that thinks may not name, and what it is.
const OUTSIDE: [(&str, &str); 14] = [
    ("std::env", "the environment: take the value as an argument"),
    ("std::fs", "files: take the bytes as an argument"),
    ("std::io::Stdin", "the terminal"),
    ("std::io::stderr", "the terminal"),
    ("std::io::stdin", "the terminal"),
    ("std::io::stdout", "the terminal"),
    ("std::net", "sockets: they live in the shell"),
    ("std::os", "the operating system: it is the shell's"),
    ("std::process", "processes: return an error"),
    ("std::thread", "threads: they are the shell's"),
    ("rand::random", "chance: take `rng` as an argument"),
    ("rand::rng", "chance: take `rng` as an argument"),
    ("rand::rngs::SysRng", "chance: take `rng` as an argument"),
    ("rand::thread_rng", "chance: take `rng` as an argument"),
];

/// Clocks, by any path.
const CLOCKS: [&str; 2] = ["Instant", "SystemTime"];

/// Libraries that do I/O, own threads or read clocks.
const SHELL_LIBRARIES: [&str; 14] = [
    "async_io",
    "futures",
    "hyper",
    "hyper_util",
    "libc",
    "mio",
    "reqwest",
    "rustix",
    "socket2",
    "tokio",
    "tokio_util",
    "tonic",
    "tracing_subscriber",
    "zeromq",
];

/// What those that think may name of such libraries: it does no I/O, owns no thread and reads no clock.
const EXCEPTED: [&str; 1] = ["rustix::mm"];

/// A part that thinks and names a clock, a thread, a socket, a file, or a library that does.
pub fn outside(plan: &Plan, krate: &Krate) -> Vec<String> {
    let mut breaches = Vec::new();
    for module in krate.modules.iter().filter(|module| plan.thinks.at(module)) {
        for name in &module.names {
            if let Some((_, what)) = OUTSIDE.iter().find(|(path, _)| name.begins_with(path)) {
                breaches.push(at(module, name, &format!("a part that thinks does not name {what}")));
            }
            if name.segments.iter().any(|segment| CLOCKS.contains(&segment.as_str())) {
                breaches.push(at(module, name, "a part that thinks reads no clock: take `now: Duration`"));
            }
            let is_excepted = EXCEPTED.iter().any(|path| name.begins_with(path));
            if name.segments.len() > 1 && !is_excepted && SHELL_LIBRARIES.contains(&name.segments[0].as_str()) {
                breaches.push(at(module, name, "a part that thinks does no I/O: this library is the shell's"));
            }
        }
    }
    breaches
}

/// Dependencies of a crate that is planned to know less: our own above or beside it, and the shell's libraries where
/// everything thinks, but for those of which such parts may name something.
pub fn dependencies<'a>(plan: &Plan, ours: &[&str], depends_on: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut breaches = Vec::new();
    for dependency in depends_on {
        if ours.contains(&dependency) && !plan.knows.contains(&dependency) {
            breaches.push(format!("{} depends on {dependency}, which stands above or beside it", plan.package));
        }
        let library = dependency.replace('-', "_");
        let is_excepted = EXCEPTED.iter().any(|path| path.split("::").next() == Some(&library));
        let is_shell = !is_excepted && SHELL_LIBRARIES.contains(&library.as_str());
        if is_shell && matches!(plan.thinks, Thinks::Everywhere) {
            breaches.push(format!("{} thinks, and depends on {dependency}, which does I/O", plan.package));
        }
    }
    breaches
}

/// What others can reach by two paths: exported from a module that is public itself, twice, or from another crate of
/// ours.
pub fn two_paths(ours: &[&str], krate: &Krate) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut exported = BTreeSet::new();
    for module in krate.modules.iter().filter(|module| krate.is_public(&module.path)) {
        for name in module.names.iter().filter(|name| name.is_export) {
            let first = name.segments.first().map(String::as_str).unwrap_or_default();
            if ours.iter().any(|package| package.replace('-', "_") == first) {
                breaches.push(at(module, name, "belongs to another crate of ours, and has its path there"));
                continue;
            }
            let target = match name.in_crate() {
                Some(path) => path.to_vec(),
                None if module.declares.contains_key(first) => [module.path.as_slice(), &name.segments].concat(),
                None => continue,
            };
            let parent = &target[..target.len() - 1];
            let is_written_here = parent == module.path;
            if !is_written_here && krate.is_public(parent) || !exported.insert(target.clone()) {
                breaches.push(at(module, name, "can be reached by two paths: one name, one path"));
            }
        }
    }
    breaches
}

fn at(module: &Module, name: &Name, why: &str) -> String {
    format!("{}:{}: `{name}`: {why}", module.file.display(), name.line)
}
