//! Who holds a prompt of 1,024 tokens among 64 workers: through the C library, beside the same in Rust.
#![expect(unsafe_code, reason = "the bench calls as C does")]

use std::ffi::CString;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use llmd::index::{
    LLMD_MEDIA, LLMD_NO_SEQ, llmd_index, llmd_index_apply, llmd_index_new, llmd_index_query, llmd_index_settings,
    llmd_overlap,
};
use llmd::status::llmd_status;
use llmd_core::feed::Feed;
use llmd_core::hash::Namespace;
use llmd_core::index::{IndexSettings, Overlap, PrefixIndex as _};

const WORKERS: usize = 64;
const BLOCK_SIZE: usize = 16;
const TOKENS: u32 = 1024;

/// A message in which an engine says that it has computed `tokens`, as msgpack with one length for every number and array.
fn stored(tokens: &[u32]) -> Vec<u8> {
    let array = |len: usize| [&[0xdc][..], &(len as u16).to_be_bytes()].concat();
    let number = |number: u32| [&[0xce][..], &number.to_be_bytes()].concat();
    let numbers = |all: &[u32]| [array(all.len()), all.iter().flat_map(|each| number(*each)).collect()].concat();
    let names: Vec<_> = (1..).take(tokens.len() / BLOCK_SIZE).collect();
    let nil = vec![0xc0];
    let event = [
        array(6),
        b"\xabBlockStored".to_vec(),
        numbers(&names),
        nil.clone(),
        numbers(tokens),
        number(BLOCK_SIZE as u32),
        nil,
    ];
    [array(2), b"\xcb\x3f\xf0\0\0\0\0\0\0".to_vec(), array(1), event.concat()].concat()
}

/// The same fleet twice: each worker holds a little more of the prompt than the one before.
fn fleets(prompt: &[u32]) -> (Box<llmd_index>, Feed) {
    let settings = llmd_index_settings {
        struct_size: size_of::<llmd_index_settings>(),
        block_size: BLOCK_SIZE,
        max_blocks: 0,
        max_orphans: 0,
        max_remembered: 0,
        max_workers: 0,
        max_payload: 0,
        max_waiting: 0,
        recover_within_ms: 0,
        without_replay: 0,
    };
    // SAFETY: the settings are there.
    let index = unsafe { llmd_index_new(&raw const settings, None) }.expect("the settings are right");
    let feed = Feed::new(IndexSettings::default().with_block_size(BLOCK_SIZE)).expect("the settings are right");
    for worker in 0..WORKERS {
        let name = format!("pod-{worker}");
        let payload = stored(&prompt[..(worker + 1) * BLOCK_SIZE]);
        feed.apply(Duration::ZERO, &name, None, &payload).expect("the batch is right");
        let name = CString::new(name).expect("the name has no NUL");
        let (data, len) = (payload.as_ptr(), payload.len());
        // SAFETY: name and payload are there; nobody asks how it went.
        let status =
            unsafe { llmd_index_apply(Some(&index), name.as_ptr(), LLMD_NO_SEQ, data, len, ptr::null_mut(), None) };
        assert_eq!(status, llmd_status::LLMD_OK);
    }
    (index, feed)
}

fn query(criterion: &mut Criterion) {
    let prompt: Vec<_> = (0..TOKENS).collect();
    let (index, feed) = fleets(&prompt);
    let mut overlap = Overlap::default();
    let mut out = [MaybeUninit::<llmd_overlap>::uninit(); WORKERS];
    let ask = |out: &mut [MaybeUninit<llmd_overlap>]| {
        let (tokens, mut len) = (black_box(&prompt), out.len());
        let room = out.as_mut_ptr().cast::<llmd_overlap>();
        // SAFETY: the tokens are there, and there is room for `len` overlaps.
        let status = unsafe {
            llmd_index_query(Some(&index), tokens.as_ptr(), tokens.len(), ptr::null(), room, Some(&mut len), None)
        };
        assert_eq!((status, len), (llmd_status::LLMD_OK, WORKERS));
    };
    ask(&mut out);
    // SAFETY: every one was written.
    let last = unsafe { out[WORKERS - 1].assume_init() };
    assert_eq!((last.leading, last.on), (TOKENS / BLOCK_SIZE as u32, on_gpu(last.leading)));

    let mut group = criterion.benchmark_group("c/query_64x64");
    group.bench_function("llmd", |bench| bench.iter(|| ask(&mut out)));
    group.bench_function("part_rust", |bench| {
        bench.iter(|| {
            let chain = feed.reader().hasher().chain(black_box(&prompt), &Namespace::default());
            feed.reader().query_into(&chain, &mut overlap);
            assert_eq!(overlap.len(), WORKERS);
        });
    });
    group.finish();
}

fn on_gpu(leading: u32) -> [u32; LLMD_MEDIA] {
    let mut on = [0; LLMD_MEDIA];
    on[0] = leading;
    on
}

fn settings() -> Criterion {
    let criterion = Criterion::default().sample_size(60);
    criterion.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3)).configure_from_args()
}

criterion_group! { name = benches; config = settings(); targets = query }
criterion_main!(benches);
