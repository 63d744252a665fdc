//! Label selectors as text: `app=vllm,tier in (a, b),!canary`.

use std::str::FromStr;

use llmd_core::{Error, ErrorKind};

use super::label_selector::{LabelSelector, Requirement};

/// Reads the text form of Kubernetes: requirements with commas between them, each `key`, `!key`, `key=value`, `key==value`,
/// `key!=value`, `key in (a,b)` or `key notin (a,b)`.
impl FromStr for LabelSelector {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when a requirement is none of these.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut selector = Self::default();
        let parts = split(text);
        if let [only] = parts[..]
            && only.trim().is_empty()
        {
            return Ok(selector);
        }
        for part in parts {
            let part = part.trim();
            let requirement = requirement(part).ok_or_else(|| {
                let forms = "`key`, `!key`, `key=value`, `key!=value`, `key in (a,b)` or `key notin (a,b)`";
                Error::new(ErrorKind::Invalid, format!("requirement {part:?} where one was expected like {forms}"))
            })?;
            selector.match_expressions.push(requirement);
        }
        Ok(selector)
    }
}

/// What stands between commas that are not in parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let outside = |letter: char| {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    };
    text.split(outside).collect()
}

fn requirement(part: &str) -> Option<Requirement> {
    if let Some(key) = part.strip_prefix('!') {
        return Some(Requirement::DoesNotExist(key_of(key)?));
    }
    if let Some((key, value)) = part.split_once("!=") {
        return Some(Requirement::NotIn(key_of(key)?, vec![value_of(value)?]));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Requirement::In(key_of(key)?, vec![value_of(value)?]));
    }
    let Some((key, rest)) = part.split_once(char::is_whitespace) else {
        return Some(Requirement::Exists(key_of(part)?));
    };
    let (operator, list) = rest.split_once('(')?;
    let values = list.strip_suffix(')')?.split(',').map(value_of).collect::<Option<_>>()?;
    match operator.trim() {
        "in" => Some(Requirement::In(key_of(key)?, values)),
        "notin" => Some(Requirement::NotIn(key_of(key)?, values)),
        _ => None,
    }
}

fn key_of(text: &str) -> Option<String> {
    value_of(text).filter(|key| !key.is_empty())
}

/// Letters, digits and what labels may have between them; a value may be empty.
fn value_of(text: &str) -> Option<String> {
    let text = text.trim();
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    text.chars().all(allowed).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_read_as_kubernetes_writes_it() {
        let labels = [("app", "vllm"), ("llm-d.ai/tier", "a"), ("empty", "")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let table = [
            ("", true),
            (" ", true),
            ("app=vllm", true),
            ("app == vllm , llm-d.ai/tier!=b", true),
            ("app=sglang", false),
            ("app=vllm,llm-d.ai/tier=b", false),
            ("llm-d.ai/tier in (a, b)", true),
            ("llm-d.ai/tier in (b)", false),
            ("llm-d.ai/tier notin (b,c),app", true),
            ("app notin (vllm)", false),
            ("!canary", true),
            ("!app", false),
            ("canary", false),
            ("canary!=yes", true),
            ("empty=", true),
        ];
        for (text, matches) in table {
            let selector: LabelSelector = text.parse().expect(text);
            assert_eq!(selector.matches(&labels), matches, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in
            [",", "app=vllm,", "=a", "!", "a b", "a in b", "a in (b", "a on (b)", "a>5", "a=b=c", "a=b c", "a==="]
        {
            assert_eq!(text.parse::<LabelSelector>().unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
        let error = "app=vllm, a on (b)".parse::<LabelSelector>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "requirement \"a on (b)\" where one was expected like `key`, `!key`, `key=value`, `key!=value`, `key in (a,b)` or \
             `key notin (a,b)`"
        );
    }
}
