//! Move blocks: from one process to another, how fast beside what copying costs at all, and what comes of it when a bit flips, a
//! lease lapses or a grant is forged.

mod content;
mod lender;
mod limit;
mod other;

use std::time::Duration;

use llmd_core::{Error, ErrorKind, Result};
use llmd_kvxfer::{Agent, AgentBuilder, Fetch, Fetched, Grant, KvLayout, Outcome, Pool, Region, Shm, Tcp};

pub use self::lender::{LEND, lend};
use self::limit::Plain;
use self::other::{Other, Setting};
use crate::clock::Clock;
use crate::moved::Moved;
use crate::stats::Sorted;

/// How many blocks are moved at once.
pub(crate) const BLOCKS: u32 = 1024;
/// How many bytes each has.
pub(crate) const BLOCK_BYTES: u32 = 64 << 10;
/// At most how often all of them are moved, after the first time, which maps and touches memory.
const ROUNDS: usize = 21;
/// The block whose bit is flipped.
const FLIPPED: u32 = 700;
/// How often a lease is granted anew when all was read before it lapsed.
const LAPSES: u32 = 8;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long blocks are lent where nothing is to lapse, however slow the machine is.
const LENT: Duration = Duration::from_secs(3600);
/// When so much time is over, as many rounds are enough as there were.
const ENOUGH: Duration = Duration::from_secs(3);

/// By what blocks are moved.
const SHM: &[&str] = &["shm"];
/// By what a grant is forged: the side that lends looks at what it is asked.
const TCP: &[&str] = &["tcp"];

/// What came of moving blocks.
#[derive(Clone, Debug)]
pub(crate) struct BlocksResult {
    /// Where the process that lends was.
    pub(crate) setting: Setting,
    /// Bytes per nanosecond, which are GB per second, of moving all blocks.
    pub(crate) gbps: f64,
    /// The same of two threads that only copy.
    pub(crate) limit_gbps: f64,
    pub(crate) moved: Moved,
    /// What came after a bit was flipped, and which blocks did not.
    pub(crate) flipped: (Outcome, Vec<usize>),
    /// What came of a lease that lapsed, and for how long it was.
    pub(crate) lapsed: (Outcome, Duration),
    /// How long reading takes that lapsed meanwhile.
    pub(crate) reading: Duration,
    /// What came of a grant that nobody gave, by TCP, and of one that somebody did.
    pub(crate) forged: Outcome,
    pub(crate) given: Outcome,
}

/// The side that reads.
struct Reader {
    agent: Agent,
    pool: Pool,
    blocks: Vec<u32>,
    clock: Clock,
    moved: Moved,
}

/// How blocks of this part are laid out.
fn layout() -> Result<KvLayout> {
    KvLayout::opaque("llmd-demo", BLOCKS, BLOCK_BYTES)
}

/// By what both sides move blocks.
fn transports(agent: AgentBuilder) -> Result<AgentBuilder> {
    Ok(agent.transport(Shm::default()).transport(Tcp::bind("127.0.0.1:0")?))
}

/// Moves blocks from another process to this one, and breaks what can break.
///
/// # Errors
///
/// Those of starting the other process, of memory, and of agents; [`ErrorKind::Unavailable`] when nothing moves at all.
pub(crate) fn run(clock: Clock) -> Result<BlocksResult> {
    let mut other = Other::start()?;
    let agent = transports(Agent::builder("decode"))?.copy_threads(1).build()?;
    let layout = layout()?;
    let pool = agent.register(Region::memfd(layout.end() as usize)?, layout)?;
    let mut reader = Reader { agent, pool, blocks: (0..BLOCKS).collect(), clock, moved: Moved::default() };

    let grant = other.lend(LENT)?;
    let (gbps, limit_gbps, reading) = reader.race(&grant)?;
    let flipped = reader.flip(&mut other, &grant)?;
    let lapsed = reader.lapse(&mut other, reading)?;
    let (given, forged) = reader.forge(&other.lend(LENT)?)?;
    reader.agent.finish(&grant)?;
    let (setting, moved) = (other.setting(), reader.moved);
    Ok(BlocksResult { setting, gbps, limit_gbps, moved, flipped, lapsed, reading, forged, given })
}

impl Reader {
    /// Fetches all blocks of a grant by one of these, and says how long that took.
    fn fetch(&self, grant: &Grant, by: &[&str]) -> Result<(Fetched, Duration)> {
        let began = self.clock.now();
        let fetch = Fetch::new(grant, &self.pool, &self.blocks).within(PATIENCE).only(by).and_hold();
        let op = self.agent.submit(&fetch)?;
        let fetched = self.agent.wait(op, PATIENCE)?;
        Ok((fetched, self.clock.now() - began))
    }

