//! What stands between two agents, reads along, and does to what passes what a bad network does.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// What stands between two agents.
pub(crate) struct Between {
    pub(crate) address: SocketAddr,
    fate: Arc<Mutex<Fate>>,
}

/// What becomes of what passes.
pub(crate) struct Fate {
    /// Where the side that serves listens.
    pub(crate) to: SocketAddr,
    /// Of what it sends on each connection: where a bit is turned, where the connection is cut, where nothing more passes for now.
    pub(crate) flip: u64,
    pub(crate) cut: u64,
    pub(crate) hold: u64,
    /// On how many of the first connections, counted in both directions, it is held there.
    pub(crate) held: usize,
    /// All that passed, in both directions, one connection and direction after the other.
    pub(crate) seen: Vec<Vec<u8>>,
}

pub(crate) const NEVER: u64 = u64::MAX;

impl Between {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let fate = Fate { to: address, flip: NEVER, cut: NEVER, hold: NEVER, held: usize::MAX, seen: Vec::new() };
        let fate = Arc::new(Mutex::new(fate));
        let known = Arc::clone(&fate);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let to = known.lock().to;
                let Ok(server) = TcpStream::connect(to) else { continue };
                let (other_client, other_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let fate = Arc::clone(&known);
                std::thread::spawn(move || pass(&other_client, &other_server, &fate, false));
                let fate = Arc::clone(&known);
                std::thread::spawn(move || pass(&server, &client, &fate, true));
            }
        });
        Self { address, fate }
    }

    pub(crate) fn turn<T>(&self, change: impl FnOnce(&mut Fate) -> T) -> T {
        change(&mut self.fate.lock())
    }
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, fate: &Mutex<Fate>, is_served: bool) {
    let (mut passed, mut bytes) = (0_u64, vec![0; 16 << 10]);
    let place = {
        let seen = &mut fate.lock().seen;
        seen.push(Vec::new());
        seen.len() - 1
    };
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let is_held = |fate: &Fate| place < fate.held && passed >= fate.hold;
        while is_served && is_held(&fate.lock()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut fate = fate.lock();
        if is_served {
            if passed >= fate.cut {
                break;
            }
            if let Some(place) = fate.flip.checked_sub(passed).filter(|&place| place < count as u64) {
                bytes[place as usize] ^= 4;
            }
        }
        fate.seen[place].extend_from_slice(&bytes[..count]);
        drop(fate);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
        passed += count as u64;
    }
    let _closed = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
