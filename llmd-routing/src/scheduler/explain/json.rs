//! An explanation as JSON, for programs.

use serde_json::{Value, json};

use super::{EndpointExplanation, Explanation, Fate, ProfileExplanation, Turn};
use crate::plugin::PrefixMatch;

impl Explanation {
    /// As JSON: the fields of this type and of those in it, by their names. What became of an endpoint is `fate`, `ranked`
    /// or `dropped`, beside what belongs to it; a score that is no number is null.
    pub fn to_json(&self) -> String {
        let profiles: Vec<_> = self.profiles.iter().map(profile).collect();
        json!({ "endpoint": self.endpoint, "profile": self.profile, "profiles": profiles }).to_string()
    }
}

fn profile(profile: &ProfileExplanation) -> Value {
    let scorers: Vec<_> =
        profile.scorers.iter().map(|(name, weight)| json!({ "name": name, "weight": weight })).collect();
    let endpoints: Vec<_> = profile.endpoints.iter().map(endpoint).collect();
    json!({
        "name": profile.name,
        "stage": profile.stage.to_string(),
        "picker": profile.picker,
        "reason": profile.reason(),
        "scorers": scorers,
        "endpoints": endpoints,
    })
}

fn endpoint(endpoint: &EndpointExplanation) -> Value {
    let mut value = match &endpoint.fate {
        Fate::Dropped { by } => json!({ "endpoint": endpoint.endpoint, "fate": "dropped", "by": by }),
        Fate::Ranked { scores, inputs, total, picked, turn } => json!({
            "endpoint": endpoint.endpoint,
            "fate": "ranked",
            "scores": scores,
            "inputs": inputs,
            "total": total,
            "picked": picked,
            "turn": match turn {
                Turn::Chosen => "chosen",
                Turn::Failed => "failed",
                Turn::Waiting => "waiting",
            },
        }),
    };
    value["prefix"] = endpoint.prefix.as_ref().map_or(Value::Null, prefix);
    value["why"] = json!(endpoint.why);
    value
}

fn prefix(found: &PrefixMatch) -> Value {
    let PrefixMatch { blocks, cached, speculative, total, block_size, hit_tokens, remembered_tokens, by_medium, state } =
        found;
    json!({
        "by_medium": by_medium,
        "blocks": blocks,
        "cached": cached,
        "speculative": speculative,
        "total": total,
        "block_size": block_size,
        "hit_tokens": hit_tokens,
        "remembered_tokens": remembered_tokens,
        "state": state.to_string(),
    })
}
