//! Two streams over loopback, each with a thread on either side: a request names blocks, and they come one after the
//! other, from where they lie to where they go.

#![expect(unsafe_code, reason = "who has which blocks of the pool is known here")]

use std::io::{self, IoSliceMut, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use llmd_core::{Error, ErrorKind, Result};
use rustix::io::readv;
use serde_json::{Value, json};

use super::helper::Helper;
use crate::family::{Pull, Serve};
use crate::memory::Memory;
use crate::work::Work;

const STREAMS: usize = 2;
/// Pieces that the system takes in one call.
const PIECES: usize = 1024;
/// Bytes of one call: enough to be worth it, and little enough to begin soon.
const BYTES: usize = 8 << 20;
/// Blocks that a request may name.
const MOST_BLOCKS: usize = 1 << 20;

/// Has blocks, and sends those that are asked for.
#[derive(Debug)]
pub(super) struct Holder {
    listens: SocketAddr,
}

impl Holder {
    pub(super) fn new(pool: usize) -> Result<Self> {
        let pool = Arc::new(Memory::filled(pool)?);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(broken)?;
        let listens = listener.local_addr().map_err(broken)?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let pool = Arc::clone(&pool);
                // Ends when the puller closes it.
                thread::spawn(move || drop(serve(&pool, &stream)));
            }
        });
        Ok(Self { listens })
    }
}

impl Serve for Holder {
    fn offer(&mut self) -> Result<Value> {
        Ok(json!(self.listens))
    }
}

/// A request is two numbers of four bytes, the size of a block and how many, and then the blocks.
fn serve(pool: &Memory, mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut request, mut pieces) = (Vec::new(), Vec::with_capacity(PIECES));
    loop {
        let mut head = [0; 8];
        stream.read_exact(&mut head)?;
        let [size, count] = [0, 4].map(|at| number(&head[at..]) as usize);
        let has = pool.len().checked_div(size).unwrap_or(0);
        if count > MOST_BLOCKS {
            return Err(io::ErrorKind::InvalidData.into());
        }
        request.resize(4 * count, 0);
        stream.read_exact(&mut request)?;
        let blocks: Vec<_> = request.chunks_exact(4).map(number).collect();
        if blocks.iter().any(|block| *block as usize >= has) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let at_once = pieces_of(size);
        let mut sent = Progress::default();
        while sent.block < count {
            let end = (sent.block + at_once).min(count);
            pool.gather(&blocks[sent.block..end], size, sent.byte, &mut pieces);
            sent.add(stream.write_vectored(&pieces)?, size)?;
        }
    }
}

/// Asks for blocks on two streams.
#[derive(Debug)]
pub(super) struct Puller {
    pool: Arc<Memory>,
    streams: Vec<Arc<TcpStream>>,
    helper: Helper,
    work: Option<Arc<Work>>,
    /// The transfer under way.
    pull: usize,
}

impl Puller {
    pub(super) fn new(pool: usize) -> Result<Self> {
        let (pool, helper) = (Arc::new(Memory::create(pool)?), Helper::start());
        Ok(Self { pool, streams: Vec::new(), helper, work: None, pull: 0 })
    }
}

impl Pull for Puller {
    fn meet(&mut self, offer: &Value) -> Result<()> {
        let address = offer.as_str().unwrap_or_default();
        let connect = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            Ok(Arc::new(stream))
        };
        self.streams = (0..STREAMS).map(|_| connect()).collect::<io::Result<_>>().map_err(broken)?;
        Ok(())
    }

    fn prepare(&mut self, work: &Work, _: &Value) -> Result<()> {
        self.work = Some(Arc::new(work.clone()));
        Ok(())
    }

    /// The helper's half is under way from here on, this thread's from [`finish`](Self::finish) on: the two requests go out
    /// at once.
    fn post(&mut self, _: &Work, pull: usize) -> Result<()> {
        let (Some(work), [_, second]) = (&self.work, &self.streams[..]) else {
            return Err(Error::new(ErrorKind::Invalid, "nobody was met, or nothing was prepared"));
        };
        self.pull = pull;
        let (pool, stream, work) = (Arc::clone(&self.pool), Arc::clone(second), Arc::clone(work));
        let half = work.point.blocks / STREAMS;
        self.helper.give(move || {
            let list = work.list(pull);
            // SAFETY: the first half of the list is this thread's.
            unsafe { fetch(&pool, &stream, &list.theirs()[..half], &list.mine()[..half], work.point.size) }
                .map_err(broken)
        })
    }

    fn finish(&mut self) -> Result<()> {
        if let (Some(work), [first, _]) = (&self.work, &self.streams[..]) {
            let (list, half) = (work.list(self.pull), work.point.blocks / STREAMS);
            let (theirs, mine) = (&list.theirs()[half..], &list.mine()[half..]);
            // SAFETY: the second half of the list is this thread's; blocks of a list are different ones.
            unsafe { fetch(&self.pool, first, theirs, mine, work.point.size) }.map_err(broken)?;
        }
        self.helper.wait()
    }

    fn pool(&mut self) -> &mut [u64] {
        Arc::get_mut(&mut self.pool).expect("a task that was waited for has given its pool back").words_mut()
    }
}

/// Asks for `theirs`, and reads them into `mine`.
///
/// # Safety
///
/// The blocks in `mine` are different ones, and nobody else reads or writes them.
unsafe fn fetch(pool: &Memory, mut stream: &TcpStream, theirs: &[u32], mine: &[u32], size: usize) -> io::Result<()> {
    let narrow = |number: usize| u32::try_from(number).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let head = [narrow(size)?, narrow(theirs.len())?];
    let request: Vec<_> = head.iter().chain(theirs).flat_map(|number| number.to_le_bytes()).collect();
    stream.write_all(&request)?;

    let (at_once, mut pieces) = (pieces_of(size), Vec::<IoSliceMut<'_>>::with_capacity(PIECES));
    let mut got = Progress::default();
    while got.block < mine.len() {
        let end = (got.block + at_once).min(mine.len());
        // SAFETY: the caller has these blocks for this stream, and the slices of the last turn are gone.
        unsafe { pool.scatter(&mine[got.block..end], size, got.byte, &mut pieces) };
        got.add(readv(stream, &mut pieces)?, size)?;
    }
    Ok(())
}

/// How far into a list of blocks a stream has come.
#[derive(Debug, Default)]
struct Progress {
    block: usize,
    byte: usize,
}

impl Progress {
    fn add(&mut self, bytes: usize, size: usize) -> io::Result<()> {
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let reached = self.byte + bytes;
        (self.block, self.byte) = (self.block + reached / size, reached % size);
        Ok(())
    }
}

/// Blocks of one call.
fn pieces_of(size: usize) -> usize {
    (BYTES / size.max(1)).clamp(1, PIECES)
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "a stream over loopback is broken").with_source(error)
}
