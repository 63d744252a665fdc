use std::path::PathBuf;

use super::*;

fn texts(source: &str) -> Vec<&str> {
    words(source).into_iter().map(|word| word.text).collect()
}

fn names(source: &str, module: &[&str]) -> Vec<String> {
    let module: Vec<_> = module.iter().map(|part| (*part).to_owned()).collect();
    let words = words(source);
    let (words, _) = without_tests(&words);
    let paths = named(&words, &module).into_iter().filter(|name| name.segments.len() > 1);
    paths.map(|name| name.to_string()).collect()
}

#[test]
fn comments_say_nothing() {
    assert_eq!(texts("a // Instant\n/* b /* c */ d */ e /// f\n//! g\n"), ["a", "e"]);
}

#[test]
fn strings_say_nothing_whatever_is_in_them() {
    assert_eq!(texts(r#"a "x \" // y" b"z" c"n" d"#), ["a", "d"]);
    assert_eq!(texts("a r\"\\\" b r#\"x \" y\"# c br##\"z \"# \"## d"), ["a", "b", "c", "d"]);
    assert_eq!(texts("a \"two\nlines\" b"), ["a", "b"]);
    assert_eq!(words("\"two\nlines\"\nb")[0].line, 3);
}

#[test]
fn characters_and_lifetimes_are_told_apart() {
    assert_eq!(texts(r"a '\'' b 'x' c '\u{1F600}' d"), ["a", "b", "c", "d"]);
    assert_eq!(texts("b'\"' unsafe"), ["b", "unsafe"]);
    assert_eq!(texts("&'a str, &'static T"), ["&", "str", ",", "&", "T"]);
}

#[test]
fn raw_identifiers_and_words_that_begin_like_strings_are_words() {
    assert_eq!(texts("r#type break crate brr 0x1f 1.0e3"), ["type", "break", "crate", "brr", "."]);
}

#[test]
fn a_list_of_imports_is_written_out() {
    let source = "use crate::{Error, index::{self, Overlap as O, state::*}};";

    assert_eq!(
        names(source, &["event"]),
        ["crate::Error", "crate::index", "crate::index::Overlap", "crate::index::state::*"]
    );
}

#[test]
fn self_and_super_lead_to_where_they_stand() {
    assert_eq!(
        names("use super::Chain; use self::a::B;", &["hash", "keyed"]),
        ["crate::hash::Chain", "crate::hash::keyed::a::B"]
    );
    assert_eq!(names("super::super::event::KvEvent", &["hash", "keyed"]), ["crate::event::KvEvent"]);
    assert_eq!(
        names("mod inner { use super::x::Y; } use super::Z;", &["hash", "keyed"]),
        ["crate::hash::keyed::x::Y", "crate::hash::Z"]
    );
}

#[test]
fn a_path_in_the_middle_of_code_is_a_name() {
    assert_eq!(names("fn f() { let now = std::time::Instant::now(); }", &[]), ["std::time::Instant::now"]);
    assert_eq!(
        names("impl crate::index::PrefixIndex for Vec::<crate::A> {}", &[]),
        ["crate::index::PrefixIndex", "crate::A"]
    );
}

#[test]
fn a_capture_imports_nothing_and_a_broken_import_ends() {
    assert_eq!(names("fn f(&self) -> impl Iterator + use<'_> { a(); crate::b::c() }", &[]), ["crate::b::c"]);
    assert_eq!(names("use a::{b, c; use d::e;", &[]), ["a::b", "a::c", "d::e"]);
}

#[test]
fn what_only_tests_have_is_left_out() {
    let source = "
        #[cfg(test)]
        mod tests { use std::time::Instant; fn f() { if a { b } } }
        #[cfg(test)]
        use std::{fs, net};
        #[cfg(test)]
        pub(crate) fn sleep<A, B>(n: [u8; 2]) { std::thread::sleep(n) }
        struct S {
            #[cfg(test)]
            clock: std::time::Instant,
            kept: std::env::Args,
            #[cfg(test)]
            last: std::process::Child
        }
        #[cfg(test)]
        mod fakes;
        use std::kept::Too;";
    let words = words(source);
    let (_, modules) = without_tests(&words);

    assert_eq!(names(source, &[]), ["std::env::Args", "std::kept::Too"]);
    assert_eq!(modules, ["tests", "fakes"]);
}

#[test]
fn what_is_there_for_other_peoples_tests_is_kept() {
    assert_eq!(
        names("#[cfg(any(test, feature = \"testing\"))] use std::net::TcpStream;", &[]),
        ["std::net::TcpStream"]
    );
}

fn krate(files: &[(&str, &str)]) -> Krate {
    Krate::of("k/src", files.iter().map(|(file, text)| (PathBuf::from(file), (*text).to_owned())).collect())
}

#[test]
fn a_name_that_the_root_offers_leads_to_its_module() {
    let krate = krate(&[
        ("k/src/lib.rs", "mod error; pub mod index; pub use error::{Error, Result};"),
        ("k/src/error.rs", ""),
        ("k/src/index/mod.rs", "mod state; use crate::Result; use super::index::state;"),
        ("k/src/index/state.rs", "#[cfg(test)] mod checks;"),
        ("k/src/index/state/checks.rs", "use std::net::TcpStream;"),
    ]);

    assert_eq!(krate.top_modules(), ["error", "index"]);
    assert_eq!(krate.modules.len(), 4, "what only tests have is not read");
    let index = &krate.modules[2];
    let lead: Vec<_> = index.names.iter().filter_map(|name| krate.top_module_of(name)).collect();
    assert_eq!(lead, ["error", "index"]);
}

#[test]
fn a_module_of_a_binary_beside_a_library_is_no_module_of_the_library() {
    let krate = krate(&[("k/src/lib.rs", "mod error;"), ("k/src/main.rs", "mod args;"), ("k/src/args.rs", "")]);

    assert_eq!(krate.top_modules(), ["error"]);
}

#[test]
fn a_module_is_public_when_everything_above_it_is() {
    let krate = krate(&[
        ("k/src/lib.rs", "pub mod index; mod hidden;"),
        ("k/src/index/mod.rs", "pub mod span; mod state;"),
        ("k/src/hidden.rs", "pub mod inner;"),
    ]);
    let is_public = |path: &[&str]| krate.is_public(&path.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>());

    assert!(is_public(&[]) && is_public(&["index"]) && is_public(&["index", "span"]));
    assert!(!is_public(&["index", "state"]) && !is_public(&["hidden", "inner"]) && !is_public(&["nowhere"]));
}
