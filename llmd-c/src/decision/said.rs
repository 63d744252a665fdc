//! What was said to the caller, who may hold on to it.

use std::ffi::{CString, c_char};

use crate::string::terminated;

/// Texts that stay where they are until the end, each once: there are as many as a decision has endpoints, profiles and
/// attributes to speak of.
#[derive(Debug, Default)]
pub(super) struct Said(Vec<CString>);

impl Said {
    /// The text, ending with NUL.
    pub(super) fn say(&mut self, text: &str) -> *const c_char {
        if let Some(known) = self.find(text.as_bytes()) {
            return known;
        }
        let text = terminated(text);
        if let Some(known) = self.find(text.as_bytes()) {
            return known;
        }
        self.0.push(text);
        self.0.last().expect("it was pushed").as_ptr()
    }

    fn find(&self, text: &[u8]) -> Option<*const c_char> {
        self.0.iter().find(|known| known.as_bytes() == text).map(|known| known.as_ptr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_twice_is_kept_once() {
        let mut said = Said::default();
        let (one, odd) = (said.say("pod-1"), said.say("a\0b"));
        (0..100).for_each(|other| assert_ne!(said.say(&format!("{other}")), one));

        assert_eq!((said.say("pod-1"), said.say("a\0b")), (one, odd));
        assert_eq!(said.0.len(), 102);
    }
}
