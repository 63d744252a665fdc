//! What a scheduler is made of, in words.

use std::fmt;

use super::parts::Parts;
use crate::Needs;
use crate::profile::Profile;

/// What a scheduler is made of. Shown, it is one line per part.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Description {
    /// The name of the profile handler.
    pub handler: String,
    /// The profiles.
    pub profiles: Vec<Profile>,
    /// The names of the producers, in the order in which they run.
    pub producers: Vec<String>,
    /// The names of producers that do not run, since nobody reads what they make.
    pub idle: Vec<String>,
    /// How each plugin is set that has something to say about it, by name.
    pub settings: Vec<(String, String)>,
    /// What was added to the configuration, and why, one sentence each.
    pub added: Vec<String>,
    /// What the scheduler must be given.
    pub needs: Needs,
}

impl Description {
    pub(super) fn of(parts: &Parts) -> Self {
        let settings = parts.plugins.iter().map(|(name, plugin)| (name.clone(), plugin.settings()));
        Self {
            handler: parts.handler.0.clone(),
            profiles: parts.profiles.clone(),
            producers: parts.producers.iter().map(|(name, _)| name.clone()).collect(),
            idle: parts.idle.clone(),
            settings: settings.filter(|(_, settings)| !settings.is_empty()).collect(),
            added: parts.added.clone(),
            needs: parts.needs,
        }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "handler: {}", self.handler)?;
        for profile in &self.profiles {
            let filters = profile.filters().map(str::to_owned);
            let scorers = profile.scorers().map(|(name, weight)| format!("{name} × {weight}"));
            let plugins: Vec<_> = filters.chain(scorers).chain([profile.picker().to_owned()]).collect();
            writeln!(f, "profile {}: {}", profile.name(), plugins.join(" → "))?;
        }
        for producer in &self.producers {
            writeln!(f, "producer: {producer}")?;
        }
        for idle in &self.idle {
            writeln!(f, "idle: {idle}, since nobody reads what it makes")?;
        }
        for (name, settings) in &self.settings {
            writeln!(f, "{name}: {settings}")?;
        }
        for added in &self.added {
            writeln!(f, "added: {added}")?;
        }
        let Needs { attributes, body, cookies, tokens, metrics, events, response, usage } = self.needs;
        let needs = [
            ("bodies", body && !tokens),
            ("cookies", cookies),
            ("tokens", tokens),
            ("metrics", metrics),
            ("attributes", attributes),
            ("KV events", events),
            ("first tokens", response),
            ("usage", usage),
        ];
        let needs: Vec<_> = needs.iter().filter(|(_, needed)| *needed).map(|(name, _)| *name).collect();
        writeln!(f, "needs: {}", if needs.is_empty() { "nothing".to_owned() } else { needs.join(", ") })
    }
}
