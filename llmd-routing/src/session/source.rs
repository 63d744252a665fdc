//! Where the id of a session stands.

use std::fmt;

use crate::Request;
use crate::plugin::{Attributes, Data};

/// Where the id of a session stands.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Source {
    /// In what a header processor or a producer says of the request under this name.
    Attribute(String),
    /// In the header of this name.
    Header(String),
}

impl Source {
    /// The header of this name.
    pub fn header(name: impl Into<String>) -> Self {
        Self::Header(name.into().trim().to_ascii_lowercase())
    }

    /// What the first of these says that says something; spaces around it are not part of it.
    pub(super) fn first<'a>(sources: &[Self], request: &'a Request, attributes: &'a Attributes) -> Option<&'a str> {
        let said = |source: &Self| match source {
            Self::Attribute(name) => attributes.text(name),
            Self::Header(name) => request.headers.get(name),
        };
        sources.iter().filter_map(said).map(str::trim).find(|id| !id.is_empty())
    }

    pub(super) fn reads(&self) -> Option<Data> {
        match self {
            Self::Attribute(name) => Some(Data::RequestAttribute(name.clone())),
            Self::Header(_) => None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(name) => write!(f, "attribute {name}"),
            Self::Header(name) => write!(f, "header {name}"),
        }
    }
}
