//! The words of an expression, and where they stand.

use llmd_core::{Error, ErrorKind, Result};

/// A word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Name(&'a str),
    Int(i64),
    /// A whole number that fits only behind a minus.
    MinInt,
    Double(f64),
    Symbol(&'static str),
    End,
}

/// A word, and how many bytes stand before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'a> {
    pub(super) token: Token<'a>,
    pub(super) at: usize,
}

/// Longer ones first.
const SYMBOLS: [&str; 19] =
    ["&&", "||", "<=", ">=", "==", "!=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", "(", ")", "."];

/// The words of `text`, the end among them.
pub(super) fn lex(text: &str) -> Result<Vec<Placed<'_>>> {
    let (mut tokens, mut at) = (Vec::new(), 0);
    loop {
        at = skip(text, at);
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else {
            tokens.push(Placed { token: Token::End, at });
            return Ok(tokens);
        };
        let (token, len) = if first.is_ascii_digit() || starts_with_fraction(rest) {
            number(text, at)?
        } else if first.is_ascii_alphabetic() || first == '_' {
            let len = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
            (Token::Name(&rest[..len]), len)
        } else if let Some(symbol) = SYMBOLS.into_iter().find(|&symbol| rest.starts_with(symbol)) {
            (Token::Symbol(symbol), symbol.len())
        } else if ['"', '\'', '[', '{'].contains(&first) {
            return Err(unsupported(text, at, "text, lists and maps"));
        } else {
            return Err(invalid(text, at, &format!("`{first}`, which begins nothing")));
        };
        tokens.push(Placed { token, at });
        at += len;
    }
}

/// An error about what stands at a place.
pub(super) fn invalid(text: &str, at: usize, message: &str) -> Error {
    placed(ErrorKind::Invalid, text, at, message)
}

/// An error about what CEL has, and what is read here has not.
pub(super) fn unsupported(text: &str, at: usize, what: &str) -> Error {
    placed(ErrorKind::Unsupported, text, at, &format!("{what} are not supported"))
}

fn placed(kind: ErrorKind, text: &str, at: usize, message: &str) -> Error {
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Error::new(kind, format!("line {line}, column {column} of the expression: {message}"))
}

/// The place behind spaces and comments.
fn skip(text: &str, mut at: usize) -> usize {
    loop {
        let rest = text[at..].trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
        at = text.len() - rest.len();
        if !rest.starts_with("//") {
            return at;
        }
        at += rest.find('\n').unwrap_or(rest.len());
    }
}

fn starts_with_fraction(rest: &str) -> bool {
    let mut bytes = rest.bytes();
    bytes.next() == Some(b'.') && bytes.next().is_some_and(|byte| byte.is_ascii_digit())
}

/// A number, and how long it is: digits, a fraction and an exponent, or digits after `0x`.
fn number(text: &str, at: usize) -> Result<(Token<'static>, usize)> {
    let rest = &text[at..];
    let too_large = || invalid(text, at, "a whole number that does not fit into 64 bits");
    let (token, len) = if let Some(hex) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        let digits = digits(hex, |byte| byte.is_ascii_hexdigit());
        let number = i64::from_str_radix(&hex[..digits], 16).map_err(|_| too_large())?;
        (Token::Int(number), 2 + digits)
    } else {
        let whole = digits(rest, |byte| byte.is_ascii_digit());
        let len = whole + fraction(&rest[whole..]);
        let len = len + exponent(&rest[len..]);
        if len > whole {
            let number = rest[..len].parse().map_err(|_| invalid(text, at, "a number that is none"))?;
            (Token::Double(number), len)
        } else {
            let number: u64 = rest[..len].parse().map_err(|_| too_large())?;
            let token = match i64::try_from(number) {
                Ok(number) => Token::Int(number),
                Err(_) if number == i64::MIN.unsigned_abs() => Token::MinInt,
                Err(_) => return Err(too_large()),
            };
            (token, len)
        }
    };
    match rest[len..].chars().next() {
        Some('u' | 'U') => Err(unsupported(text, at + len, "unsigned numbers")),
        Some(letter) if letter.is_ascii_alphanumeric() || letter == '_' => {
            Err(invalid(text, at + len, &format!("`{letter}` in a number")))
        }
        _ => Ok((token, len)),
    }
}

fn digits(text: &str, allowed: impl Fn(&u8) -> bool) -> usize {
    text.as_bytes().iter().take_while(|byte| allowed(byte)).count()
}

/// A point, and at least one digit after it.
fn fraction(text: &str) -> usize {
    if starts_with_fraction(text) { 1 + digits(&text[1..], |byte| byte.is_ascii_digit()) } else { 0 }
}

/// An `e`, a sign perhaps, and at least one digit.
fn exponent(text: &str) -> usize {
    let Some(after) = text.strip_prefix(['e', 'E']) else { return 0 };
    let number = after.strip_prefix(['+', '-']).unwrap_or(after);
    match digits(number, |byte| byte.is_ascii_digit()) {
        0 => 0,
        digits => text.len() - number.len() + digits,
    }
}
