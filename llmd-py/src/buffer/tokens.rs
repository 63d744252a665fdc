//! The tokens of a prompt, and other numbers that there are many of.

use llmd_core::TokenId;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::inspect::PyStaticExpr;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PySequence, PyString, PyTuple};
use pyo3::{type_hint_identifier, type_hint_subscript, type_hint_union};

use super::format::Elements;
use super::{HELD_TOKENS, Plain, buffer_of, class_of, element, held, lent};
use crate::error::invalid;

/// What messages call numbers.
#[derive(Clone, Copy, Debug)]
struct Words {
    one: &'static str,
    many: &'static str,
    /// How many there may be.
    most: usize,
}

const TOKENS: Words = Words { one: "token", many: "tokens", most: 1 << 24 };
const BLOCKS: Words = Words { one: "block", many: "blocks", most: 1 << 20 };
const WORKERS: Words = Words { one: "worker", many: "workers", most: 1 << 20 };

/// The tokens of a prompt: lent by a buffer of 32-bit integers, or copied from anything else that holds integers.
#[derive(Debug)]
pub(crate) struct Tokens(Source);

#[derive(Debug)]
enum Source {
    /// 32-bit integers, contiguous and not negative.
    Lent(PyUntypedBuffer),
    Own(Vec<TokenId>),
}

impl Tokens {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Source::Lent(buffer) => buffer.item_count(),
            Source::Own(tokens) => tokens.len(),
        }
    }

    /// Does `work`, which takes time in proportion to the tokens: short work with the GIL held, long work without.
    pub(crate) fn read<R: Send>(self, py: Python<'_>, work: impl FnOnce(&[TokenId]) -> R + Send) -> R {
        let long = self.len() > HELD_TOKENS;
        match self.0 {
            Source::Lent(buffer) if !long && held(py) => {
                let answer = work(as_lent(&buffer));
                buffer.release(py);
                answer
            }
            source => {
                let tokens = Self(source).into_vec(py);
                if long { py.detach(|| work(&tokens)) } else { work(&tokens) }
            }
        }
    }

    /// The tokens, copied if they are lent.
    pub(crate) fn into_vec(self, py: Python<'_>) -> Vec<TokenId> {
        match self.0 {
            Source::Lent(buffer) => {
                let tokens = as_lent(&buffer).to_vec();
                buffer.release(py);
                tokens
            }
            Source::Own(tokens) => tokens,
        }
    }
}

/// The numbers of workers, lent or copied as tokens are.
#[derive(Debug)]
pub(crate) struct Workers(Tokens);

impl Workers {
    /// The numbers, copied if they are lent.
    pub(crate) fn into_vec(self, py: Python<'_>) -> Vec<u32> {
        self.0.into_vec(py)
    }
}

/// The numbers of blocks, lent or copied as tokens are.
#[derive(Debug)]
pub(crate) struct Blocks(Tokens);

impl Blocks {
    /// The numbers, copied if they are lent.
    pub(crate) fn into_vec(self, py: Python<'_>) -> Vec<u32> {
        self.0.into_vec(py)
    }
}

impl<'py> FromPyObject<'_, 'py> for Blocks {
    type Error = PyErr;

    const INPUT_TYPE: PyStaticExpr = <Tokens as FromPyObject<'_, '_>>::INPUT_TYPE;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        extract(BLOCKS, object).map(Self)
    }
}

impl<'py> FromPyObject<'_, 'py> for Workers {
    type Error = PyErr;

    const INPUT_TYPE: PyStaticExpr = <Tokens as FromPyObject<'_, '_>>::INPUT_TYPE;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        extract(WORKERS, object).map(Self)
    }
}

fn as_lent(buffer: &PyUntypedBuffer) -> &[TokenId] {
    lent(buffer).unwrap_or_default()
}

impl<'py> FromPyObject<'_, 'py> for Tokens {
    type Error = PyErr;

    /// Every sequence of integers, NumPy's arrays included, and every buffer.
    const INPUT_TYPE: PyStaticExpr = type_hint_union!(
        type_hint_subscript!(
            type_hint_identifier!("_typeshed", "SupportsLenAndGetItem"),
            type_hint_identifier!("builtins", "int")
        ),
        type_hint_identifier!("typing_extensions", "Buffer")
    );

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        extract(TOKENS, object)
    }
}

