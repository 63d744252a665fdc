//! What was hashed for a session last, so that its next turn hashes only what follows.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::{BlockHasher, Chain, EngineHasher, Namespace};
use crate::{Result, TokenId};

/// What names the blocks of prompts, and can go on behind some of them.
pub trait PromptHasher {
    /// The names of a prompt.
    type Names: Clone + Default;

    /// Tokens per block.
    fn block_size(&self) -> usize;

    /// Makes `names` those of `tokens`, whose first `kept` blocks have the names that stand in it first already. On an error,
    /// `names` is as it was.
    ///
    /// # Errors
    ///
    /// Those of the hasher for a whole prompt.
    fn go_on(&self, tokens: &[TokenId], namespace: &Namespace, kept: usize, names: &mut Self::Names) -> Result<()>;
}

impl PromptHasher for BlockHasher {
    type Names = Chain;

    fn block_size(&self) -> usize {
        self.block_size()
    }

    fn go_on(&self, tokens: &[TokenId], namespace: &Namespace, kept: usize, names: &mut Chain) -> Result<()> {
        if kept == 0 {
            names.begin(self, namespace);
        } else {
            names.cut(kept);
        }
        names.append(self, &tokens[kept * self.block_size()..], namespace);
        Ok(())
    }
}

/// The names stand one behind the other, as [`EngineHasher::hash_into`] appends them.
impl PromptHasher for EngineHasher {
    type Names = Vec<u8>;

    fn block_size(&self) -> usize {
        self.block_size()
    }

    fn go_on(&self, tokens: &[TokenId], namespace: &Namespace, kept: usize, names: &mut Vec<u8>) -> Result<()> {
        self.go_on(tokens, namespace, kept, names)
    }
}

/// Remembers what was hashed last for each session, as far as its bound allows: of a prompt that begins as the last one of its
/// session did, only what follows is hashed. What is taken from memory was compared, token by token.
///
/// It pays for the engines' names, each of which is a SHA-256 or XXH3 behind the one before: comparing a block takes a small
/// part of hashing it. llmd's own names take about as long as comparing, so a memo of them saves nothing.
///
/// ```
/// use llmd_core::hash::{EngineHasher, Namespace, SessionMemo};
///
/// let mut memo = SessionMemo::new(EngineHasher::new("vllm-sha256_cbor", 16)?, 1 << 20);
/// let (mut names, namespace) = (Vec::new(), Namespace::default());
/// let turn: Vec<u32> = (0..640).collect();
///
/// assert_eq!(memo.hash_into("chat-7", &turn[..320], &namespace, &mut names)?, 0);
/// assert_eq!(memo.hash_into("chat-7", &turn, &namespace, &mut names)?, 20);
/// assert_eq!(names.len(), 40 * 32);
/// # Ok::<(), llmd_core::Error>(())
/// ```
pub struct SessionMemo<H: PromptHasher> {
    hasher: H,
    max_tokens: usize,
    sessions: HashMap<Box<str>, Session<H::Names>>,
    /// Sessions by when they were asked for, longest ago first.
    order: BTreeMap<u64, Box<str>>,
    asked: u64,
    kept: usize,
    dropped: u64,
}

/// What was hashed last.
struct Session<N> {
    tokens: Vec<TokenId>,
    namespace: Namespace,
    names: N,
    asked: u64,
    weight: usize,
}

/// What a session weighs besides its tokens, in tokens.
const OVERHEAD: usize = 64;

impl<H: PromptHasher> SessionMemo<H> {
    /// A memo that keeps sessions of `max_tokens` tokens together at most, where each counts as 64 more, and 4 bytes of its id
    /// and namespace as one.
    pub fn new(hasher: H, max_tokens: usize) -> Self {
        let (sessions, order) = (HashMap::new(), BTreeMap::new());
        Self { hasher, max_tokens, sessions, order, asked: 0, kept: 0, dropped: 0 }
    }

    /// What names are made by.
    pub const fn hasher(&self) -> &H {
        &self.hasher
    }

