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
    let files = plain.map(|(each, plain)| (format!("k/src/{each}").into(), if each == file { text } else { plain }));
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
    assert_eq!(outside(&PLAN, &krate("index/span.rs", "use rustix::mm::munmap;")), [""; 0], "memory is no I/O");
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
    assert_eq!(of("rustix"), [""; 0], "what is named of it is looked at");
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
