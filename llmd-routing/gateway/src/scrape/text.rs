//! Reads the text form of Prometheus metrics, as far as gauges and their labels go.
//!
//! Format: <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>. One sample per line:
//! `name{label="value",…} number [timestamp]`.

use std::borrow::Cow;

/// One line that tells a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample<'a> {
    pub(crate) name: &'a str,
    labels: &'a str,
    pub(crate) value: f64,
}

impl<'a> Sample<'a> {
    /// The value of a label, unescaped.
    pub(crate) fn label(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut rest = self.labels;
        while let Some((key, after)) = rest.split_once("=\"") {
            let end = end_of_value(after)?;
            if key.trim_matches([',', ' ']) == name {
                return Some(unescape(&after[..end]));
            }
            rest = &after[end + 1..];
        }
        None
    }
}

/// The samples of an exposition, in order; lines that are none are passed over.
pub(crate) fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    text.lines().filter_map(sample)
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace())?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => {
            let end = end_of_labels(rest)?;
            (&rest[..end], &rest[end + 1..])
        }
        None => ("", rest),
    };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Sample { name, labels, value })
}

/// Where the closing brace is: the first that stands outside of quotes.
fn end_of_labels(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(place),
            _ => {}
        }
    }
    None
}

/// Where the closing quote is.
fn end_of_value(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(place),
            _ => {}
        }
    }
    None
}

fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next().map(|c| if c == 'n' { '\n' } else { c })),
            c => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Sample<'_> {
        samples(line).next().expect("a sample")
    }

    #[test]
    fn a_sample_has_a_name_labels_and_a_value() {
        let sample = one(r#"vllm:cache_config_info{engine="0",block_size="32"} 1.0"#);

        assert_eq!((sample.name, sample.value), ("vllm:cache_config_info", 1.0));
        assert_eq!(sample.label("block_size").as_deref(), Some("32"));
        assert_eq!(sample.label("engine").as_deref(), Some("0"));
        assert_eq!(sample.label("size"), None);
    }

    #[test]
    fn a_label_may_hold_anything_in_quotes() {
        let sample = one(r#"a{x="a\"}=\"b,c\\\nd",y="e"} 2"#);

        assert_eq!(sample.label("x").as_deref(), Some("a\"}=\"b,c\\\nd"));
        assert_eq!(sample.label("y").as_deref(), Some("e"));
    }

    #[test]
    fn numbers_come_in_every_form_and_timestamps_are_passed_over() {
        let table = [("a 1", 1.0), ("a 1e3 1700000000000", 1e3), ("a +Inf", f64::INFINITY), ("a\t-2.5", -2.5)];
        for (line, value) in table {
            assert_eq!(one(line).value, value, "{line}");
        }
        assert!(one("a NaN").value.is_nan());
    }

    #[test]
    fn what_is_no_sample_is_passed_over() {
        let text = "# HELP a b\n# TYPE a gauge\n\na\na{\na{x=\"1} 1\na{x=\"1\"}\na one\nb 3\n";
        assert_eq!(samples(text).map(|sample| (sample.name, sample.value)).collect::<Vec<_>>(), [("b", 3.0)]);
    }
}
