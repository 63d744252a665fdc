//! How fast it is, beside the same without TLS.

use crate::certificates::Authority;
use crate::pair::{Lender, Reader, Shape};

/// `cargo test --release -p llmd-kvxfer --features testing,tls --test tls -- --ignored --nocapture how_fast`
#[test]
#[ignore = "measures, which takes a release build and a machine that does nothing else"]
fn how_fast_it_is() {
    println!("1024 blocks over loopback, GB/s, median of 9 (plain, TLS)");
    let tls = Authority::new().agent();
    for bytes in [4 << 10, 64 << 10, 256 << 10] {
        let shape = Shape(1024, bytes);
        let rates = [None, Some(tls.clone())].map(|tls| {
            let (lender, reader) = (Lender::new(tls.clone(), shape), Reader::new(tls, shape));
            reader.fetches_all(&lender);
            let mut took: Vec<_> = (0..9).map(|_| reader.takes(&lender)).collect();
            took.sort();
            f64::from(shape.0) * f64::from(shape.1) / took[4].as_secs_f64() / 1e9
        });
        println!("{:>5} KiB: {:6.2} {:6.2}", bytes >> 10, rates[0], rates[1]);
    }
}
