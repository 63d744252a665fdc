//! From words to names: every path that a source uses, with `use` lists written out and `crate`, `self` and `super`
//! resolved.

use super::Word;

/// A path that a source names.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Name {
    /// Its segments. One that lies in the same crate begins with `crate`; a `use` of everything ends with `*`.
    pub segments: Vec<String>,
    /// The line it stands on.
    pub line: usize,
    /// Whether others can reach what it names from here: a `pub use`.
    pub is_export: bool,
}

impl Name {
    /// The segments behind `crate`, for a path in the same crate.
    pub fn in_crate(&self) -> Option<&[String]> {
        let (first, rest) = self.segments.split_first()?;
        (first == "crate").then_some(rest)
    }

    /// Whether the path begins with these segments.
    pub fn begins_with(&self, path: &str) -> bool {
        let mut segments = self.segments.iter();
        path.split("::").all(|wanted| segments.next().is_some_and(|segment| segment == wanted))
    }
}

/// As one writes it.
impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.segments.join("::"))
    }
}

/// Every path in `words`, which are those of the module `module` (`["index", "explain"]`; the crate's root is empty).
pub fn named(words: &[Word<'_>], module: &[String]) -> Vec<Name> {
    let mut names = Vec::new();
    // Modules written inside this file, each with the depth of braces at which it ends.
    let mut inside: Vec<(String, usize)> = Vec::new();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(word) = words.get(at) {
        let here = || module.iter().cloned().chain(inside.iter().map(|(name, _)| name.clone())).collect::<Vec<_>>();
        match word.text {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inside.retain(|(_, end)| *end <= depth);
            }
            "mod" if text(words, at + 2) == "{" => {
                depth += 1;
                inside.push((text(words, at + 1).to_owned(), depth));
                at += 2;
            }
            // `use<'a>` in a type captures, and imports nothing.
            "use" if text(words, at + 1) != "<" => {
                let is_export = at > 0 && words[at - 1].text == "pub";
                let mut paths = Vec::new();
                at = use_tree(words, at + 1, &[], &mut paths);
                names.extend(paths.into_iter().map(|(segments, line)| Name {
                    segments: resolved(segments, &here()),
                    line,
                    is_export,
                }));
                continue;
            }
            text if is_identifier(text) => {
                let (segments, after) = path(words, at);
                let line = word.line;
                names.push(Name { segments: resolved(segments, &here()), line, is_export: false });
                at = after;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    names
}

fn text<'a>(words: &[Word<'a>], at: usize) -> &'a str {
    words.get(at).map_or("", |word| word.text)
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// `a::b::c` from `at`, and where it ends.
fn path(words: &[Word<'_>], mut at: usize) -> (Vec<String>, usize) {
    let mut segments = vec![text(words, at).to_owned()];
    at += 1;
    while text(words, at) == "::" && is_identifier(text(words, at + 1)) {
        segments.push(text(words, at + 1).to_owned());
        at += 2;
    }
    (segments, at)
}

/// The paths of one tree of a `use`, and where it ends.
fn use_tree(words: &[Word<'_>], mut at: usize, prefix: &[String], paths: &mut Vec<(Vec<String>, usize)>) -> usize {
    let mut segments = prefix.to_vec();
    let line = words.get(at).map_or(0, |word| word.line);
    loop {
        match text(words, at) {
            "{" => {
                at += 1;
                while !matches!(text(words, at), "}" | ";" | "") {
                    at = use_tree(words, at, &segments, paths);
                    if text(words, at) == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "," | ";" | "}" | "" => break,
            "as" => at += 1,
            "::" => {}
            "self" if !segments.is_empty() => {}
            segment => segments.push(segment.to_owned()),
        }
        at += 1;
    }
    paths.push((segments, line));
    at
}

/// `segments` as seen from the crate's root, where they lead there.
fn resolved(segments: Vec<String>, module: &[String]) -> Vec<String> {
    let mut base = module.to_vec();
    let mut rest = segments.as_slice();
    match segments.first().map(String::as_str) {
        Some("self") => rest = &rest[1..],
        Some("super") => {
            while let [first, after @ ..] = rest
                && first == "super"
            {
                base.pop();
                rest = after;
            }
        }
        _ => return segments,
    }
    std::iter::once("crate".to_owned()).chain(base).chain(rest.iter().cloned()).collect()
}
