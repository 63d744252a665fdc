//! One term per block under secret keys, and the running sum of the terms: the inner loop of llmd's own names.
//!
//! With ⊗ the carry-less product of two 64-bit words, the words *w* of a block (two tokens each), keys *s* per word and
//! *K*, *K'* per position, the term of the block at a position is
//!
//! ```text
//! (lo, hi) = ⊕ (w[2j] ⊕ s[2j]) ⊗ (w[2j+1] ⊕ s[2j+1])
//! term     = (lo ⊕ K) · (hi ⊕ K')     in GF(2^64) modulo x^64 + x^4 + x^3 + x + 1
//! ```
//!
//! and a digest is the exclusive or of all terms up to its block. Words are padded with zero to an even number.

#![expect(
    unsafe_code,
    reason = "the forms of one processor are called where it was found, and fill what a vector keeps free"
)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod form;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod positions;
#[cfg(target_arch = "x86_64")]
mod sse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use aes::Aes128;
use aes::cipher::KeyInit as _;

pub use self::form::Form;
use self::positions::{PositionKey, Positions, encrypt};
use crate::{BlockHash, TokenId};

/// Tokens that one line of keys covers.
const LINE: usize = 16;
/// Tokens in a pair of words.
const PAIR: usize = 4;

/// The keys of 16 tokens, two per word.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line([u64; LINE / 2]);

/// The terms of blocks of one size under one master key.
pub(super) struct Kernel {
    block_size: usize,
    /// One line per 16 tokens of a block, made for the first block that comes: so a size that no block has, as a damaged
    /// file may say, takes no memory.
    words: OnceLock<Box<[Line]>>,
    of_words: Aes128,
    positions: Positions,
    /// One that this machine has.
    form: Form,
}

impl Kernel {
    /// The kernel of `master` for blocks of `block_size` tokens, at least 1. `None` when this machine has no such form.
    pub(super) fn new(master: [u8; 16], block_size: usize, form: Form) -> Option<Self> {
        if !form.is_available() {
            return None;
        }
        let master = Aes128::new(&master.into());
        let [of_positions, of_words] = [1 << 127, (1 << 127) | 1].map(|part| encrypt(&master, part));
        let cipher = |key: u128| Aes128::new(&key.to_le_bytes().into());
        Some(Self {
            block_size,
            words: OnceLock::new(),
            of_words: cipher(of_words),
            positions: Positions::new(cipher(of_positions)),
            form,
        })
    }

    /// Tokens per block.
    pub(super) const fn block_size(&self) -> usize {
        self.block_size
    }

    /// How terms are computed.
    pub(super) const fn form(&self) -> Form {
        self.form
    }

    /// Appends the sums of the full blocks of `tokens`, which stand at `position` (in blocks) behind what sums up to
    /// `parent`.
    pub(super) fn extend(&self, parent: u64, position: u64, tokens: &[TokenId], out: &mut Vec<BlockHash>) {
        let blocks = tokens.len() / self.block_size;
        if blocks == 0 {
            return;
        }
        let len = out.len() + blocks;
        out.reserve(blocks);
        self.fill(parent, position, tokens, &mut out.spare_capacity_mut()[..blocks]);
        // SAFETY: there is room for `len`, since it was reserved, and `fill` has written all that came behind.
        unsafe { out.set_len(len) }
    }

    /// The term of one block, which has [`block_size`](Self::block_size) tokens, at `position`.
    pub(super) fn term(&self, position: u64, block: &[TokenId]) -> u64 {
        self.fill(0, position, block, &mut [MaybeUninit::uninit()])
    }

    /// Writes every sum of `out`; gives the last.
    fn fill(&self, parent: u64, position: u64, tokens: &[TokenId], out: &mut [MaybeUninit<BlockHash>]) -> u64 {
        let blocks = (&**self.words.get_or_init(|| lines(&self.of_words, self.block_size)), self.block_size);
        let (mut sum, mut done) = (parent, 0);
        self.positions.runs(position, out.len(), |keys| {
            let tokens = &tokens[done * self.block_size..][..keys.len() * self.block_size];
            sum = self.run(blocks, keys, sum, tokens, &mut out[done..][..keys.len()]);
            done += keys.len();
        });
        sum
    }

    /// Writes as many sums as there are keys.
    fn run(
        &self,
        blocks: (&[Line], usize),
        keys: &[PositionKey],
        parent: u64,
        tokens: &[TokenId],
        out: &mut [MaybeUninit<BlockHash>],
    ) -> u64 {
        match self.form {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a kernel has only forms that its machine has.
            Form::Avx512 => unsafe { avx512::run(blocks, keys, parent, tokens, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Form::Avx2 => unsafe { avx2::run(blocks, keys, parent, tokens, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Form::Sse => unsafe { sse::run(blocks, keys, parent, tokens, out) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: a kernel has only forms that its machine has.
            Form::Neon => unsafe { neon::run(blocks, keys, parent, tokens, out) },
            _ => portable::run(blocks, keys, parent, tokens, out),
        }
    }
}

/// The keys of a block's words. Those of words that are not there are zero, so that reading zeros for them adds nothing.
fn lines(cipher: &Aes128, block_size: usize) -> Box<[Line]> {
    let mut lines = vec![Line::default(); block_size.div_ceil(LINE)].into_boxed_slice();
    let pairs = lines.iter_mut().flat_map(|line| line.0.as_chunks_mut::<2>().0);
    for (number, pair) in pairs.take(block_size.div_ceil(PAIR)).enumerate() {
        let keys = encrypt(cipher, number as u128);
        *pair = [keys as u64, (keys >> 64) as u64];
    }
    lines
}

/// The two words that up to four tokens make: zero stands for those that are not there.
fn words_of(tokens: &[TokenId]) -> [u64; 2] {
    let token = |place: usize| u64::from(tokens.get(place).copied().unwrap_or(0));
    [token(0) | token(1) << 32, token(2) | token(3) << 32]
}

/// Keys are not shown.
impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kernel({}, ..)", self.form)
    }
}