fn extract(words: Words, object: Borrowed<'_, '_, PyAny>) -> PyResult<Tokens> {
    if let Ok(list) = object.cast::<PyList>() {
        return from_items(words, list.len(), list.iter().map(Ok));
    }
    if let Ok(tuple) = object.cast::<PyTuple>() {
        return from_items(words, tuple.len(), tuple.iter_borrowed().map(|item| Ok(item.to_owned())));
    }
    if object.is_instance_of::<PyString>() || object.is_instance_of::<PyBytes>() {
        return Err(mistyped(words, &object));
    }
    match buffer_of(&object)? {
        Some(buffer) => from_buffer(words, buffer),
        None => {
            let sequence = object.cast::<PySequence>().map_err(|_| mistyped(words, &object))?;
            from_items(words, sequence.len()?, sequence.try_iter()?)
        }
    }
}

fn mistyped(words: Words, object: &Bound<'_, PyAny>) -> PyErr {
    let class = class_of(object);
    PyTypeError::new_err(format!("{} are {class}, expected a buffer of integers or a sequence of int", words.many))
}

fn bounded(words: Words, len: usize) -> PyResult<()> {
    let Words { many, most, .. } = words;
    if len > most {
        return Err(invalid(format!("there are {len} {many}, expected at most {most}")));
    }
    Ok(())
}

fn from_items<'py>(
    words: Words,
    len: usize,
    items: impl Iterator<Item = PyResult<Bound<'py, PyAny>>>,
) -> PyResult<Tokens> {
    bounded(words, len)?;
    let mut tokens = Vec::with_capacity(len);
    for item in items {
        let item = item?;
        let token = item.extract().map_err(|error| misfit(words, &item, tokens.len(), error))?;
        tokens.push(token);
    }
    bounded(words, tokens.len())?;
    Ok(Tokens(Source::Own(tokens)))
}

/// Why `item` is no token. What is wrong with an integer is its value.
fn misfit(words: Words, item: &Bound<'_, PyAny>, position: usize, error: PyErr) -> PyErr {
    let py = item.py();
    if error.is_instance_of::<PyOverflowError>(py) {
        return out_of_range(words, position, item.to_string());
    }
    if error.is_instance_of::<PyTypeError>(py) {
        return invalid(format!("{} {position} is {}, expected int", words.one, class_of(item)));
    }
    error
}

fn out_of_range(words: Words, position: usize, value: impl std::fmt::Display) -> PyErr {
    invalid(format!("{} {position} is {value}, expected 0 to {}", words.one, TokenId::MAX))
}

fn from_buffer(words: Words, buffer: PyUntypedBuffer) -> PyResult<Tokens> {
    if buffer.dimensions() != 1 {
        return Err(invalid(format!("{} have {} dimensions, expected one", words.many, buffer.dimensions())));
    }
    bounded(words, buffer.item_count())?;
    match Elements::parse(buffer.format(), buffer.item_size()) {
        Some(Elements::Unsigned(4)) if lent::<u32>(&buffer).is_some() => Ok(Tokens(Source::Lent(buffer))),
        Some(Elements::Signed(4)) if lent::<i32>(&buffer).is_some() => {
            let negative = lent::<i32>(&buffer).unwrap_or_default().iter().position(|&token| token < 0);
            match negative {
                Some(position) => Err(out_of_range(words, position, element::<i32>(&buffer, position))),
                None => Ok(Tokens(Source::Lent(buffer))),
            }
        }
        Some(Elements::Signed(2)) => checked::<i16>(words, &buffer),
        Some(Elements::Signed(4)) => checked::<i32>(words, &buffer),
        Some(Elements::Signed(8)) => checked::<i64>(words, &buffer),
        Some(Elements::Unsigned(2)) => checked::<u16>(words, &buffer),
        Some(Elements::Unsigned(4)) => checked::<u32>(words, &buffer),
        Some(Elements::Unsigned(8)) => checked::<u64>(words, &buffer),
        _ => {
            let (many, format) = (words.many, buffer.format().to_string_lossy());
            Err(invalid(format!("{many} have the format '{format}', expected native integers of 16, 32 or 64 bits")))
        }
    }
}

/// A copy of the elements, each of which is looked at.
fn checked<T: Plain + std::fmt::Display + TryInto<TokenId>>(
    words: Words,
    buffer: &PyUntypedBuffer,
) -> PyResult<Tokens> {
    let token = |position, value: T| value.try_into().map_err(|_| out_of_range(words, position, value));
    let tokens: PyResult<Vec<_>> = match lent::<T>(buffer) {
        Some(values) => values.iter().enumerate().map(|(position, &value)| token(position, value)).collect(),
        None => (0..buffer.item_count()).map(|position| token(position, element(buffer, position))).collect(),
    };
    Ok(Tokens(Source::Own(tokens?)))
}
