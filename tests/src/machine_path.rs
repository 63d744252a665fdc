//! Paths that exist on one machine only and have no place in a checkout.

/// The line (from 1) and the text of the first path of a machine in `text`, if any: somebody's home, a folder for
/// temporary files, or where a checkout happened to lie.
pub fn first(text: &str) -> Option<(usize, &str)> {
    text.lines().enumerate().find_map(|(at, line)| Some((at + 1, in_line(line)?)))
}

fn in_line(line: &str) -> Option<&str> {
    // Put together here, so that this file holds none itself.
    const FOLDERS: [&str; 5] = ["home", "root", "tmp", "work", "Users"];
    for (at, _) in line.match_indices('/') {
        let (before, rest) = (line[..at].chars().next_back(), &line[at + 1..]);
        let begins_here = before.is_none_or(|c| !c.is_alphanumeric() && !"_-./~}$\\*>)".contains(c));
        let folder =
            FOLDERS.iter().find(|folder| rest.strip_prefix(**folder).is_some_and(|rest| rest.starts_with('/')));
        if let (true, Some(folder)) = (begins_here, folder) {
            let name = &rest[folder.len() + 1..];
            if name.starts_with(|c: char| c.is_alphanumeric() || c == '.' || c == '_') {
                let end = rest.find(|c: char| c.is_whitespace() || "\"'`)".contains(c)).unwrap_or(rest.len());
                return Some(&line[at..at + 1 + end]);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_machine_is_found_where_it_begins() {
        for folder in ["home", "root", "tmp", "work", "Users"] {
            let path = format!("/{folder}/ann/x.rs");
            assert_eq!(first(&format!("a\nsee `{path}` there")), Some((2, path.as_str())));
            assert_eq!(first(&format!("path={path}")), Some((1, path.as_str())));
        }
    }

    #[test]
    fn a_path_below_something_else_is_nobodys() {
        for text in
            ["https://x.y/work/z", "target/tmp/a", "src/home/mod.rs", "$HOME/work/x", "a / work / b", "~/work/x"]
        {
            assert_eq!(first(text), None, "{text}");
        }
    }
}
