//! JSON as Python writes it.

use std::io;

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// `json.dumps(value, ensure_ascii=False, indent=indent)`.
pub(super) fn to_json(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let mut out = Vec::new();
    match options.get::<Option<usize>>("indent")? {
        Some(indent) => {
            let indent = " ".repeat(indent.min(MAX_INDENT));
            let layout = Layout::Indented(PrettyFormatter::with_indent(indent.as_bytes()));
            value.serialize(&mut Serializer::with_formatter(&mut out, layout))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut out, Layout::OneLine)),
    }
    .map_err(|error| Error::new(ErrorKind::BadSerialization, "no JSON can be made of a value").with_source(error))?;
    Ok(Value::from_safe_string(String::from_utf8_lossy(&out).into_owned()))
}

/// More spaces than this are not put before a line of JSON.
const MAX_INDENT: usize = 16;

/// The layouts of `json.dumps`.
enum Layout<'a> {
    Indented(PrettyFormatter<'a>),
    OneLine,
}

impl Formatter for Layout<'_> {
    fn write_f64<W: ?Sized + io::Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        out.write_all(float(value).as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        match self {
            Self::Indented(pretty) => pretty.begin_array(out),
            Self::OneLine => out.write_all(b"["),
        }
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        match self {
            Self::Indented(pretty) => pretty.end_array(out),
            Self::OneLine => out.write_all(b"]"),
        }
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        match self {
            Self::Indented(pretty) => pretty.begin_array_value(out, first),
            Self::OneLine => out.write_all(if first { b"" } else { b", " }),
        }
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        match self {
            Self::Indented(pretty) => pretty.end_array_value(out),
            Self::OneLine => Ok(()),
        }
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        match self {
            Self::Indented(pretty) => pretty.begin_object(out),
            Self::OneLine => out.write_all(b"{"),
        }
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        match self {
            Self::Indented(pretty) => pretty.end_object(out),
            Self::OneLine => out.write_all(b"}"),
        }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        match self {
            Self::Indented(pretty) => pretty.begin_object_key(out, first),
            Self::OneLine => out.write_all(if first { b"" } else { b", " }),
        }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        match self {
            Self::Indented(pretty) => pretty.end_object_value(out),
            Self::OneLine => Ok(()),
        }
    }
}

/// `repr` of a float: the fewest digits that tell it apart; an exponent below 1e-4 and from 1e16 on.
fn float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(-4..16) => format!("{value:?}"),
        Ok(exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        Err(_) => scientific,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_does() {
        let expected = [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e22, "1.5e+22"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e-120, "1e-120"),
        ];
        for (value, text) in expected {
            assert_eq!(float(value), text);
        }
    }
}
