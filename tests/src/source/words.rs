//! From text to words: identifiers, `::` and punctuation, without comments, strings, numbers and lifetimes.

/// One word of a source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Word<'a> {
    /// An identifier, `::`, or one sign.
    pub text: &'a str,
    /// The line it stands on, counted from 1.
    pub line: usize,
}

/// The words of `source`, in order.
pub fn words(source: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (len, is_word) = next(rest, first);
        let (text, after) = rest.split_at(len);
        if is_word {
            words.push(Word { text: text.strip_prefix("r#").unwrap_or(text), line });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    words
}

/// How long what `rest` begins with is, and whether it is a word.
fn next(rest: &str, first: char) -> (usize, bool) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), false);
    }
    if let Some(len) = string(rest) {
        return (len, false);
    }
    if first == '\'' {
        return (quote(rest), false);
    }
    if first.is_ascii_digit() {
        let is_number = |c: char| c.is_ascii_alphanumeric() || c == '_';
        return (rest.find(|c| !is_number(c)).unwrap_or(rest.len()), false);
    }
    if is_identifier(first) {
        let prefix = if rest.starts_with("r#") { "r#".len() } else { 0 };
        let len = rest[prefix..].find(|c| !is_identifier(c)).map_or(rest.len(), |len| prefix + len);
        return (len, true);
    }
    if rest.starts_with("::") {
        return (2, true);
    }
    (first.len_utf8(), !first.is_whitespace())
}

fn is_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        match here {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of the string literal that `rest` begins with: plain, byte, C, or raw with any number of hashes.
fn string(rest: &str) -> Option<usize> {
    let body = rest.trim_start_matches(['b', 'c']);
    let prefix = rest.len() - body.len();
    if prefix > 1 {
        return None;
    }
    if let Some(raw) = body.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let text = raw[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let len = text.find(&end).map_or(text.len(), |at| at + end.len());
        return Some(prefix + 1 + hashes + 1 + len);
    }
    let text = body.strip_prefix('"')?;
    Some(prefix + 1 + escaped(text, b'"'))
}

/// How far it is behind the next `end` that no backslash stands before.
fn escaped(text: &str, end: u8) -> usize {
    let mut at = 0;
    while let Some(&byte) = text.as_bytes().get(at) {
        match byte {
            b'\\' => at += 2,
            _ if byte == end => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// A character, or a lifetime.
fn quote(rest: &str) -> usize {
    let inner = &rest[1..];
    let mut chars = inner.chars();
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => 1 + escaped(inner, b'\''),
        (Some(c), Some('\'')) => 1 + c.len_utf8() + 1,
        _ => 1 + inner.find(|c| !is_identifier(c)).unwrap_or(inner.len()),
    }
}

/// `words` without the items that only tests have, and the names of the modules among those.
pub fn without_tests<'a>(words: &[Word<'a>]) -> (Vec<Word<'a>>, Vec<&'a str>) {
    const FOR_TESTS: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut rest = words;
    while let [first, after @ ..] = rest {
        if rest.iter().map(|word| word.text).take(FOR_TESTS.len()).eq(FOR_TESTS) {
            let item = &rest[FOR_TESTS.len()..];
            let (item, after) = item.split_at(item_len(item));
            modules.extend(item.windows(2).find(|pair| pair[0].text == "mod").map(|pair| pair[1].text));
            rest = after;
        } else {
            kept.push(*first);
            rest = after;
        }
    }
    (kept, modules)
}

/// How long the item, field, arm or statement is that `words` begin with: to its semicolon, to the brace that closes
/// its first one, or to the comma behind a field.
fn item_len(words: &[Word<'_>]) -> usize {
    const ITEMS: [&str; 10] = ["const", "enum", "fn", "impl", "mod", "static", "struct", "trait", "type", "use"];
    let (mut depth, mut is_item) = (0_usize, false);
    for (at, word) in words.iter().enumerate() {
        match word.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" if depth == 0 => return at,
            "}" | ")" | "]" => {
                depth -= 1;
                // The braces of a list or a value are followed by the semicolon of what they belong to.
                let ends = word.text == "}" && words.get(at + 1).is_none_or(|next| next.text != ";");
                if depth == 0 && ends {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            "," if depth == 0 && !is_item => return at + 1,
            text if depth == 0 => is_item |= ITEMS.contains(&text),
            _ => {}
        }
    }
    words.len()
}
