//! The endpoints of one model, as they are at one moment.

mod said;

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::Endpoint;
pub(crate) use said::Said;

/// The endpoints of one model, as they are at one moment.
#[derive(Clone, Debug, Default)]
pub struct Pool(Arc<Members>);

#[derive(Debug, Default)]
struct Members {
    endpoints: Box<[Arc<Endpoint>]>,
    /// What they had said when somebody asked last.
    said: ArcSwap<Said>,
}

impl Pool {
    /// A pool of these endpoints.
    pub fn new(endpoints: impl IntoIterator<Item = Arc<Endpoint>>) -> Self {
        let endpoints: Box<[_]> = endpoints.into_iter().collect();
        let said = ArcSwap::from_pointee(Said::of(&endpoints));
        Self(Arc::new(Members { endpoints, said }))
    }

    /// What its endpoints say about themselves now.
    pub(crate) fn said(&self) -> Arc<Said> {
        let said = self.0.said.load_full();
        let Some(renewed) = said.renewed(self) else { return said };
        let renewed = Arc::new(renewed);
        // Of two who do so at once, one may put what is older: the next who asks notices.
        self.0.said.store(Arc::clone(&renewed));
        renewed
    }
}

impl Deref for Pool {
    type Target = [Arc<Endpoint>];

    fn deref(&self) -> &Self::Target {
        &self.0.endpoints
    }
}

impl FromIterator<Endpoint> for Pool {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        Self::new(endpoints.into_iter().map(Arc::new))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{metrics, pool};

    proptest! {
        /// Whoever says something whenever, it is known to the next who asks, and what was known before stays as it was.
        #[test]
        fn what_endpoints_say_is_known_at_once(
            endpoints in 1..50_u32, said in proptest::collection::vec((0..50_usize, 0..9_u64), 0..60),
        ) {
            let pool = pool(endpoints);
            let waiting = |said: &Said| {
                (0..pool.len()).map(|place| said.get(place)?.waiting_requests).collect::<Vec<_>>()
            };
            let mut expected = vec![None; pool.len()];
            for (place, number) in said {
                let before = pool.said();
                prop_assert_eq!(&waiting(&before), &expected);
                let place = place % pool.len();
                pool[place].set_metrics(metrics(number, 0, 0.0));
                prop_assert_eq!(&waiting(&before), &expected);
                expected[place] = Some(number);
                prop_assert_eq!(&waiting(&pool.said()), &expected);
            }
            prop_assert!(Arc::ptr_eq(&pool.said(), &pool.said()), "silence costs nothing");
        }
    }
}
