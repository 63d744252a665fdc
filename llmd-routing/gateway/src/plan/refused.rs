//! What a configuration may ask, and this gateway cannot do.

use llmd_core::{Error, ErrorKind, Result};
use llmd_routing::EndpointPickerConfig;
use llmd_routing::config::{HttpSource, Parser, Scheme, SourceKind, TokenBackend};

/// Plugin types that are for a shell to be, and that this one is not.
static ABSENT: &[(&str, &str)] = &[
    ("anthropic-parser", "use the OpenAI API with openai-parser"),
    ("dcgm-data-source", METRICS),
    ("dcgm-extractor", METRICS),
    ("passthrough-parser", "use openai-parser"),
    ("sglanghttp-parser", "use the OpenAI API with openai-parser"),
    ("vertexai-parser", "use the OpenAI API with openai-parser"),
    ("vllmgrpc-parser", "use the OpenAI API with openai-parser"),
    ("vllmhttp-parser", "use the OpenAI API with openai-parser"),
];

const METRICS: &str = "metrics are read from the engines' own page; leave it out";
const SETTINGS: &str = "the gateway has settings for how it reads metrics; leave it out";

/// Refuses what cannot be done, and says what to do instead.
pub(super) fn refuse(config: &EndpointPickerConfig) -> Result<()> {
    for plugin in config.plugins() {
        if let Some((name, instead)) = ABSENT.iter().find(|(name, _)| *name == plugin.type_name()) {
            return unsupported(format!("plugin type `{name}` is not supported: {instead}"));
        }
    }
    // Without a configured one, parsers are llm-d's default ones, and what is not OpenAI's API is not found.
    if let (false, Some(parser)) = (config.parsers() == Parser::DEFAULT, other_parser(config.parsers())) {
        return unsupported(format!("`{}` is not supported: use openai-parser", parser.type_name()));
    }
    config.http_sources().try_for_each(source)?;
    data_layer(config)?;
    tokens(config)
}

fn other_parser(parsers: &[Parser]) -> Option<Parser> {
    parsers.iter().copied().find(|parser| *parser != Parser::OpenAi)
}

/// Pages are read as the gateway's settings say.
fn source(source: &HttpSource) -> Result<()> {
    let (name, page) = match source.kind {
        SourceKind::Metrics => ("metrics-data-source", "/metrics"),
        SourceKind::Models => ("models-data-source", "/v1/models"),
        _ => return Ok(()),
    };
    let set = [
        ("scheme", source.scheme != Scheme::Http),
        ("port", source.port.is_some()),
        ("interval", source.interval.is_some()),
        ("insecureSkipVerify", !source.insecure_skip_verify),
        ("caCertPath", source.ca_cert_path.is_some()),
        ("clientCertPath", source.client_cert_path.is_some()),
        ("clientKeyPath", source.client_key_path.is_some()),
    ];
    if let Some((field, _)) = set.iter().find(|(_, set)| *set) {
        return unsupported(format!("{name}.{field}: not supported: {SETTINGS}"));
    }
    if source.path != page {
        let what = name.trim_end_matches("-data-source");
        return unsupported(format!("{name}.path: {what} are read from {page}, not from {}", source.path));
    }
    Ok(())
}

fn data_layer(config: &EndpointPickerConfig) -> Result<()> {
    let layer = config.data_layer();
    if layer.discovery.is_some() {
        return unsupported("dataLayer.discovery: not supported: give the gateway an endpoints file".to_owned());
    }
    let metrics = config.plugins().iter().filter(|plugin| plugin.type_name() == "metrics-data-source");
    let mut metrics = metrics.map(|plugin| plugin.name()).chain(["metrics-data-source"]);
    if !layer.inject_defaults && !metrics.any(|name| layer.sources.iter().any(|source| source == name)) {
        let message = "metrics are read whenever a plugin reads them; leave it out";
        return unsupported(format!("dataLayer.injectDefaults: {message}"));
    }
    Ok(())
}

