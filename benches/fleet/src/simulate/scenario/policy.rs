//! The policies that come with the fleet, by the names of their files.

/// A configuration of llm-d's endpoint picker, and what it is called.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// What it is called in tables.
    pub name: String,
    /// The configuration.
    pub yaml: String,
}

impl Policy {
    /// A policy of this configuration.
    pub fn new(name: impl Into<String>, yaml: impl Into<String>) -> Self {
        Self { name: name.into(), yaml: yaml.into() }
    }

    /// The policy of this name that comes with the fleet.
    pub fn built_in(name: &str) -> Option<Self> {
        BUILT_IN.iter().find(|(known, _)| *known == name).map(|(name, yaml)| Self::new(*name, *yaml))
    }
}

macro_rules! policies {
    ($($name:literal),* $(,)?) => {
        /// Every policy that comes with the fleet: its name, and its configuration.
        pub const BUILT_IN: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../../policies/", $name, ".yaml")))),*];
    };
}

policies![
    "active-requests",
    "approximate",
    "approximate-37",
    "approximate-73",
    "llm-d-affinity",
    "llm-d-affinity-gpt-oss",
    "llm-d-blend",
    "llmd-default",
    "load",
    "p2p-load",
    "precise",
    "precise-37",
    "precise-73",
    "precise-token-load",
    "precise-unspeculative",
    "random",
    "round-robin",
    "tiered",
];