    /// Makes `names` those of a prompt, whatever it was before; says how many of its blocks were remembered of `session`.
    ///
    /// # Errors
    ///
    /// Those of the hasher; the memo and `names` are as they were.
    pub fn hash_into(
        &mut self,
        session: &str,
        tokens: &[TokenId],
        namespace: &Namespace,
        names: &mut H::Names,
    ) -> Result<usize> {
        let mut last = match self.sessions.remove(session) {
            Some(last) => last,
            None => Session::new(),
        };
        let remembered = last.common(tokens, namespace, self.hasher.block_size());
        if let Err(error) = self.hasher.go_on(tokens, namespace, remembered, &mut last.names) {
            if last.asked > 0 {
                self.sessions.insert(session.into(), last);
            }
            return Err(error);
        }
        names.clone_from(&last.names);
        self.order.remove(&last.asked);
        self.asked += 1;
        self.kept -= last.weight;
        last.take(tokens, namespace, remembered * self.hasher.block_size());
        (last.asked, last.weight) = (self.asked, weight(session, tokens, namespace));
        self.kept += last.weight;
        self.order.insert(self.asked, session.into());
        self.sessions.insert(session.into(), last);
        self.drop_oldest();
        Ok(remembered)
    }

    /// Forgets what was hashed for `session`.
    pub fn forget(&mut self, session: &str) {
        if let Some(gone) = self.sessions.remove(session) {
            self.order.remove(&gone.asked);
            self.kept -= gone.weight;
        }
    }

    /// Sessions that are remembered.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// What they weigh, in tokens.
    pub const fn tokens(&self) -> usize {
        self.kept
    }

    /// Sessions that had to make room for others, or were too long by themselves.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn drop_oldest(&mut self) {
        while self.kept > self.max_tokens
            && let Some((_, session)) = self.order.pop_first()
            && let Some(gone) = self.sessions.remove(&session)
        {
            self.kept -= gone.weight;
            self.dropped += 1;
        }
    }
}

impl<N: Default> Session<N> {
    fn new() -> Self {
        Self { tokens: Vec::new(), namespace: Namespace::default(), names: N::default(), asked: 0, weight: 0 }
    }

    /// How many blocks have the same content as those of `tokens`.
    fn common(&self, tokens: &[TokenId], namespace: &Namespace, size: usize) -> usize {
        let len = same_up_to(&self.namespace, namespace).min(self.tokens.len()).min(tokens.len());
        let (ours, theirs) = (&self.tokens[..len], &tokens[..len]);
        if ours == theirs {
            return len / size;
        }
        let blocks = ours.chunks_exact(size).zip(theirs.chunks_exact(size));
        blocks.take_while(|(ours, theirs)| ours == theirs).count()
    }

    /// Becomes what was hashed last; the first `same` tokens are what they were.
    fn take(&mut self, tokens: &[TokenId], namespace: &Namespace, same: usize) {
        self.tokens.truncate(same);
        self.tokens.extend_from_slice(&tokens[same..]);
        if self.namespace != *namespace {
            self.namespace = namespace.clone();
        }
    }
}

/// The token up to which two namespaces enter blocks alike.
fn same_up_to(one: &Namespace, other: &Namespace) -> usize {
    if one.lora != other.lora || one.cache_salt != other.cache_salt {
        return 0;
    }
    let same = one.multimodal.iter().zip(&other.multimodal).take_while(|(one, other)| one == other).count();
    let different = one.multimodal[same..].iter().chain(&other.multimodal[same..]);
    different.map(|item| item.offset).min().unwrap_or(usize::MAX)
}

fn weight(session: &str, tokens: &[TokenId], namespace: &Namespace) -> usize {
    let lora = namespace.lora.as_ref().map_or(0, |lora| lora.name.len() + lora.path.as_ref().map_or(0, String::len));
    let salt = namespace.cache_salt.as_ref().map_or(0, String::len);
    let items: usize = namespace.multimodal.iter().map(|item| item.identifier.len() + size_of_val(item)).sum();
    tokens.len() + OVERHEAD + (session.len() + lora + salt + items) / size_of::<TokenId>()
}

/// Sessions and their tokens are not shown.
impl<H: PromptHasher> fmt::Debug for SessionMemo<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("SessionMemo");
        fields.field("sessions", &self.sessions.len()).field("tokens", &self.kept).field("dropped", &self.dropped);
        fields.finish_non_exhaustive()
    }
}
