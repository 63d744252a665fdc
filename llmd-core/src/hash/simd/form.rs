//! The ways in which the terms of blocks are computed, and which of them this machine has.

use std::fmt;

/// How the terms of blocks are computed. All forms make the same names; a hasher takes the fastest that the machine has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Form {
    /// x86-64 with AVX-512 and VPCLMULQDQ: eight blocks at a time.
    Avx512,
    /// x86-64 with AVX2 and VPCLMULQDQ: four blocks at a time.
    Avx2,
    /// x86-64 with PCLMULQDQ: two blocks at a time.
    Sse,
    /// AArch64 with PMULL: block by block.
    Neon,
    /// Every machine: block by block, with integer multiplications.
    Portable,
}

impl Form {
    /// Every form, the fastest of a machine first.
    pub const ALL: [Self; 5] = [Self::Avx512, Self::Avx2, Self::Sse, Self::Neon, Self::Portable];

    /// The fastest that this machine has.
    pub fn best() -> Self {
        Self::ALL.into_iter().find(|form| form.is_available()).unwrap_or(Self::Portable)
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("vpclmulqdq")
                    && Self::Avx2.is_available()
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("vpclmulqdq")
                    && is_x86_feature_detected!("pclmulqdq")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Sse => is_x86_feature_detected!("pclmulqdq"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => {
                std::arch::is_aarch64_feature_detected!("neon") && std::arch::is_aarch64_feature_detected!("aes")
            }
            Self::Portable => true,
            _ => false,
        }
    }

    /// Its name, as benches print it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Sse => "sse",
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
