//! What a fleet is made of, and what befalls it.

use std::time::Duration;

use crate::simulate::engine::Machine;

/// A fleet of engines and the routers before it.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// What each engine runs on.
    pub machines: Vec<Machine>,
    /// How often the routers read the engines' metrics. llm-d reads them every 50 ms.
    pub scrape: Duration,
    /// Routers that do not see each other's requests in flight; each request comes to one of them by chance.
    pub routers: usize,
    /// How likely it is that a batch of KV events is lost.
    pub lost_events: f64,
    /// Whether engines replay what was lost when they are asked.
    pub replays: bool,
    /// Engines that end.
    pub deaths: Vec<Death>,
    /// Whether a request brings a prefix along from another engine that holds more of it.
    pub pulls: Option<Pulls>,
}

impl Fleet {
    /// So many engines of one kind, and one router that reads metrics as llm-d's does.
    pub fn of(engines: usize, machine: Machine) -> Self {
        Self {
            machines: vec![machine; engines],
            scrape: Duration::from_millis(50),
            routers: 1,
            lost_events: 0.0,
            replays: true,
            deaths: Vec::new(),
            pulls: None,
        }
    }
}

/// An engine that ends, with all that it holds, and is started again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Death {
    /// Which engine.
    pub engine: usize,
    /// When, from the beginning of the run.
    pub at: Duration,
    /// How long it is away.
    pub away: Duration,
}

/// How prefixes come from a peer: llm-d's `p2p-source-producer`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pulls {
    /// How many tokens a peer must hold more, `minCachedTokenDelta`.
    pub min_tokens: usize,
    /// How long it takes, in seconds, to pull so many tokens: points of a curve, ascending.
    pub seconds: &'static [(f64, f64)],
}

impl Pulls {
    /// How long it takes to pull so many tokens: on the line through the two nearest points.
    pub fn takes(&self, tokens: usize) -> Duration {
        let tokens = tokens as f64;
        let after = self.seconds.partition_point(|&(upto, _)| upto < tokens).clamp(1, self.seconds.len() - 1);
        let [(x0, y0), (x1, y1)] = [self.seconds[after - 1], self.seconds[after]];
        Duration::from_secs_f64((y0 + (tokens - x0) * (y1 - y0) / (x1 - x0)).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_takes_what_the_curve_says() {
        let pulls = Pulls { min_tokens: 1, seconds: &[(0.0, 0.5), (100.0, 1.0), (200.0, 3.0)] };
        assert_eq!([0, 50, 150, 300].map(|tokens| pulls.takes(tokens).as_millis()), [500, 750, 2000, 5000]);
    }
}
