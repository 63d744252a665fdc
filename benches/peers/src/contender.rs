//! Those who are asked the same questions in turns, each in its own way.

use std::time::Duration;

use crate::index::Reader;
use crate::stream::{Stream, tokens};
use crate::system::worked;
use crate::watch::took;

/// One of them.
pub(crate) trait Contender {
    /// The index, and the way it is asked.
    fn name(&self) -> (&'static str, &'static str);

    /// Asks `count` questions from number `first` on, again from the first after the last: how long the thread worked.
    fn ask(&mut self, first: usize, count: usize) -> Duration;

    /// The same, one by one: how long each took, on the wall.
    fn ask_each(&mut self, first: usize, count: usize) -> Vec<Duration>;

    /// What it answers to question `number`.
    fn held(&mut self, number: usize) -> Vec<(u32, u32)>;
}

/// Asked with what its index hashes prompts to, made beforehand.
#[derive(Debug)]
pub(crate) struct Hashed<R: Reader> {
    who: &'static str,
    reader: R,
    queries: Vec<R::Query>,
}

/// Questions that are copied at a time, outside what is timed: what was just hashed lies in a cache, as these then do.
const AT_ONCE: usize = 256;

impl<R: Reader> Hashed<R> {
    pub(crate) fn new(who: &'static str, reader: R, stream: &Stream) -> Self {
        let queries = stream.queries.iter().map(|query| reader.query(&prompt(stream.ids(query)))).collect();
        Self { who, reader, queries }
    }

    /// Copies questions and has them asked, some at a time.
    fn chunks<T>(&mut self, first: usize, count: usize, mut ask: impl FnMut(&mut R, &mut [R::Query]) -> T) -> Vec<T> {
        let mut answers = Vec::new();
        for start in (first..first + count).step_by(AT_ONCE) {
            let end = (start + AT_ONCE).min(first + count);
            let mut queries: Vec<_> =
                (start..end).map(|number| self.queries[number % self.queries.len()].clone()).collect();
            answers.push(ask(&mut self.reader, &mut queries));
        }
        answers
    }
}

/// The tokens of a prompt.
pub(crate) fn prompt(ids: &[u64]) -> Vec<u32> {
    ids.iter().flat_map(|&id| tokens(id)).collect()
}

impl<R: Reader> Contender for Hashed<R> {
    fn name(&self) -> (&'static str, &'static str) {
        (self.who, R::WAY)
    }

    fn ask(&mut self, first: usize, count: usize) -> Duration {
        let all = self.chunks(first, count, |reader, queries| {
            worked(|| queries.iter_mut().for_each(|query| reader.ask(query))).1
        });
        all.into_iter().sum()
    }

    fn ask_each(&mut self, first: usize, count: usize) -> Vec<Duration> {
        let all = self.chunks(first, count, |reader, queries| {
            queries.iter_mut().map(|query| took(|| reader.ask(query))).collect::<Vec<_>>()
        });
        all.concat()
    }

    fn held(&mut self, number: usize) -> Vec<(u32, u32)> {
        let mut query = self.queries[number].clone();
        self.reader.held(&mut query)
    }
}

/// Asked with tokens, which it hashes itself. They come from memory: between two questions with the same tokens stand
/// more than a cache holds.
#[derive(Debug)]
pub(crate) struct Plain<'a, R> {
    who: &'static str,
    reader: R,
    prompts: &'a Prompts,
}

/// The tokens of all prompts, several times over.
#[derive(Debug)]
pub(crate) struct Prompts {
    tokens: Vec<u32>,
    len: usize,
}

/// Bytes of tokens that stand between two questions alike: several times what the last cache holds for one core.
const COLD: usize = 96 << 20;

impl Prompts {
    /// The prompts that a stream asks for, which are of one length.
    pub(crate) fn of(stream: &Stream) -> Self {
        let once: Vec<_> = stream.queries.iter().flat_map(|query| prompt(stream.ids(query))).collect();
        let len = once.len() / stream.queries.len().max(1);
        let times = COLD.div_ceil(size_of_val(&once[..]).max(1));
        Self { tokens: once.repeat(times), len }
    }

    fn get(&self, number: usize) -> &[u32] {
        let start = number % (self.tokens.len() / self.len) * self.len;
        &self.tokens[start..start + self.len]
    }
}

impl<'a, R: Reader> Plain<'a, R> {
    pub(crate) fn new(who: &'static str, reader: R, prompts: &'a Prompts) -> Self {
        Self { who, reader, prompts }
    }

    fn ask_one(&mut self, number: usize) {
        let mut query = self.reader.query(self.prompts.get(number));
        self.reader.ask(&mut query);
    }
}

impl<R: Reader> Contender for Plain<'_, R> {
    fn name(&self) -> (&'static str, &'static str) {
        (self.who, R::WAY)
    }

    fn ask(&mut self, first: usize, count: usize) -> Duration {
        let ((), took) = worked(|| (first..first + count).for_each(|number| self.ask_one(number)));
        took
    }

    fn ask_each(&mut self, first: usize, count: usize) -> Vec<Duration> {
        (first..first + count).map(|number| took(|| self.ask_one(number))).collect()
    }

    fn held(&mut self, number: usize) -> Vec<(u32, u32)> {
        let mut query = self.reader.query(self.prompts.get(number));
        self.reader.held(&mut query)
    }
}
