//! What a prefiller's answer says to the decoder: how much there is, and what lets it be fetched.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use llmd_core::{Error, ErrorKind, GroupIdx, Result};

use super::text;

/// What lets a peer fetch blocks, as the agent wrote it. Only agents can read it.
pub type GrantBytes = Arc<[u8]>;

/// One shard of one cache group: what one agent grants of a request.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "a cache is divided by groups and by shards")]
pub struct Part {
    /// The cache group.
    pub group: GroupIdx,
    /// The shard of the producer, over its tensor and pipeline ranks, from 0.
    pub shard: u32,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {} of group {}", self.shard, self.group.0)
    }
}

/// A part that was granted.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "it is what the codec writes, and a new field is a new version of it")]
pub struct Granted {
    /// Which part.
    pub part: Part,
    /// The token at which the first of its blocks begins: 0, or later where a group forgets.
    pub from_token: u32,
    /// What lets it be fetched.
    pub grant: GrantBytes,
}

/// What stands as [`GRANT`](llmd_core::protocol::GRANT) in a prefiller's answer, as text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Params {
    tokens: u32,
    ttl: Duration,
    granted: Vec<Granted>,
}

/// The first byte of what is written.
const VERSION: u8 = 1;

impl Params {
    /// At most how many parts a request has.
    pub const MAX_PARTS: usize = 1024;

    /// At most how many bytes they are: as text and between quotes, the 64 KiB that routers let through.
    pub const MAX_BYTES: usize = ((64 << 10) - 2) / 4 * 3;

    /// At most how long a lease is.
    pub const MAX_TTL: Duration = Duration::from_hours(24);

    /// This many tokens from the prompt's begin, in these parts, whose leases last for `ttl` unless they are kept.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when there are no tokens, when a lease lasts less than a millisecond or more than
    /// [`MAX_TTL`](Self::MAX_TTL), when the parts are not in order or not the same shards of every group, when one begins
    /// behind the last token or has an empty grant, and when there are more than [`MAX_PARTS`](Self::MAX_PARTS) or
    /// [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn new(tokens: u32, ttl: Duration, granted: Vec<Granted>) -> Result<Self> {
        if tokens == 0 {
            return Err(invalid("0 tokens: expected 1 or more"));
        }
        if ttl < Duration::from_millis(1) || ttl > Self::MAX_TTL {
            return Err(invalid(format!("a lease of {ttl:?}: expected 1ms to {:?}", Self::MAX_TTL)));
        }
        if granted.is_empty() || granted.len() > Self::MAX_PARTS {
            return Err(invalid(format!("{} parts: expected 1 to {}", granted.len(), Self::MAX_PARTS)));
        }
        check_parts(granted.iter().map(|granted| granted.part))?;
        for Granted { part, from_token, grant } in &granted {
            if *from_token >= tokens {
                return Err(invalid(format!("{part} begins at token {from_token}: expected less than {tokens}")));
            }
            if grant.is_empty() {
                return Err(invalid(format!("{part} has a grant of 0 bytes: expected 1 or more")));
            }
        }
        let params = Self { tokens, ttl, granted };
        let bytes = params.len();
        if bytes > Self::MAX_BYTES {
            return Err(invalid(format!("{bytes} bytes of grants: expected at most {}", Self::MAX_BYTES)));
        }
        Ok(params)
    }

    /// How many tokens of the prompt the prefiller holds, its last block included if that is not full.
    pub const fn tokens(&self) -> u32 {
        self.tokens
    }

    /// How long the leases last from when they are granted or kept.
    pub const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The parts, in order.
    pub fn granted(&self) -> &[Granted] {
        &self.granted
    }

    fn len(&self) -> usize {
        const HEAD: usize = 1 + 4 + 4 + 2;
        const PART: usize = 4 + 4 + 4 + 2;
        HEAD + self.granted.iter().map(|granted| PART + granted.grant.len()).sum::<usize>()
    }

    /// As it stands in the answer.
    pub fn to_text(&self) -> String {
        let mut bytes = Vec::with_capacity(self.len());
        bytes.push(VERSION);
        bytes.extend(self.tokens.to_le_bytes());
        bytes.extend((self.ttl.as_millis() as u32).to_le_bytes());
        bytes.extend((self.granted.len() as u16).to_le_bytes());
        for Granted { part, from_token, grant } in &self.granted {
            bytes.extend(part.group.0.to_le_bytes());
            bytes.extend(part.shard.to_le_bytes());
            bytes.extend(from_token.to_le_bytes());
            bytes.extend((grant.len() as u16).to_le_bytes());
            bytes.extend_from_slice(grant);
        }
        text::encode(&bytes)
    }

    /// What [`to_text`](Self::to_text) wrote.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for anything else, and as [`new`](Self::new).
    pub fn from_text(text: &str) -> Result<Self> {
        const MAX_LETTERS: usize = Params::MAX_BYTES / 3 * 4;
        if text.len() > MAX_LETTERS {
            return Err(invalid(format!("a grant of {} letters: expected at most {MAX_LETTERS}", text.len())));
        }
        let bytes = text::decode(text).ok_or_else(|| invalid(format!("grant {}: expected base64url", begin(text))))?;
        let mut rest = Reader(&bytes);
        let version = u8::from_le_bytes(rest.array()?);
        if version != VERSION {
            return Err(invalid(format!("a grant of version {version}: expected {VERSION}")));
        }
        let (tokens, ttl) = (rest.u32()?, Duration::from_millis(rest.u32()?.into()));
        let parts = u16::from_le_bytes(rest.array()?);
        let mut granted = Vec::with_capacity(usize::from(parts).min(Self::MAX_PARTS));
        for _ in 0..parts {
            let part = Part { group: GroupIdx(rest.u32()?), shard: rest.u32()? };
            let from_token = rest.u32()?;
            let len = u16::from_le_bytes(rest.array()?);
            granted.push(Granted { part, from_token, grant: rest.take(len.into())?.into() });
        }
        if !rest.0.is_empty() {
            return Err(invalid(format!("a grant with {} bytes too many: expected none", rest.0.len())));
        }
        Self::new(tokens, ttl, granted)
    }
}

