//! Chat templates: Jinja as transformers sets it up.

use std::collections::BTreeMap;

use llmd_core::{Error, ErrorKind, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind as JinjaErrorKind};
use minijinja_contrib::pycompat;
use serde_json::{Value, json};

use super::messages::{self, Content};
use super::{python, strftime};

const NAME: &str = "chat";

/// A compiled chat template.
#[derive(Debug)]
pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    tokens: Vec<(String, String)>,
    content: Content,
}

impl ChatTemplate {
    /// Compiles a template, which knows these special tokens by name.
    pub(super) fn new(source: &str, tokens: Vec<(String, String)>) -> Result<Self, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.set_unknown_method_callback(pycompat::unknown_method_callback);
        environment.add_filter("tojson", python::to_json);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", |format: &str| strftime::now(format));
        environment.add_template_owned(NAME, without_generation(source))?;
        let mut template = Self { environment, tokens, content: Content::Parts };
        template.content = template.wants();
        Ok(template)
    }

    /// The text of a conversation, up to where the assistant is to speak.
    pub(super) fn render(&self, messages: &Value, tools: Option<&Value>) -> Result<String> {
        let messages = messages::prepare(messages, self.content)?;
        self.render_as_is(&messages, tools).map_err(|error| {
            let message = match error.detail() {
                Some(detail) if error.kind() == JinjaErrorKind::InvalidOperation => {
                    format!("the chat template refuses the conversation: {detail}")
                }
                _ => "the chat template cannot write the conversation".to_owned(),
            };
            Error::new(ErrorKind::Invalid, message).with_source(error)
        })
    }

    fn render_as_is(&self, messages: &Value, tools: Option<&Value>) -> Result<String, minijinja::Error> {
        let mut context: BTreeMap<&str, Value> = BTreeMap::new();
        for (name, token) in &self.tokens {
            context.insert(name, json!(token));
        }
        context.insert("messages", messages.clone());
        context.insert("tools", tools.cloned().unwrap_or_default());
        context.insert("documents", Value::Null);
        context.insert("add_generation_prompt", json!(true));
        self.environment.get_template(NAME)?.render(Serde(context))
    }

    /// Whether the template walks over the parts of a message or takes its content as one text. vLLM decides by looking
    /// into the template; here it is tried out: who does not know parts writes the list as it is, or fails.
    fn wants(&self) -> Content {
        let probe = json!([{"role": "user", "content": [{"type": "text", "text": "llmd-probe"}]}]);
        match self.render_as_is(&probe, None) {
            Ok(text) if text.contains("llmd-probe") && !["'type'", "\"type\""].iter().any(|key| text.contains(key)) => {
                Content::Parts
            }
            _ => Content::Text,
        }
    }
}

fn raise_exception(message: &str) -> Result<String, minijinja::Error> {
    Err(minijinja::Error::new(JinjaErrorKind::InvalidOperation, message.to_owned()))
}

/// The template without `{% generation %}`, which marks what the assistant says and writes nothing.
fn without_generation(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, tag)) = rest.split_once("{%") {
        let (tag, after) = tag.split_once("%}").unwrap_or((tag, ""));
        let word = tag.trim_matches(['-', '+']).trim();
        let replaced = match word {
            "generation" => tag.replace(word, "if true"),
            "endgeneration" => tag.replace(word, "endif"),
            _ => tag.to_owned(),
        };
        out.extend([before, "{%", &replaced, if tag.len() + before.len() + 2 < rest.len() { "%}" } else { "" }]);
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, messages: &Value) -> Result<String> {
        ChatTemplate::new(source, vec![("bos_token".into(), "<s>".into())]).unwrap().render(messages, None)
    }

    #[test]
    fn what_the_template_refuses_is_said_in_its_own_words() {
        let error = render("{{ raise_exception('no ' + messages[0].role) }}", &json!([{"role": "user"}])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.to_string(), "the chat template refuses the conversation: no user");
    }

    #[test]
    fn a_template_that_takes_text_gets_parts_joined_and_one_that_takes_parts_gets_text_as_one() {
        let messages = json!([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                              {"role": "user", "content": "c"}]);
        let text = render("{% for m in messages %}<{{ m.content }}>{% endfor %}", &messages).unwrap();
        assert_eq!(text, "<a\nb><c>");
        let parts = "{% for m in messages %}{% for p in m.content %}<{{ p.text }}>{% endfor %}{% endfor %}";
        assert_eq!(render(parts, &messages).unwrap(), "<a><b><c>");
    }

    #[test]
    fn generation_tags_write_nothing() {
        let tagged = "a {%- generation -%} b {% endgeneration %}{{ bos_token }}{% if true %}c{% endif %}";
        assert_eq!(render(tagged, &json!([])).unwrap(), "ab <s>c");
        assert_eq!(without_generation("{{ x }} {% if"), "{{ x }} {% if");
        assert_eq!(without_generation("x {%%}"), "x {%%}");
    }

    #[test]
    fn the_date_is_written_as_asked() {
        let date = render("{{ strftime_now('%Y-%m-%d') }}", &json!([])).unwrap();
        assert!(date.len() == 10 && date.starts_with("20"), "{date}");
    }
}
