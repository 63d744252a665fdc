//! Names that were probably meant.

/// The message that `name` is not known, with the known name that is nearest to it, or all of them when they are few.
pub(super) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    const FEW: usize = 12;
    let mut message = format!("unknown {what} `{name}`");
    if known.is_empty() {
        message += ": none is taken here";
    } else if let Some(nearest) = nearest(name, known) {
        message += &format!(", did you mean `{nearest}`?");
    }
    if (1..=FEW).contains(&known.len()) {
        message += &format!("{} expected {}", if message.ends_with('?') { "" } else { "," }, list(known));
    }
    message
}

/// "`a`", "`a` or `b`", "one of `a`, `b`, `c`".
fn list(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    if quoted.len() > 2 { format!("one of {}", quoted.join(", ")) } else { quoted.join(" or ") }
}

/// The known name with the fewest edits, when a third of its letters or fewer are wrong.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().map(|&known| (distance(name, known), known)).min()?;
    (near.0 * 3 <= near.1.chars().count().max(3)).then_some(near.1)
}

/// How many letters must be put in, taken out or exchanged to make one name of the other, in lower case (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<_> = b.chars().map(|letter| letter.to_ascii_lowercase()).collect();
    let mut row: Vec<_> = (0..=b.len()).collect();
    for (line, letter) in a.chars().map(|letter| letter.to_ascii_lowercase()).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, &other) in b.iter().enumerate() {
            let exchanged = diagonal + usize::from(letter != other);
            diagonal = row[column + 1];
            row[column + 1] = exchanged.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, edits) in [("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("Queue", "queue", 0)] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let known = ["threshold", "weight"];
        assert_eq!(
            unknown("field", "thresold", &known),
            "unknown field `thresold`, did you mean `threshold`? expected `threshold` or `weight`"
        );
        assert_eq!(unknown("field", "colour", &known), "unknown field `colour`, expected `threshold` or `weight`");
        assert_eq!(unknown("field", "colour", &[]), "unknown field `colour`: none is taken here");
    }
}