/// Every group has the same shards, 0 and up; and they stand in order.
pub(super) fn check_parts(parts: impl Iterator<Item = Part>) -> Result<()> {
    let (mut last, mut shards): (Option<Part>, Option<u32>) = (None, None);
    for part in parts {
        if let Some(last) = last.filter(|last| last.group != part.group) {
            if last.group > part.group {
                return Err(invalid(format!("{part} behind {last}: expected a later group")));
            }
            check_shards(&mut shards, last)?;
        }
        let before = last.filter(|last| last.group == part.group);
        let expected = before.map_or(0, |before| before.shard.saturating_add(1));
        if part.shard != expected {
            return Err(invalid(format!("{part}: expected shard {expected}")));
        }
        last = Some(part);
    }
    last.map_or(Ok(()), |last| check_shards(&mut shards, last))
}

fn check_shards(shards: &mut Option<u32>, last: Part) -> Result<()> {
    let expected = *shards.get_or_insert(last.shard);
    if expected == last.shard {
        return Ok(());
    }
    Err(invalid(format!("{last} is the last of its group: expected shard {expected}")))
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(|| {
            invalid(format!("a grant that ends {} bytes early: expected it whole", len - self.0.len()))
        })?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }
}

/// Enough of a text to know it by.
fn begin(text: &str) -> String {
    let begin: String = text.chars().take(24).collect();
    if begin.len() < text.len() { format!("{begin:?}…") } else { format!("{begin:?}") }
}

