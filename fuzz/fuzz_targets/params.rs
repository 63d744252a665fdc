//! What a prefiller's answer lets a decoder fetch: a text that is read is written again as it came, and any other is refused by name.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llmd_kvxfer::testing::formats;

fuzz_target!(|bytes: &[u8]| {
    formats::params(bytes);
});
