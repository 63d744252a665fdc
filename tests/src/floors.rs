//! The rules that Cargo cannot see: who may name whom inside a crate, and what a part that thinks may not name.
//!
//! Each rule gives its breaches, one line each, with the place and what to do.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Krate, Module, Name};

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
            if name.segments.len() > 1 && SHELL_LIBRARIES.contains(&name.segments[0].as_str()) {
                breaches.push(at(module, name, "a part that thinks does no I/O: this library is the shell's"));
            }
        }
    }
    breaches
}

/// Dependencies of a crate that is planned to know less: our own above or beside it, and the shell's libraries where
/// everything thinks.
pub fn dependencies<'a>(plan: &Plan, ours: &[&str], depends_on: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut breaches = Vec::new();
    for dependency in depends_on {
        if ours.contains(&dependency) && !plan.knows.contains(&dependency) {
            breaches.push(format!("{} depends on {dependency}, which stands above or beside it", plan.package));
        }
        let is_shell = SHELL_LIBRARIES.contains(&dependency.replace('-', "_").as_str());
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

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        package: "llmd-core",
        sources: "k/src",
        knows: &[],
        floors: &[&["error"], &["event", "hash"], &["index"]],
        thinks: Thinks::Everywhere,
    };

    /// A crate with one line in each module, in which one of them is replaced.
    fn krate(file: &str, text: &str) -> Krate {
        let root = "mod error; pub mod event; pub mod hash; pub mod index; pub use error::Error;";
        let plain = [
            ("lib.rs", root),
            ("error.rs", "use std::time::Duration;"),
            ("event.rs", "use crate::Error;"),
            ("hash.rs", "use super::Error;"),
            ("index.rs", "mod span; use crate::{event, hash::Chain};"),
            ("index/span.rs", "use super::Thing; use crate::Error;"),
        ];
        let files =
            plain.map(|(each, plain)| (format!("k/src/{each}").into(), if each == file { text } else { plain }));
        Krate::of("k/src", files.map(|(file, text)| (file, text.to_owned())).to_vec())
    }

    fn only(breaches: &[String], wanted: &str) {
        assert!(matches!(breaches, [one] if one.contains(wanted)), "wanted one `{wanted}`, got {breaches:#?}");
    }

    #[test]
    fn a_crate_that_keeps_to_its_floors_breaches_nothing() {
        let krate = krate("", "");

        assert_eq!(upward(&PLAN, &krate), [""; 0]);
        assert_eq!(outside(&PLAN, &krate), [""; 0]);
        assert_eq!(two_paths(&["llmd-core"], &krate), [""; 0]);
    }

    #[test]
    fn a_lower_module_that_names_an_upper_one_is_found_however_it_says_it() {
        for text in [
            "use crate::index::Overlap;",
            "use super::index;",
            "use crate::{Error, index::{Overlap}};",
            "fn f(x: &crate::index::Overlap) {}",
            "pub(crate) use crate::index as i;",
        ] {
            only(&upward(&PLAN, &krate("event.rs", text)), "`index` stands above `event`");
        }
        only(&upward(&PLAN, &krate("error.rs", "use crate::hash;")), "k/src/error.rs:1: `crate::hash`");
    }

    #[test]
    fn what_the_root_offers_stands_where_it_was_written() {
        let root = "mod error; pub mod event; pub mod hash; pub mod index; pub use index::Overlap;";
        let mut krate = krate("lib.rs", root);
        assert_eq!(krate.offered["Overlap"], "index");

        krate.modules.retain(|module| module.path.is_empty());
        let event = Krate::of("k/src", vec![("k/src/event.rs".into(), "use crate::Overlap;".into())]);
        krate.modules.extend(event.modules);
        only(&upward(&PLAN, &krate), "`index` stands above `event`");
    }

    #[test]
    fn siblings_do_not_name_each_other() {
        only(&upward(&PLAN, &krate("hash.rs", "use crate::event::KvEvent;")), "are siblings");
    }

    #[test]
    fn a_comment_a_string_or_a_test_may_say_what_it_likes() {
        for text in [
            "/// See [`crate::index`].\nfn f() {}",
            "const S: &str = \"crate::index\";",
            "#[cfg(test)] mod tests { use crate::index::Overlap; use std::time::Instant; }",
        ] {
            let krate = krate("event.rs", text);
            assert_eq!([upward(&PLAN, &krate), outside(&PLAN, &krate)].concat(), [""; 0]);
        }
    }

    #[test]
    fn a_module_without_a_floor_and_a_floor_without_its_module_are_found() {
        let root = "mod error; pub mod event; pub mod hash; pub mod index; mod extra;";
        only(&upward(&PLAN, &krate("lib.rs", root)), "module `extra` stands on no floor");
        let plan = Plan { floors: &[&["error"], &["event", "hash"], &["index"], &["testing"]], ..PLAN };
        only(&upward(&plan, &krate("", "")), "module `testing` is planned, but not there");
    }

    #[test]
    fn a_module_that_takes_the_whole_root_is_found() {
        only(&upward(&PLAN, &krate("event.rs", "use crate::*;")), "names everything");
    }

    #[test]
    fn a_clock_a_thread_a_socket_and_a_file_are_found() {
        for (text, wanted) in [
            ("use std::time::Instant;", "clock"),
            ("use std::time::{Duration, SystemTime};", "clock"),
            ("fn f() { std::thread::sleep(D) }", "threads"),
            ("use std::{collections::HashMap, net::TcpStream};", "sockets"),
            ("use std::fs::File;", "files"),
            ("use std::env;", "environment"),
            ("use rand::rng;", "chance"),
            ("use tokio::sync::mpsc;", "does no I/O"),
            ("fn f() { rustix::fs::open() }", "does no I/O"),
        ] {
            only(&outside(&PLAN, &krate("index/span.rs", text)), wanted);
        }
    }

    #[test]
    fn a_crate_that_thinks_in_one_module_may_read_the_clock_in_the_others() {
        let plan = Plan { thinks: Thinks::In(&["index"]), ..PLAN };

        assert_eq!(outside(&plan, &krate("event.rs", "use std::time::Instant;")), [""; 0]);
        only(&outside(&plan, &krate("index/span.rs", "use std::time::Instant;")), "clock");
    }

    #[test]
    fn a_dependency_above_or_beside_is_found_and_so_is_a_runtime() {
        let ours = ["llmd-core", "llmd-routing"];
        let of = |name| dependencies(&PLAN, &ours, [name]);

        only(&of("llmd-routing"), "stands above or beside it");
        only(&of("tokio"), "does I/O");
        only(&of("hyper-util"), "does I/O");
        assert_eq!(of("smallvec"), [""; 0]);
        assert_eq!(dependencies(&Plan { knows: &["llmd-routing"], ..PLAN }, &ours, ["llmd-routing"]), [""; 0]);
    }

    #[test]
    fn a_second_path_to_the_same_thing_is_found() {
        let ours = ["llmd-core"];
        let root = "mod error; pub mod event; pub mod hash; pub mod index; ";
        let offers = |more: &str| two_paths(&ours, &krate("lib.rs", &format!("{root}{more}")));

        only(&offers("pub use index::Overlap;"), "two paths");
        only(&offers("pub use error::Error; pub use error::Error;"), "two paths");
        only(&offers("pub use llmd_core::Error;"), "another crate of ours");
        only(&two_paths(&ours, &krate("index.rs", "pub use crate::hash::Chain;")), "two paths");
        assert_eq!(two_paths(&ours, &krate("index.rs", "mod span; pub use span::Thing;")), [""; 0]);
        assert_eq!(offers("pub(crate) use index::Overlap;"), [""; 0]);
    }
}
