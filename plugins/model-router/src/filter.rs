//! The life of one exchange.

use std::rc::Rc;

use common::config::{ConfigError, Section};
use common::filter::{Env, Filter, Flow, Growth, LogLevel, RequestBody, RequestCx, Start};
use common::http::Fault;
use common::model::{Document, Glance, Model, NoModel, Reader};

use crate::auto::Choice;
use crate::config::Config;

/// One exchange whose request may name a model.
pub struct ModelRouter {
    config: Rc<Config>,
    /// `None`: the body is not read, only the head is changed.
    reader: Option<Reader>,
}

/// Where a request goes.
struct Routing {
    /// The model in full.
    model: String,
    /// What stands before its slash, where that is wanted.
    provider: Option<String>,
    /// The model that the body is to name.
    named: String,
    /// Who chose the model.
    by: By,
}

enum By {
    Client,
    Rule,
    Default,
}

impl Filter for ModelRouter {
    const NAME: &'static str = "model-router";
    const SEES_RESPONSES: bool = false;
    type Config = Config;

    fn configure(section: &mut Section<'_>) -> Result<Config, ConfigError> {
        Config::load(section)
    }

    fn start(config: &Rc<Config>, cx: &mut RequestCx<'_>) -> Result<Start<Self>, Fault> {
        if config.headers.is_empty() {
            return Ok(Start::Inactive);
        }
        // Whatever the path: routes match these headers on all of them.
        config.headers.clear(cx.head);
        let is_read = cx.has_body && config.scope.has_path(cx.head);
        let read = if is_read { config.scope.reader(cx.head) } else { None };
        let (reader, body) = match read {
            Some((reader, body)) => (Some(reader), body),
            None if cx.head.is_edited() => (None, RequestBody::Pass),
            None => return Ok(Start::Inactive),
        };
        Ok(Start::Run { filter: Self { config: Rc::clone(config), reader }, body, response: false })
    }

    fn request_growing(&mut self, cx: &mut RequestCx<'_>, so_far: &[u8]) -> Result<Growth, Fault> {
        let Self { config, reader: Some(reader) } = self else { return Ok(Growth::Release) };
        match reader.glance(so_far, config.scope.key()) {
            Glance::Nothing => return Ok(Growth::Wait),
            Glance::Other => {}
            Glance::Broken(why) => config.passes(cx.env, why),
            Glance::Model(document) => {
                if let Some(routing) = config.route(cx.env, &document) {
                    if !document.names(config.scope.key(), &routing.named) {
                        return Ok(Growth::Wait);
                    }
                    config.tell(cx, &routing);
                }
            }
        }
        Ok(Growth::Release)
    }

    fn request_too_large(&mut self, cx: &mut RequestCx<'_>, limit: usize) -> Result<(), Fault> {
        self.config.too_large.count(cx.env);
        if self.config.scope.rejects_oversize { Err(Fault::too_large(limit)) } else { Ok(()) }
    }

    fn request_body(&mut self, cx: &mut RequestCx<'_>, body: Vec<u8>) -> Result<Flow, Fault> {
        let Self { config, reader: Some(reader) } = self else { return Ok(Flow::Pass) };
        if body.is_empty() {
            return Ok(Flow::Pass);
        }
        match reader.read(&body) {
            Ok(Some(document)) => Ok(config.send(cx, &document)),
            Ok(None) => Ok(Flow::Pass),
            Err(why) => {
                config.passes(cx.env, why);
                Ok(Flow::Pass)
            }
        }
    }
}

impl Config {
    /// Where a request goes by its body. `None`: nowhere else than without us.
    fn route(&self, env: &dyn Env, document: &Document<'_>) -> Option<Routing> {
        let asked = match document.model(self.scope.key()) {
            Model::Named(name) if !name.is_empty() => name,
            Model::Named(_) | Model::Absent => return None,
            Model::Unreadable => {
                env.log(LogLevel::Warn, format_args!("model-router: a model that is no name sets no header"));
                return None;
            }
        };
        let auto = self.auto.as_ref().filter(|auto| auto.is_asked(&asked));
        let (model, by) = match (auto, document.object()) {
            (Some(auto), Some(body)) => match auto.choose(body) {
                Choice::Matched(model) => (model.to_owned(), By::Rule),
                Choice::Default(model) => (model.to_owned(), By::Default),
                Choice::None => {
                    self.auto_none.count(env);
                    env.log(
                        LogLevel::Warn,
                        format_args!("model-router: no rule fits and there is no default model"),
                    );
                    return None;
                }
            },
            _ => (asked.into_owned(), By::Client),
        };
        let split = model.split_once('/').filter(|(provider, rest)| !provider.is_empty() && !rest.is_empty());
        // What cannot be told is not taken away either.
        let split = split.filter(|(provider, _)| {
            !self.headers.provider.is_empty() && self.headers.value(provider).is_some()
        });
        let provider = split.map(|(provider, _)| provider.to_owned());
        let named = split.map_or(model.as_str(), |(_, rest)| rest).to_owned();
        Some(Routing { model, provider, named, by })
    }

    fn send(&self, cx: &mut RequestCx<'_>, document: &Document<'_>) -> Flow {
        let Some(routing) = self.route(cx.env, document) else { return Flow::Pass };
        if document.names(self.scope.key(), &routing.named) {
            self.tell(cx, &routing);
            return Flow::Pass;
        }
        match document.with_model(self.scope.key(), &routing.named) {
            // Headers only with the body that they are true of.
            Ok(body) if body.len() > self.scope.limit() && !self.scope.rejects_oversize => {
                self.too_large.count(cx.env);
                Flow::Pass
            }
            Ok(body) => {
                self.tell(cx, &routing);
                Flow::Send(body)
            }
            Err(error) => {
                cx.env
                    .log(LogLevel::Warn, format_args!("model-router: the model cannot be written: {error}"));
                Flow::Pass
            }
        }
    }

    /// Puts it where routes, logs and metrics find it.
    fn tell(&self, cx: &mut RequestCx<'_>, routing: &Routing) {
        let names = match routing.by {
            By::Client => &self.headers.model,
            By::Rule | By::Default => &self.headers.chosen,
        };
        let value = self.headers.value(&routing.model);
        match &value {
            Some(value) => names.iter().for_each(|name| cx.head.set(name, value.as_bytes())),
            None if names.is_empty() => {}
            None => cx.env.log(
                LogLevel::Warn,
                format_args!("model-router: a model that no header can carry sets none (see headerEncoding)"),
            ),
        }
        let provider = routing.provider.as_deref().and_then(|provider| self.headers.value(provider));
        if let Some(provider) = &provider {
            self.headers.provider.iter().for_each(|name| cx.head.set(name, provider.as_bytes()));
            self.provider_split.count(cx.env);
        }
        if provider.is_some() || (value.is_some() && !names.is_empty()) {
            self.header_set.count(cx.env);
        }
        match routing.by {
            By::Client => {}
            By::Rule => self.auto_matched.count(cx.env),
            By::Default => self.auto_default.count(cx.env),
        }
        if let Some(value) = value {
            cx.env.set_property("model_router", value.as_bytes());
        }
    }

    fn passes(&self, env: &dyn Env, why: NoModel) {
        self.invalid_body.count(env);
        env.log(LogLevel::Debug, format_args!("model-router: the body passes as it came: {why}"));
    }
}
