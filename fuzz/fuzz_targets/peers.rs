//! What agents say to each other: a message that is read is written again as it came, and none is read as two.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llmd_kvxfer::testing::formats;

fuzz_target!(|bytes: &[u8]| {
    formats::handshake(bytes);
    formats::shm_message(bytes);
    formats::tcp_message(bytes);
});
