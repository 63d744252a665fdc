//! What a block lies on.

use std::fmt;

/// The kind of memory or storage that a block lies on.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Medium {
    /// Memory that the engine computes in. vLLM's CPU backend says `GPU` too.
    #[default]
    Gpu,
    /// Host memory.
    Cpu,
    /// Disks and object stores.
    Storage,
}

impl Medium {
    /// Every medium, nearest to the engine first; the place of a medium in here is [`index`](Self::index).
    pub const ALL: [Self; 3] = [Self::Gpu, Self::Cpu, Self::Storage];

    /// Where this medium stands in [`ALL`](Self::ALL), for tables with one entry per medium.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The medium that an engine means by `name`: vLLM's `GPU`, `CPU`, `STORAGE`; SGLang's `CPU_PINNED`, `DISK`,
    /// `EXTERNAL`. `None` when nobody says so.
    pub fn from_wire(name: &str) -> Option<Self> {
        match name {
            "GPU" => Some(Self::Gpu),
            "CPU" | "CPU_PINNED" => Some(Self::Cpu),
            "DISK" | "EXTERNAL" | "STORAGE" => Some(Self::Storage),
            _ => None,
        }
    }

    /// The name that vLLM gives it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gpu => "GPU",
            Self::Cpu => "CPU",
            Self::Storage => "STORAGE",
        }
    }
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a tier is the engine's own or shared with others.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Locality {
    /// Only this engine reads it.
    #[default]
    Local,
    /// Other engines read it too.
    Remote,
}

impl Locality {
    /// The locality that vLLM means by `name`. `None` when it never says so.
    pub fn from_wire(name: &str) -> Option<Self> {
        match name {
            "LOCAL" => Some(Self::Local),
            "REMOTE" => Some(Self::Remote),
            _ => None,
        }
    }
}
