//! Agents that speak TLS with each other, and those that may not.

#![expect(clippy::unwrap_used, reason = "what fails in a test says where")]

mod between;
mod certificates;
mod pair;
mod relay;
mod speed;
mod strangers;
mod transfers;

use std::time::Duration;

use llmd_kvxfer::Tcp;

use self::certificates::Authority;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn tcp_is_a_transport_over_tls_too() {
    let tls = Authority::new().agent();
    llmd_kvxfer::testing::transport(|| Tcp::bind("127.0.0.1:0").unwrap().tls(tls.clone()));
}
