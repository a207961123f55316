//! The life of one exchange.

use std::borrow::Cow;
use std::rc::Rc;

use common::config::{ConfigError, Section};
use common::filter::{Env, Filter, Flow, Growth, LogLevel, RequestCx, Start};
use common::http::Fault;
use common::model::{Document, Glance, Model, NoModel, Reader};

use crate::config::Config;

/// One exchange whose request may name a model.
pub struct ModelMapper {
    config: Rc<Config>,
    reader: Reader,
}

/// What becomes of a model.
enum Outcome<'a> {
    Kept,
    Renamed {
        old: Cow<'a, str>,
        new: String,
    },
    /// It is no name.
    Unreadable,
}

impl Filter for ModelMapper {
    const NAME: &'static str = "model-mapper";
    const SEES_RESPONSES: bool = false;
    type Config = Config;

    fn configure(section: &mut Section<'_>) -> Result<Config, ConfigError> {
        Config::load(section)
    }

    fn start(config: &Rc<Config>, cx: &mut RequestCx<'_>) -> Result<Start<Self>, Fault> {
        if !cx.has_body || config.models.is_empty() || !config.scope.has_path(cx.head) {
            return Ok(Start::Inactive);
        }
        let Some((reader, body)) = config.scope.reader(cx.head) else { return Ok(Start::Inactive) };
        Ok(Start::Run { filter: Self { config: Rc::clone(config), reader }, body, response: false })
    }

    fn request_growing(&mut self, cx: &mut RequestCx<'_>, so_far: &[u8]) -> Result<Growth, Fault> {
        let Self { config, reader } = self;
        Ok(match reader.glance(so_far, config.scope.key()) {
            Glance::Nothing => Growth::Wait,
            Glance::Other => Growth::Release,
            Glance::Broken(why) => config.passes(cx.env, why),
            Glance::Model(document) => match config.outcome(&document) {
                Outcome::Renamed { .. } => Growth::Wait,
                outcome => config.keeps(cx.env, &outcome),
            },
        })
    }

    fn request_too_large(&mut self, cx: &mut RequestCx<'_>, limit: usize) -> Result<(), Fault> {
        self.config.too_large.count(cx.env);
        if self.config.scope.rejects_oversize { Err(Fault::too_large(limit)) } else { Ok(()) }
    }

    fn request_body(&mut self, cx: &mut RequestCx<'_>, body: Vec<u8>) -> Result<Flow, Fault> {
        if body.is_empty() {
            return Ok(Flow::Pass);
        }
        let Self { config, reader } = self;
        let document = match reader.read(&body) {
            Ok(Some(document)) => document,
            Ok(None) => return Ok(Flow::Pass),
            Err(why) => {
                config.passes(cx.env, why);
                return Ok(Flow::Pass);
            }
        };
        match config.outcome(&document) {
            Outcome::Renamed { old, new } => config.rename(cx.env, &document, &old, &new),
            outcome => {
                config.keeps(cx.env, &outcome);
                Ok(Flow::Pass)
            }
        }
    }
}

impl Config {
    fn outcome<'a>(&self, document: &Document<'a>) -> Outcome<'a> {
        let old = match document.model(self.scope.key()) {
            Model::Unreadable => return Outcome::Unreadable,
            Model::Absent => Cow::Borrowed(""),
            Model::Named(name) => name,
        };
        let new = self.models.map(&old);
        // Also where the first model may stay: another one in the same body would go past the mapping.
        if new.is_empty() || document.names(self.scope.key(), &new) {
            return Outcome::Kept;
        }
        let new = new.into_owned();
        Outcome::Renamed { old, new }
    }

    fn rename(&self, env: &dyn Env, document: &Document<'_>, old: &str, new: &str) -> Result<Flow, Fault> {
        let scope = &self.scope;
        let body = match document.with_model(scope.key(), new) {
            Ok(body) => body,
            Err(error) => {
                env.log(LogLevel::Warn, format_args!("model-mapper: {new:?} cannot be written: {error}"));
                return Ok(Flow::Pass);
            }
        };
        if body.len() > scope.limit() && !scope.rejects_oversize {
            self.too_large.count(env);
            return Ok(Flow::Pass);
        }
        self.mapped.count(env);
        env.log(LogLevel::Debug, format_args!("model-mapper: model mapped: {old:?} to {new:?}"));
        if self.logs_mapping {
            env.set_property("model_mapper", format!("{old}->{new}").as_bytes());
        }
        Ok(Flow::Send(body))
    }

    fn keeps(&self, env: &dyn Env, outcome: &Outcome<'_>) -> Growth {
        if matches!(outcome, Outcome::Unreadable) {
            env.log(LogLevel::Warn, format_args!("model-mapper: a model that is no name is left as it is"));
        }
        self.unchanged.count(env);
        Growth::Release
    }

    fn passes(&self, env: &dyn Env, why: NoModel) -> Growth {
        self.invalid.count(env);
        env.log(LogLevel::Debug, format_args!("model-mapper: the body passes as it came: {why}"));
        Growth::Release
    }
}