fn tokens(config: &EndpointPickerConfig) -> Result<()> {
    let tokens = config.token_producer();
    if matches!(tokens.backend, TokenBackend::Uds { .. }) {
        let instead = "a tokenizer behind a socket is deprecated in llm-d; use `local` or `vllm`";
        return unsupported(format!("token-producer.udsTokenizerConfig: not supported: {instead}"));
    }
    if tokens.media.is_some() {
        let instead = "tokens of images and videos are not estimated yet; leave it out";
        return unsupported(format!("token-producer.estimate: not supported: {instead}"));
    }
    Ok(())
}

fn unsupported(message: String) -> Result<()> {
    Err(Error::new(ErrorKind::Unsupported, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> Option<String> {
        let text = format!("apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n{body}");
        refuse(&EndpointPickerConfig::from_yaml(&text).expect(body)).err().map(|error| error.to_string())
    }

    #[test]
    fn what_it_cannot_do_is_refused_by_name() {
        let table = [
            (
                "plugins: [{type: anthropic-parser}]",
                "plugin type `anthropic-parser` is not supported: use the OpenAI API with openai-parser",
            ),
            (
                "plugins: [{type: dcgm-extractor}]",
                "plugin type `dcgm-extractor` is not supported: metrics are read from the engines' own page; leave it out",
            ),
            (
                "requestHandler: {parsers: [{pluginRef: passthrough-parser}]}",
                "`passthrough-parser` is not supported: use openai-parser",
            ),
            (
                "plugins: [{type: metrics-data-source, parameters: {interval: 1s}}]",
                "metrics-data-source.interval: not supported: the gateway has settings for how it reads metrics; leave it out",
            ),
            (
                "plugins: [{type: metrics-data-source, parameters: {scheme: https}}]",
                "metrics-data-source.scheme: not supported: the gateway has settings for how it reads metrics; leave it out",
            ),
            (
                "plugins: [{type: metrics-data-source, parameters: {path: /other}}]",
                "metrics-data-source.path: metrics are read from /metrics, not from /other",
            ),
            (
                "plugins: [{type: models-data-source, parameters: {path: /other}}]",
                "models-data-source.path: models are read from /v1/models, not from /other",
            ),
            (
                "plugins: [{type: file-discovery, parameters: {path: e.yaml}}]\ndataLayer: {discovery: {pluginRef: file-discovery}}",
                "dataLayer.discovery: not supported: give the gateway an endpoints file",
            ),
            (
                "dataLayer: {injectDefaults: false}",
                "dataLayer.injectDefaults: metrics are read whenever a plugin reads them; leave it out",
            ),
            (
                "plugins: [{type: token-producer, parameters: {modelName: m, udsTokenizerConfig: {socketFile: s}}}]",
                "token-producer.udsTokenizerConfig: not supported: a tokenizer behind a socket is deprecated in llm-d; use `local` or `vllm`",
            ),
            (
                "plugins: [{type: token-producer, parameters: {estimate: {image: {mode: static}}}}]",
                "token-producer.estimate: not supported: tokens of images and videos are not estimated yet; leave it out",
            ),
        ];
        for (body, message) in table {
            assert_eq!(refused(body).as_deref(), Some(message), "{body}");
        }
    }

    #[test]
    fn what_it_does_anyway_is_taken() {
        for body in [
            "",
            "plugins: [{type: openai-parser}, {type: models-data-source}, {type: models-data-extractor}]",
            "plugins: [{type: metrics-data-source, parameters: {path: /metrics, scheme: http}}]",
            "requestHandler: {parsers: [{pluginRef: openai-parser}]}",
            "plugins: [{type: metrics-data-source, name: m}]\ndataLayer: {injectDefaults: false, sources: [{pluginRef: m}]}",
            "flowControl: {maxRequests: 20k}",
        ] {
            assert_eq!(refused(body), None, "{body}");
        }
    }
}
