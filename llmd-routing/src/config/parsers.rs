//! Which API a request speaks: parsers, by the paths that they claim.

use super::blueprint::Blueprint;
use super::fault::{Fault, Mark, Result};
use super::known::Known;
use super::node::Node;
use super::shell::Shell;

/// A parser: which API a request speaks, and so where its prompt is. It is for the shell to parse.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Parser {
    /// Anthropic's Messages.
    Anthropic,
    /// OpenAI's API, and vLLM's and SGLang's additions to it.
    OpenAi,
    /// Any: what is passed through is not read.
    Passthrough,
    /// SGLang's own `generate`.
    SglangHttp,
    /// Vertex AI's prediction service, over gRPC.
    VertexAi,
    /// vLLM's engine, over gRPC.
    VllmGrpc,
    /// vLLM's own `generate`, of tokens.
    VllmHttp,
}

impl Parser {
    /// Every parser.
    pub const ALL: [Self; 7] = [
        Self::Anthropic,
        Self::OpenAi,
        Self::Passthrough,
        Self::SglangHttp,
        Self::VertexAi,
        Self::VllmGrpc,
        Self::VllmHttp,
    ];

    /// What llm-d parses with when the configuration does not say, in this order.
    pub const DEFAULT: [Self; 4] = [Self::OpenAi, Self::Anthropic, Self::VllmHttp, Self::Passthrough];

    /// Its type, as llm-d's catalogue has it.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic-parser",
            Self::OpenAi => "openai-parser",
            Self::Passthrough => "passthrough-parser",
            Self::SglangHttp => "sglanghttp-parser",
            Self::VertexAi => "vertexai-parser",
            Self::VllmGrpc => "vllmgrpc-parser",
            Self::VllmHttp => "vllmhttp-parser",
        }
    }

    /// What paths end with that it parses; none when it takes what is left over.
    pub const fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Anthropic => &["messages", "messages/count_tokens"],
            Self::OpenAi => &[
                "chat/completions",
                "completions",
                "embeddings",
                "responses",
                "conversations",
                "chat/completions/render",
                "completions/render",
                "images/generations",
            ],
            Self::Passthrough => &[],
            Self::SglangHttp => &["generate"],
            Self::VertexAi => &[
                "PredictionService/StreamRawPredict",
                "PredictionService/RawPredict",
                "PredictionService/ChatCompletions",
            ],
            Self::VllmGrpc => &["vllm.grpc.engine.VllmEngine/Generate", "vllm.grpc.engine.VllmEngine/Embed"],
            Self::VllmHttp => &["inference/v1/generate"],
        }
    }

    /// The one of these that parses what comes to a path: that with the longest suffix of it, or the one that takes what is
    /// left over.
    pub fn of_path(parsers: &[Self], path: &str) -> Option<Self> {
        let path = path.split('?').next().unwrap_or_default();
        let longest = |parser: &Self| {
            parser.suffixes().iter().filter(|suffix| ends_with(path, suffix)).map(|suffix| suffix.len()).max()
        };
        let claims = parsers.iter().filter_map(|parser| Some((longest(parser)?, *parser)));
        // Of two that claim as much, the first.
        let found = claims.reduce(|best, next| if next.0 > best.0 { next } else { best });
        let rest = || parsers.iter().copied().find(|parser| parser.suffixes().is_empty());
        found.map(|(_, parser)| parser).or_else(rest)
    }
}

/// Whether a path ends so; where the last step begins does not count, as in llm-d.
fn ends_with(path: &str, suffix: &str) -> bool {
    path.trim().trim_end_matches('/').ends_with(suffix)
}

/// The parsers that a configuration names, in order, and a warning about each that never parses anything.
pub(super) fn in_order(named: Vec<(Parser, Mark)>) -> (Vec<Parser>, Vec<Fault>) {
    let mut parsers: Vec<Parser> = Vec::new();
    let mut warnings = Vec::new();
    for (parser, mark) in named {
        let fallback = parsers.iter().find(|before| before.suffixes().is_empty());
        let skipped = |why: String| Fault::warning(format!("{} is skipped: {why}", parser.type_name())).at(mark);
        if let Some(fallback) = fallback {
            warnings.push(skipped(format!("{} before it takes what is left over", fallback.type_name())));
        } else if parsers.contains(&parser) {
            warnings.push(skipped("it is there already".to_owned()));
        } else {
            parsers.push(parser);
        }
    }
    (parsers, warnings)
}

/// The parser that a reference names, and where that stands. Each is there without being configured.
pub(super) fn parser(node: &Node, known: &Known) -> Result<(Parser, Mark)> {
    let fields = node.section(&["pluginRef"])?;
    let parser = fields.require("pluginRef", |node| {
        let name = node.text()?;
        let plugin = known.plugins.iter().find(|plugin| plugin.name == name);
        if let (None, Some(parser)) = (plugin, Parser::ALL.into_iter().find(|parser| parser.type_name() == name)) {
            return Ok(parser);
        }
        let plugin = known.reference(node)?;
        match plugin.blueprint {
            Blueprint::Shell(Shell::Parser(parser)) => Ok(parser),
            _ => Err(Fault::invalid(format!("`{}` where a parser was expected", plugin.name))),
        }
    })?;
    Ok((parser, node.mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_suffix_of_a_path_decides() {
        let table = [
            ("/v1/chat/completions", Some(Parser::OpenAi)),
            ("/v1/completions?x=/v1/messages", Some(Parser::OpenAi)),
            ("/v1/messages/count_tokens/", Some(Parser::Anthropic)),
            ("/inference/v1/generate", Some(Parser::VllmHttp)),
            ("/generate", Some(Parser::SglangHttp)),
            ("/regenerate", Some(Parser::SglangHttp)),
            ("/v1/models", None),
        ];
        let all = [Parser::OpenAi, Parser::Anthropic, Parser::SglangHttp, Parser::VllmHttp];
        for (path, parser) in table {
            assert_eq!(Parser::of_path(&all, path), parser, "{path}");
        }
        assert_eq!(Parser::of_path(&Parser::DEFAULT, "/v1/models"), Some(Parser::Passthrough));
        assert_eq!(Parser::of_path(&[], "/v1/completions"), None);
    }
}