    /// The same, into blocks that held nothing, checking every byte of what is said to have come.
    fn fetch_and_check(&mut self, grant: &Grant, by: &[&str]) -> Result<Fetched> {
        let nothing = vec![0; BLOCK_BYTES as usize];
        self.blocks.iter().try_for_each(|&block| self.pool.write_block(block, &nothing))?;
        let (fetched, _) = self.fetch(grant, by)?;
        let mut moved = Moved { bytes: fetched.bytes, ..Moved::default() };
        for &block in &self.blocks {
            let came = fetched.blocks.has(block as usize);
            match came && content::holds(&self.pool, block)? {
                true => moved.verified += 1,
                false if came => moved.corrupt_served += 1,
                false if fetched.outcome == Outcome::Corrupt => moved.corrupt += 1,
                false => {}
            }
        }
        self.moved += moved;
        Ok(fetched)
    }

    /// Moves all blocks again and again, in turns with two threads that only copy: both at their median, and how long moving takes.
    fn race(&mut self, grant: &Grant) -> Result<(f64, f64, Duration)> {
        let fetched = self.fetch_and_check(grant, SHM)?;
        if fetched.outcome != Outcome::Done {
            let why = fetched.why.unwrap_or_default();
            return Err(Error::new(ErrorKind::Unavailable, format!("blocks do not move: {} {why}", fetched.outcome)));
        }
        let mut plain = Plain::new(self.clock);
        let (mut moving, mut copying) = (Vec::new(), Vec::new());
        let began = self.clock.now();
        for _ in 0..ROUNDS {
            let (fetched, took) = self.fetch(grant, SHM)?;
            self.moved.bytes += fetched.bytes;
            moving.push(took.as_secs_f64());
            copying.push(plain.copy().as_secs_f64());
            if self.clock.now() - began > ENOUGH {
                break;
            }
        }
        self.fetch_and_check(grant, SHM)?;
        let (moving, copying) = (Sorted::new(moving).percentile(50.0), Sorted::new(copying).percentile(50.0));
        let gbps = |seconds: f64| f64::from(BLOCKS) * f64::from(BLOCK_BYTES) / seconds / 1e9;
        Ok((gbps(moving), gbps(copying), Duration::from_secs_f64(moving)))
    }

    /// One bit of one block is another than when the block was sealed.
    fn flip(&mut self, other: &mut Other, grant: &Grant) -> Result<(Outcome, Vec<usize>)> {
        other.flip(FLIPPED)?;
        let fetched = self.fetch_and_check(grant, SHM)?;
        other.flip(FLIPPED)?;
        Ok((fetched.outcome, fetched.blocks.failed().collect()))
    }

    /// A lease is shorter than the reading.
    fn lapse(&mut self, other: &mut Other, reading: Duration) -> Result<(Outcome, Duration)> {
        let mut lease = (reading / 2).max(Duration::from_millis(1));
        let mut outcome = Outcome::Done;
        for _ in 0..LAPSES {
            outcome = self.fetch_and_check(&other.lend(lease)?, SHM)?.outcome;
            if outcome != Outcome::Done {
                break;
            }
            lease = (lease / 2).max(Duration::from_millis(1));
        }
        Ok((outcome, lease))
    }

    /// A grant, and the same with a right that nobody gave.
    fn forge(&mut self, grant: &Grant) -> Result<(Outcome, Outcome)> {
        let forged = forged(grant).ok_or_else(|| Error::new(ErrorKind::Internal, "a grant that cannot be forged"))?;
        let given = self.fetch_and_check(grant, TCP)?.outcome;
        Ok((given, self.fetch_and_check(&forged, TCP)?.outcome))
    }
}

/// A grant that is the same in all that it shows, and has another right: a bit of what it does not show is flipped.
fn forged(grant: &Grant) -> Option<Grant> {
    let shown = |grant: &Grant| {
        let (addresses, blocks) = (grant.addresses().to_vec(), grant.blocks().to_vec());
        (grant.agent(), addresses, grant.pool(), grant.layout().clone(), grant.lease(), grant.ttl(), blocks)
    };
    let bytes = grant.to_bytes();
    let changed = (0..bytes.len()).filter_map(|place| {
        let mut bytes = bytes.clone();
        bytes[place] ^= 1;
        Grant::from_bytes(&bytes).ok()
    });
    changed.into_iter().find(|changed| changed != grant && shown(changed) == shown(grant))
}

impl BlocksResult {
    /// How near moving comes to copying.
    pub(crate) fn ratio(&self) -> f64 {
        self.gbps / self.limit_gbps
    }

