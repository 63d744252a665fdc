//! Arguments that more than one class takes.

use std::collections::BTreeMap;
use std::time::Duration;

use llmd_core::ExternalBlockHash;
use llmd_core::hash::{Lora, MultimodalItem, Namespace};
use pyo3::conversion::FromPyObjectOwned;
use pyo3::inspect::PyStaticExpr;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping, PyString};
use pyo3::{PyTypeInfo as _, type_hint_identifier, type_hint_subscript, type_hint_union};

use crate::error::invalid;
use crate::whole::Whole;

/// What a mapping of any class says for each name. A `BTreeMap` by itself takes dicts only, and to a type checker only
/// those whose values are all that is allowed.
#[derive(Debug)]
pub(crate) struct ByName<T>(pub(crate) BTreeMap<String, T>);

impl<'py, T: FromPyObjectOwned<'py>> FromPyObject<'_, 'py> for ByName<T> {
    type Error = PyErr;

    const INPUT_TYPE: PyStaticExpr = type_hint_subscript!(PyMapping::TYPE_HINT, PyString::TYPE_HINT, T::INPUT_TYPE);

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let mut named = BTreeMap::new();
        for item in object.cast::<PyMapping>()?.items()? {
            let (name, value): (String, Bound<'py, PyAny>) = item.extract()?;
            named.insert(name, value.extract().map_err(Into::into)?);
        }
        Ok(Self(named))
    }
}

/// What engines call blocks: integers, with a sign or without, or bytes.
#[derive(Debug, Default)]
pub(crate) struct Names(pub(crate) Vec<ExternalBlockHash>);

/// How many names a call may bring.
const MAX_NAMES: usize = 1 << 24;

impl<'py> FromPyObject<'_, 'py> for Names {
    type Error = PyErr;

    const INPUT_TYPE: PyStaticExpr = type_hint_subscript!(
        type_hint_identifier!("collections.abc", "Sequence"),
        type_hint_union!(type_hint_identifier!("builtins", "int"), type_hint_identifier!("builtins", "bytes"))
    );

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let mut names = Vec::new();
        for item in object.try_iter()? {
            if names.len() == MAX_NAMES {
                return Err(invalid(format!("there are more than {MAX_NAMES} names of blocks")));
            }
            names.push(name(&item?, names.len())?);
        }
        Ok(Self(names))
    }
}

fn name(item: &Bound<'_, PyAny>, position: usize) -> PyResult<ExternalBlockHash> {
    if let Ok(bytes) = item.cast::<PyBytes>() {
        return Ok(ExternalBlockHash::from_bytes(bytes.as_bytes()));
    }
    let number = item.extract().or_else(|_| item.extract().map(i64::cast_unsigned));
    number.map(ExternalBlockHash::from_int).map_err(|_| {
        let shown = item.repr().map_or_else(|_| "?".to_owned(), |shown| shown.to_string());
        invalid(format!("name {position} is {shown}, expected an int of 64 bits or bytes"))
    })
}

/// Items of a prompt that are not text: identifier, first placeholder token, number of placeholder tokens.
pub(crate) type Items = Vec<(String, Whole, Whole)>;

/// What a prompt is computed under, from the arguments that say it.
pub(crate) fn namespace(
    lora: Option<String>,
    lora_path: Option<String>,
    salt: Option<String>,
    mm: Option<Items>,
) -> PyResult<Namespace> {
    let mut namespace = Namespace::default();
    match (lora, lora_path) {
        (None, None) => {}
        (None, Some(path)) => return Err(invalid(format!("lora_path is {path:?} without lora, expected both"))),
        (Some(name), None) => namespace = namespace.with_lora(Lora::new(name)),
        (Some(name), Some(path)) => namespace = namespace.with_lora(Lora::new(name).with_path(path)),
    }
    if let Some(salt) = salt {
        namespace = namespace.with_cache_salt(salt);
    }
    if let Some(items) = mm {
        let items = items.into_iter().map(|(identifier, offset, len)| {
            let (offset, len) = (offset.named("mm offset")?, len.named("mm length")?);
            Ok(MultimodalItem { identifier, offset, len })
        });
        namespace = namespace.with_multimodal(items.collect::<PyResult<Vec<_>>>()?);
    }
    Ok(namespace)
}

/// A count of what is in memory, from the argument of this name.
pub(crate) fn count(argument: &str, value: i64) -> PyResult<usize> {
    usize::try_from(value).map_err(|_| invalid(format!("{argument} is {value}, expected 0 to {}", usize::MAX)))
}

/// A time in seconds, from the argument of this name.
pub(crate) fn seconds(argument: &str, value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|_| invalid(format!("{argument} is {value}, expected seconds from 0 to {}", u64::MAX)))
}
