//! The admitter of a scheduler without flow control: what may be refused is refused while everybody is full.

use std::sync::Arc;

use crate::plugin::{Admitter, Candidates, Context, Data, Detector, Plugin, Refusal};

/// Refuses a request of less importance than 0 with 429 while the endpoints are full, as a [`Detector`] says: from a
/// saturation of 1.
///
/// Semantics: llm-d's admission without the feature gate `flowControl`, which gives no reason either.
#[derive(Clone, Debug)]
pub struct SaturationAdmitter(Arc<dyn Detector>);

impl SaturationAdmitter {
    /// An admitter by what `detector` says.
    pub fn new(detector: Arc<dyn Detector>) -> Self {
        Self(detector)
    }
}

impl Plugin for SaturationAdmitter {
    fn reads(&self) -> Vec<Data> {
        self.0.reads()
    }

    fn settings(&self) -> String {
        self.0.settings()
    }
}

impl Admitter for SaturationAdmitter {
    fn admit(&self, cx: &mut Context<'_>, candidates: &Candidates<'_>) -> Result<(), Refusal> {
        if cx.request.priority >= 0 {
            return Ok(());
        }
        let saturation = self.0.saturation(candidates, cx.now);
        if saturation < 1.0 {
            return Ok(());
        }
        let message =
            format!("endpoints are full to {saturation:.3}, and requests of less importance than 0 are refused");
        Err(Refusal::new(429, message))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plugin::{Attributes, Snapshot};
    use crate::testing::{Chance, pool, request};

    #[derive(Debug)]
    struct Always(f64);

    impl Plugin for Always {}

    impl Detector for Always {
        fn saturation(&self, _: &Candidates<'_>, _: Duration) -> f64 {
            self.0
        }
    }

    #[test]
    fn requests_of_less_importance_are_refused_while_endpoints_are_full() {
        let table = [(-1, 0.999, true), (-1, 1.0, false), (-1, 7.0, false), (0, 7.0, true), (3, 7.0, true)];
        for (priority, saturation, admitted) in table {
            let (pool, mut chance) = (pool(1), Chance::new(1));
            let (request, attributes) = (request([]).with_priority(priority), Attributes::default());
            let (snapshot, admitter) = (Snapshot::of(&pool), SaturationAdmitter::new(Arc::new(Always(saturation))));
            let mut cx = Context::new(&request, &attributes, Duration::ZERO, &mut chance);
            let said = admitter.admit(&mut cx, &Candidates::new(&pool, &snapshot));
            let expected = if admitted { None } else { Some((429, None)) };
            assert_eq!(said.err().map(|refused| (refused.status, refused.reason)), expected, "{priority} {saturation}");
        }
    }
}
