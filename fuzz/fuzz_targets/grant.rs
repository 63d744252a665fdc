//! The bytes of a grant: one that is read is written again as it was, and leads nowhere outside its layout.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llmd_kvxfer::testing::formats;

fuzz_target!(|bytes: &[u8]| {
    formats::grant(bytes);
});
