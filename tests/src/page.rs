//! A page of Markdown: where its links lead and which files it names.

use std::path::{Component, Path, PathBuf};

/// The targets of links and pictures that lead to files, as paths from the checkout's root. `page` is the page's own.
pub fn links(page: &Path, text: &str) -> Vec<PathBuf> {
    let folder = page.parent().unwrap_or(Path::new(""));
    let prose = prose(text);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let pictures = prose.split("src=\"").skip(1).chain(prose.split("srcset=\"").skip(1));
    let targets = targets.chain(pictures.filter_map(|rest| rest.split('"').next()));
    let files = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
    let files = files.filter_map(|target| target.split('#').next()).filter(|file| !file.is_empty());
    files.map(|file| plain(&folder.join(file))).collect()
}

/// What stands in backticks and begins with one of `folders`: a name of a file or folder of this checkout.
pub fn files_named<'a>(text: &'a str, folders: &[String]) -> Vec<&'a str> {
    let outside_fences = text.split("\n```").step_by(2);
    let quoted = outside_fences.flat_map(|part| part.split('`').skip(1).step_by(2));
    let names = quoted.filter(|name| !name.contains([' ', '\n', '{', '<', '*', '…', ':']));
    names
        .filter(|name| name.split_once('/').is_some_and(|(first, _)| folders.iter().any(|each| each == first)))
        .collect()
}

/// `text` without fenced code and code in backticks.
fn prose(text: &str) -> String {
    let outside_fences = text.split("\n```").step_by(2);
    outside_fences.flat_map(|part| part.split('`').step_by(2)).collect::<Vec<_>>().join(" ")
}

/// `a/b/../c` is `a/c`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
See [the demo](demo.md#how), [this](../README.md) ![picture](img/race.svg \"title\") and [it](https://x.y/z).
<img src=\"img/dark.svg\"> [below](#below) `code [no](link.md)` `docs/a.md` `docs/b c` `target/x`
```sh
[no](fenced.md) `docs/fenced.md`
```
`xtask/src/main.rs` and `docs/*.md`";

    #[test]
    fn links_lead_from_the_page_and_code_has_none() {
        let found = links(Path::new("docs/page.md"), PAGE);

        assert_eq!(found, ["docs/demo.md", "README.md", "docs/img/race.svg", "docs/img/dark.svg"].map(PathBuf::from));
    }

    #[test]
    fn a_name_of_a_file_begins_with_a_folder_that_is_there() {
        let folders = ["docs", "xtask"].map(str::to_owned);

        assert_eq!(files_named(PAGE, &folders), ["docs/a.md", "xtask/src/main.rs"]);
    }
}