pub(super) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn granted(group: u32, shard: u32, grant: &[u8]) -> Granted {
        Granted { part: Part { group: GroupIdx(group), shard }, from_token: 0, grant: grant.into() }
    }

    fn refused(tokens: u32, ttl: Duration, granted: Vec<Granted>) -> String {
        Params::new(tokens, ttl, granted).unwrap_err().to_string()
    }

    #[test]
    fn a_group_that_lacks_a_shard_is_refused() {
        let parts = |parts: &[(u32, u32)]| {
            refused(9, TTL, parts.iter().map(|(group, shard)| granted(*group, *shard, b"g")).collect())
        };
        let part = |group, shard| format!("shard {shard} of group {group}");
        assert_eq!(parts(&[(0, 1)]), format!("{}: expected shard 0", part(0, 1)));
        assert_eq!(parts(&[(0, 0), (0, 2)]), format!("{}: expected shard 1", part(0, 2)));
        assert_eq!(parts(&[(1, 0), (0, 0)]), format!("{} behind {}: expected a later group", part(0, 0), part(1, 0)));
        let last = part(1, 0);
        assert_eq!(parts(&[(0, 0), (0, 1), (1, 0)]), format!("{last} is the last of its group: expected shard 1"));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        assert_eq!(refused(0, TTL, vec![granted(0, 0, b"g")]), "0 tokens: expected 1 or more");
        assert_eq!(refused(9, Duration::ZERO, vec![granted(0, 0, b"g")]), "a lease of 0ns: expected 1ms to 86400s");
        assert_eq!(refused(9, TTL, Vec::new()), "0 parts: expected 1 to 1024");
        let late = Granted { from_token: 9, ..granted(0, 0, b"g") };
        let part = "shard 0 of group 0";
        assert_eq!(refused(9, TTL, vec![late]), format!("{part} begins at token 9: expected less than 9"));
        assert_eq!(
            refused(9, TTL, vec![granted(0, 0, b"")]),
            format!("{part} has a grant of 0 bytes: expected 1 or more")
        );
        assert_eq!(
            refused(9, TTL, vec![granted(0, 0, &[7; Params::MAX_BYTES])]),
            "49174 bytes of grants: expected at most 49149"
        );
    }

    #[test]
    fn the_longest_is_no_longer_than_routers_let_through() {
        let longest = Params::new(9, TTL, vec![granted(0, 0, &[7; Params::MAX_BYTES - 25])]).unwrap();
        assert_eq!(longest.to_text().len() + 2, (64 << 10) - 2);
        assert_eq!(Params::from_text(&longest.to_text()).unwrap(), longest);
    }

    #[test]
    fn what_is_no_grant_says_so() {
        let read = |text: &str| Params::from_text(text).unwrap_err().to_string();
        assert_eq!(read(""), "a grant that ends 1 bytes early: expected it whole");
        assert_eq!(read("not a grant, whatever it is"), "grant \"not a grant, whatever it\"…: expected base64url");
        assert_eq!(read("Ag"), "a grant of version 2: expected 1");
        assert_eq!(read(&"A".repeat(70_000)), "a grant of 70000 letters: expected at most 65532");
        let mut bytes = text::decode(&Params::new(9, TTL, vec![granted(0, 0, b"g")]).unwrap().to_text()).unwrap();
        bytes.push(0);
        assert_eq!(read(&text::encode(&bytes)), "a grant with 1 bytes too many: expected none");
    }

    fn any_params() -> impl Strategy<Value = Params> {
        let shape = (1..4_u32, 1..5_u32, 1..100_000_u32, 1..100_000_u32);
        shape.prop_flat_map(|(groups, shards, tokens, ttl)| {
            let parts = (groups * shards) as usize;
            let each = prop::collection::vec((0..tokens, prop::collection::vec(any::<u8>(), 1..40)), parts);
            each.prop_map(move |each| {
                let granted = each.into_iter().enumerate().map(|(at, (from_token, grant))| {
                    let part = Part { group: GroupIdx(at as u32 / shards), shard: at as u32 % shards };
                    Granted { part, from_token, grant: grant.into() }
                });
                Params::new(tokens, Duration::from_millis(ttl.into()), granted.collect()).unwrap()
            })
        })
    }

    fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..60)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(params in any_params()) {
            prop_assert_eq!(Params::from_text(&params.to_text()).unwrap(), params);
        }

        #[test]
        fn what_is_read_is_what_would_be_written(params in any_params(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut bytes = text::decode(&params.to_text()).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(cut.index(bytes.len() * 2).max(1));
            let text = text::encode(&bytes);
            if let Ok(read) = Params::from_text(&text) {
                prop_assert_eq!(read.to_text(), text);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes in any_bytes()) {
            bytes.insert(0, VERSION);
            let _ = Params::from_text(&text::encode(&bytes));
        }
    }
}
