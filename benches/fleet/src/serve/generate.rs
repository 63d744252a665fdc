//! `/v1/completions` and `/v1/chat/completions`: from a body to an answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Either;
use llmd_core::TokenId;
use serde_json::Value;
use tokio::sync::mpsc::channel;
use tokio::sync::oneshot::Receiver;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::answer::{AnswerBody, Api, EventStream, Heading, TokenStream, whole_answer};
use super::ask::{Ask, OnePrompt};
use super::clock::unix_seconds;
use super::driver::{Command, Submission};
use super::handover;
use super::kv::KvTransferParams;
use super::refusal::Refusal;
use super::server::Server;
use super::tokens::Tokens;
use crate::model::{Adapter, NewRequest};

/// vLLM's default for completions that do not say `max_tokens`.
const DEFAULT_MAX_TOKENS: usize = 16;

/// Answers a request for tokens.
pub(super) async fn generate(
    server: &Arc<Server>,
    headers: &HeaderMap,
    api: Api,
    body: Result<Bytes, Refusal>,
) -> Result<Response<AnswerBody>, Refusal> {
    let arrived = server.clock.now();
    let mut ask = Ask::read(&body?)?;
    let adapter = adapter(server, ask.model.as_deref())?;
    let prompt = prompt_tokens(server, api, &mut ask).await?;
    let max_tokens = max_tokens(server, api, &ask, prompt.len())?;
    if server.counts.lock().waiting() >= server.settings.max_waiting {
        let message = format!("all {} places of the queue are taken", server.settings.max_waiting);
        return Err(Refusal::with_status(StatusCode::SERVICE_UNAVAILABLE, message));
    }

    let key = server.key();
    let heading = Heading {
        api,
        id: request_id(server, headers, api, key),
        created: unix_seconds() as u64,
        model: ask.model.clone().unwrap_or_else(|| server.model.clone()),
        include_usage: ask.wants_usage(),
        prompt_tokens: prompt.len(),
        prompt_token_ids: ask.wants_token_ids().then(|| prompt.clone()),
    };
    let mut request = NewRequest::new(prompt, max_tokens);
    request.seed = seed(server, &ask, &request.prompt);
    request.adapter = adapter;
    request.cache_salt = ask.cache_salt.take();
    let session = headers.get("x-session-id").and_then(|value| value.to_str().ok());
    request.session_id = ask.session_id.take().or_else(|| session.map(str::to_owned));

    let handed = ask.kv_transfer_params.as_ref().and_then(KvTransferParams::handed);
    let lent = handover::prepare(server, &mut request, handed).await?;
    let (lends, lent) = lent.unzip();
    let (sender, receiver) = channel(max_tokens);
    server.command(Command::Submit(Submission { key, arrived, request, tokens: sender, lent: lends }))?;
    let tokens = TokenStream { key, receiver, commands: server.commands.clone(), ended: false };
    if ask.streams() {
        let mut answer = Response::new(Either::Right(EventStream::new(heading, tokens, Arc::clone(&server.tokens))));
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        return Ok(answer);
    }
    collect(server, &heading, tokens, lent).await
}

/// Waits for all tokens. Dropped when the client goes away, which aborts the request.
async fn collect(
    server: &Server,
    heading: &Heading,
    mut stream: TokenStream,
    lent: Option<Receiver<Value>>,
) -> Result<Response<AnswerBody>, Refusal> {
    let (mut text, mut tokens, mut cached_tokens) = (String::new(), Vec::new(), 0);
    while !stream.ended {
        let produced = std::future::poll_fn(|cx| stream.poll_next(cx)).await.ok_or_else(Server::gone)?;
        text.push_str(server.tokens.text(produced.token));
        tokens.push(produced.token);
        cached_tokens = produced.cached_tokens;
    }
    // It was said before the last token, or never will be.
    let lent = lent.and_then(|mut lent| lent.try_recv().ok());
    Ok(whole_answer(heading, &text, &tokens, cached_tokens, lent))
}

