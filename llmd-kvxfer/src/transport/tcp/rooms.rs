//! Memory of the host that segments of devices pass through.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::region::Region;

/// What most segments fit in.
const ROOM: u64 = 2 << 20;
/// How many bytes all connections of an agent may have at once, and how many are kept that none has.
const MAX_USED: u64 = 512 << 20;
const MAX_FREE: u64 = 32 << 20;

/// Rooms for the segments of all connections of one agent.
///
/// They are not what devices have pinned: of that there is little, and peers that take their time would have it all.
#[derive(Debug, Default)]
pub(super) struct Rooms(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    free: Vec<Region>,
    used: u64,
}

impl Rooms {
    /// One for so many bytes; `None` while there are too many.
    pub(super) fn take(self: &Arc<Self>, bytes: u64) -> Option<Room> {
        let mut state = self.0.lock();
        let place = state.free.iter().position(|free| free.len() as u64 >= bytes);
        let there = place.map(|place| state.free.swap_remove(place));
        let len = there.as_ref().map_or_else(|| bytes.max(ROOM), |region| region.len() as u64);
        if state.used > 0 && state.used + len > MAX_USED {
            state.free.extend(there);
            return None;
        }
        state.used += len;
        drop(state);
        let region = there.unwrap_or_else(|| Region::adopt_bytes(vec![0; len as usize]));
        Some(Room { region, rooms: Arc::clone(self) })
    }
}

/// Memory that is one segment's alone until it drops.
#[derive(Debug)]
pub(super) struct Room {
    region: Region,
    rooms: Arc<Rooms>,
}

impl Room {
    pub(super) const fn region(&self) -> &Region {
        &self.region
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut state = self.rooms.0.lock();
        let len = self.region.len() as u64;
        state.used -= len;
        if state.free.iter().map(|free| free.len() as u64).sum::<u64>() + len <= MAX_FREE {
            state.free.push(self.region.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_taken_again_and_there_is_an_end() {
        let rooms = Arc::new(Rooms::default());
        let first = rooms.take(100).unwrap();
        let address = first.region().address();
        assert_eq!(first.region().len() as u64, ROOM);
        drop(first);
        assert_eq!(rooms.take(ROOM).unwrap().region().address(), address);
        // However much it is, one has room.
        let most = rooms.take(MAX_USED + 1).unwrap();
        assert!(rooms.take(1).is_none());
        drop(most);
        let all: Vec<_> = (0..MAX_USED / ROOM).map(|_| rooms.take(1).unwrap()).collect();
        assert!(rooms.take(1).is_none());
        drop(all);
        let state = rooms.0.lock();
        assert_eq!((state.used, state.free.len() as u64), (0, MAX_FREE / ROOM));
    }
}
