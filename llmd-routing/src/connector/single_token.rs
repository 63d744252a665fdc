//! A request for one token: what a prefiller or an encoder is asked for.

use llmd_core::Result;

use super::Api;
use super::body::Body;

const SAMPLING_PARAMS: &str = "sampling_params";

/// Which of an API's limits are set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Limits {
    /// All of them, as llm-d's `nixlv2` does.
    All,
    /// The first, and others where the client set them, as llm-d's `PrimeSingleTokenRequest` does. `min_tokens` is among
    /// them: one that stayed would ask for more than the limit allows, and engines refuse that.
    Said,
}

/// Makes a body ask for one token, all at once.
///
/// # Errors
///
/// [`ErrorKind::Invalid`](llmd_core::ErrorKind::Invalid) when the limits stand in an object that is something else.
pub fn single_token(body: &mut Body<'_>, api: Api, limits: Limits) -> Result<()> {
    body.put("stream", false);
    body.remove(&["stream_options"]);
    match api {
        Api::Generate => body.edit(SAMPLING_PARAMS, |params| cap(params, api, limits)),
        _ => {
            cap(body, api, limits);
            Ok(())
        }
    }
}

fn cap(params: &mut Body<'_>, api: Api, limits: Limits) {
    for (place, limit) in api.limits().iter().enumerate() {
        if place == 0 || limits == Limits::All || params.get(limit).is_some() {
            params.put(limit, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn primed(api: Api, limits: Limits, body: &str) -> String {
        let mut body = Body::parse(body.as_bytes()).unwrap();
        single_token(&mut body, api, limits).map_or_else(|error| error.to_string(), |()| body.to_json())
    }

    #[test]
    fn each_api_is_limited_by_its_own_fields() {
        use Api::{ChatCompletions, Generate, Messages, Responses};
        use Limits::{All, Said};
        let table = [
            (ChatCompletions, Said, r#"{"x":0}"#, r#"{"x":0,"stream":false,"max_tokens":1}"#),
            (
                ChatCompletions,
                Said,
                r#"{"min_tokens":5,"max_completion_tokens":9,"stream":true,"stream_options":{}}"#,
                r#"{"min_tokens":1,"max_completion_tokens":1,"stream":false,"max_tokens":1}"#,
            ),
            (
                Messages,
                All,
                r#"{"max_tokens":9}"#,
                r#"{"max_tokens":1,"stream":false,"max_completion_tokens":1,"min_tokens":1}"#,
            ),
            (Responses, All, r#"{"max_tokens":9}"#, r#"{"max_tokens":9,"stream":false,"max_output_tokens":1}"#),
            (Generate, Said, "{}", r#"{"stream":false,"sampling_params":{"max_tokens":1}}"#),
            (
                Generate,
                All,
                r#"{"sampling_params":{"seed":18446744073709551617},"max_tokens":9}"#,
                r#"{"sampling_params":{"seed":18446744073709551617,"max_tokens":1,"min_tokens":1},"max_tokens":9,"stream":false}"#,
            ),
            (Generate, Said, r#"{"sampling_params":null}"#, r#"{"sampling_params":{"max_tokens":1},"stream":false}"#),
            (Generate, Said, r#"{"sampling_params":[1]}"#, "sampling_params [1]: expected an object"),
        ];
        for (api, limits, body, expected) in table {
            assert_eq!(primed(api, limits, body), expected);
        }
    }
}