/// The adapter that the request names as its model, if it does not name the base model.
pub(super) fn adapter(server: &Server, model: Option<&str>) -> Result<Option<Adapter>, Refusal> {
    match model {
        None => Ok(None),
        Some(model) if model == server.model => Ok(None),
        Some(model) => match server.adapters.iter().find(|adapter| adapter.lora.name == model) {
            Some(adapter) => Ok(Some(adapter.clone())),
            None => Err(Refusal::unknown_model(model)),
        },
    }
}

/// The tokens of what is asked: of its messages, or of its prompt.
pub(super) async fn prompt_tokens(server: &Arc<Server>, api: Api, ask: &mut Ask) -> Result<Vec<TokenId>, Refusal> {
    let tokens = match api {
        Api::Chat => {
            let messages = ask.messages.take().ok_or_else(|| Refusal::bad("messages", "there are no messages"))?;
            let tools = ask.tools.take();
            tokenise(server, move |tokens| tokens.chat(&messages, tools.as_ref())).await?
        }
        Api::Completions => match ask.take_prompt()? {
            OnePrompt::Text(text) => match server.tokens.look_up(&text) {
                Some(tokens) => tokens,
                None => tokenise(server, move |tokens| tokens.completion(&text)).await?,
            },
            OnePrompt::Tokens(tokens) => tokens,
        },
    };
    let vocabulary = server.tokens.vocabulary();
    if let Some(token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
        return Err(Refusal::bad("prompt", format!("token {token} is not in the vocabulary of {vocabulary} tokens")));
    }
    if tokens.is_empty() {
        return Err(Refusal::bad("prompt", "the prompt has no token, expected at least 1"));
    }
    Ok(tokens)
}

/// Tokenises on another thread: what is not looked up may take milliseconds, and no stream should wait for it.
async fn tokenise<F>(server: &Server, work: F) -> Result<Vec<TokenId>, Refusal>
where
    F: FnOnce(&Tokens) -> llmd_core::Result<Vec<TokenId>> + Send + 'static,
{
    let tokens = Arc::clone(&server.tokens);
    let done = tokio::task::spawn_blocking(move || work(&tokens)).await;
    done.map_err(|_| Server::gone())?.map_err(Refusal::from)
}

fn max_tokens(server: &Server, api: Api, ask: &Ask, prompt: usize) -> Result<usize, Refusal> {
    let limit = server.settings.max_model_len;
    let room = limit.saturating_sub(prompt);
    let default = if api == Api::Chat { room } else { DEFAULT_MAX_TOKENS.min(room) };
    let asked = ask.max_tokens()?.unwrap_or(default);
    if room == 0 || asked > room {
        let message = format!(
            "This model's maximum context length is {limit} tokens. However, the prompt has {prompt} tokens and {asked} tokens of \
             output were asked for."
        );
        return Err(Refusal::bad("max_tokens", message));
    }
    Ok(asked)
}

/// The client's own id where it gives one, as vLLM does.
fn request_id(server: &Server, headers: &HeaderMap, api: Api, key: u64) -> String {
    let prefix = match api {
        Api::Chat => "chatcmpl",
        Api::Completions => "cmpl",
    };
    match headers.get("x-request-id").and_then(|value| value.to_str().ok()) {
        Some(id) => format!("{prefix}-{id}"),
        None => format!("{prefix}-{:08x}{:08x}{key:016x}", server.created as u32, server.ready.pid),
    }
}

/// The same prompt gives the same output, unless the client seeds it otherwise.
fn seed(server: &Server, ask: &Ask, prompt: &[TokenId]) -> u64 {
    let mut bytes = Vec::with_capacity(4 * prompt.len());
    prompt.iter().for_each(|token| bytes.extend_from_slice(&token.to_le_bytes()));
    xxh3_64_with_seed(&bytes, server.seed ^ ask.seed.unwrap_or_default().cast_unsigned())
}