    /// It in a few lines.
    pub(crate) fn lines(&self) -> String {
        let Self {
            gbps,
            limit_gbps,
            moved,
            flipped: (flipped, named),
            lapsed: (lapsed, lease),
            reading,
            forged,
            given,
            ..
        } = self;
        let kib = BLOCK_BYTES / 1024;
        let ms = |time: &Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        let named = match &named[..] {
            [one] => format!("block {one} is named, and the others are right"),
            others => format!("{} blocks are named", others.len()),
        };
        format!(
            "\
{setting}
{BLOCKS} blocks of {kib} KiB  {gbps:.2} GB/s by shared memory: {ratio:.0} % of the {limit_gbps:.2} GB/s of two threads that only copy
every byte checked     {verified} blocks were right, {wrong} of those said to be right were not
one bit is flipped     {flipped}: {named}
a lease lapses         {lapsed}: it was for {lease}, and reading takes {reading}
a grant is forged      {forged}, by TCP; the real one is {given}",
            setting = self.setting,
            ratio = self.ratio() * 100.0,
            verified = moved.verified,
            wrong = moved.corrupt_served,
            lease = ms(lease),
            reading = ms(reading),
        )
    }

    /// The promises that were not kept.
    pub(crate) fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        let (flipped, named) = &self.flipped;
        if (*flipped, &named[..]) != (Outcome::Corrupt, &[FLIPPED as usize]) {
            let (count, some) = (named.len(), &named[..named.len().min(3)]);
            broken.push(format!(
                "move blocks: a flipped bit is {flipped} of {count} blocks, {some:?} first, expected corrupt of [{FLIPPED}]"
            ));
        }
        for (what, outcome, expected) in [
            ("a lapsed lease", self.lapsed.0, Outcome::Stale),
            ("a forged grant", self.forged, Outcome::Denied),
            ("a grant by TCP", self.given, Outcome::Done),
        ] {
            if outcome != expected {
                broken.push(format!("move blocks: {what} is {outcome}, expected {expected}"));
            }
        }
        broken
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use llmd_kvxfer::{Lease, Local};

    use super::*;

    /// All as it should be.
    pub(crate) fn good() -> BlocksResult {
        BlocksResult {
            setting: Setting::OwnNamespace,
            gbps: 9.0,
            limit_gbps: 10.0,
            moved: Moved { verified: 2048, bytes: 1 << 30, ..Moved::default() },
            flipped: (Outcome::Corrupt, vec![FLIPPED as usize]),
            lapsed: (Outcome::Stale, Duration::from_millis(3)),
            reading: Duration::from_millis(7),
            forged: Outcome::Denied,
            given: Outcome::Done,
        }
    }

    #[test]
    fn a_forged_grant_shows_nothing_of_it_and_is_denied() {
        let here = Local::default();
        let build = |name: &str| Agent::builder(name).transport(here.clone()).build().unwrap();
        let (prefill, decode) = (build("prefill"), build("decode"));
        let pool = |agent: &Agent| {
            agent.register(Region::memfd(4096).unwrap(), KvLayout::opaque("test", 4, 1024).unwrap()).unwrap()
        };
        let (computed, cache) = (pool(&prefill), pool(&decode));
        let grant = prefill.grant(&computed, &[1, 2], Lease::for_secs(9)).unwrap();
        let forged = forged(&grant).unwrap();
        assert_ne!(forged, grant);
        assert_eq!(forged.lease(), grant.lease());
        for (grant, outcome) in [(forged, Outcome::Denied), (grant, Outcome::Done)] {
            let op = decode.fetch(&grant, &cache, &[0, 1], PATIENCE).unwrap();
            assert_eq!(decode.wait(op, PATIENCE).unwrap().outcome, outcome);
        }
    }

    #[test]
    fn what_went_otherwise_is_a_broken_promise() {
        assert!(good().broken().is_empty());
        let mut bad = good();
        (bad.flipped, bad.forged) = ((Outcome::Done, Vec::new()), Outcome::Done);
        bad.lapsed.0 = Outcome::Done;
        expect_test::expect![[r#"
            [
                "move blocks: a flipped bit is done of 0 blocks, [] first, expected corrupt of [700]",
                "move blocks: a lapsed lease is done, expected stale",
                "move blocks: a forged grant is done, expected denied",
            ]
        "#]]
        .assert_debug_eq(&bad.broken());
    }

    #[test]
    fn it_reads_well() {
        expect_test::expect![[r"
            prefill is another process, in a PID namespace of its own
            1024 blocks of 64 KiB  9.00 GB/s by shared memory: 90 % of the 10.00 GB/s of two threads that only copy
            every byte checked     2048 blocks were right, 0 of those said to be right were not
            one bit is flipped     corrupt: block 700 is named, and the others are right
            a lease lapses         stale: it was for 3.0 ms, and reading takes 7.0 ms
            a grant is forged      denied, by TCP; the real one is done"]]
        .assert_eq(&good().lines());
    }
}
