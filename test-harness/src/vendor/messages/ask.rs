//! What a request asks for beside its turns. Claude Haiku 4.5 stands for all models: newer ones take less.

use serde_json::Value;

use super::turns;
use crate::vendor::fault::Fault;
use crate::vendor::input::{Input, only};
use crate::vendor::message::Message;
use crate::vendor::reply::{Format, Wanted};
use crate::vendor::tools::{self, Choice, Tool};

/// What Anthropic documents for this API.
pub(super) const MEMBERS: [&str; 19] = [
    "cache_control",
    "container",
    "diagnostics",
    "inference_geo",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "output_config",
    "service_tier",
    "speed",
    "stop_sequences",
    "stream",
    "system",
    "thinking",
    "tool_choice",
    "tools",
    "user_profile_id",
    "workspace_id",
];
/// What requests of older versions may have beside that.
pub(super) const SAMPLING: [&str; 3] = ["temperature", "top_k", "top_p"];
pub(super) const MEMBERS_OF_COUNT: [&str; 8] =
    ["cache_control", "messages", "model", "output_config", "system", "thinking", "tool_choice", "tools"];
/// The least that a model may be told to think.
const LEAST_BUDGET: u64 = 1024;

pub(super) struct Ask<'a> {
    pub(super) wanted: Wanted<'a>,
    pub(super) thinks: bool,
}

/// What was said: the system's prompt and the turns.
pub(super) fn messages(input: &Input) -> Result<Vec<Message>, Fault> {
    let turns = input.list("messages")?.ok_or_else(|| Fault::missing("messages"))?;
    let mut messages = Vec::new();
    if let Some(system) = input.value("system") {
        messages.push(turns::system(system)?);
    }
    messages.extend(turns::read(turns)?);
    Ok(messages)
}

pub(super) fn read<'a>(input: &'a Input, messages: &'a [Message]) -> Result<Ask<'a>, Fault> {
    let most = input.integer("max_tokens", 1..=64_000)?.ok_or_else(|| Fault::missing("max_tokens"))?;
    let tools = read_tools(input)?;
    let (choice, is_parallel) = read_choice(input, &tools)?;
    let thinks = read_thinking(input, choice, most)?;
    check_sampling(input, thinks)?;
    check_rest(input)?;
    if thinks {
        turns::check_thoughts(input.list("messages")?.unwrap_or_default())?;
    }
    let stops = match input.list("stop_sequences")? {
        None => Vec::new(),
        Some(_) => input.texts("stop_sequences", usize::MAX)?,
    };
    if stops.iter().any(|stop| stop.trim().is_empty()) {
        return Err(Fault::wrong_value("stop_sequences", "texts that are more than white space"));
    }
    let format = read_format(input)?;
    let wanted = Wanted { messages, tools, choice, is_parallel, format, stops, most: Some(most) };
    Ok(Ask { wanted, thinks })
}

fn read_tools(input: &Input) -> Result<Vec<Tool<'_>>, Fault> {
    let mut tools: Vec<Tool<'_>> = Vec::new();
    for (index, tool) in input.list("tools")?.unwrap_or_default().iter().enumerate() {
        let at = format!("tools.{index}");
        let known =
            ["type", "name", "description", "input_schema", "strict", "cache_control", "input_examples"];
        only(&at, tool, &known)?;
        if !matches!(tool["type"].as_str(), None | Some("custom")) {
            return Err(Fault::wrong_value(format!("{at}.type"), "`custom`"));
        }
        let name = tool["name"].as_str().filter(|name| tools::is_name(name, 128));
        let name = name.ok_or_else(|| Fault::wrong_value(format!("{at}.name"), "a name"))?;
        if tools.iter().any(|tool| tool.name == name) {
            return Err(Fault::rule(at, "Names of tools must be unique"));
        }
        let parameters = &tool["input_schema"];
        if parameters["type"] != "object" {
            return Err(Fault::wrong_value(format!("{at}.input_schema.type"), "`object`"));
        }
        if tool["strict"] == true {
            tools::check_closed(&format!("{at}.input_schema"), parameters, false)?;
        }
        tools.push(Tool { name, parameters });
    }
    Ok(tools)
}

/// The choice, and whether several tools may be called.
fn read_choice<'a>(input: &'a Input, tools: &[Tool<'_>]) -> Result<(Choice<'a>, bool), Fault> {
    let Some(choice) = input.value("tool_choice") else { return Ok((Choice::Auto, true)) };
    if tools.is_empty() {
        return Err(Fault::rule("tool_choice", "`tool_choice` may only be given together with `tools`"));
    }
    let is_parallel = match &choice["disable_parallel_tool_use"] {
        Value::Null => true,
        Value::Bool(disabled) => !disabled,
        _ => return Err(Fault::wrong_type("tool_choice.disable_parallel_tool_use", "a boolean")),
    };
    let (chosen, known): (_, &[&str]) = match choice["type"].as_str() {
        Some("none") => (Choice::None, &["type"]),
        Some("auto") => (Choice::Auto, &["type", "disable_parallel_tool_use"]),
        Some("any") => (Choice::Required, &["type", "disable_parallel_tool_use"]),
        Some("tool") => {
            let name = choice["name"].as_str().filter(|name| tools.iter().any(|tool| tool.name == *name));
            let name = name.ok_or_else(|| Fault::wrong_value("tool_choice.name", "one of the `tools`"))?;
            (Choice::Named(name), &["type", "name", "disable_parallel_tool_use"])
        }
        _ => return Err(Fault::wrong_value("tool_choice.type", "`auto`, `any`, `tool` or `none`")),
    };
    only("tool_choice", choice, known)?;
    Ok((chosen, is_parallel))
}

/// Whether there is thinking: <https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking>.
fn read_thinking(input: &Input, choice: Choice<'_>, most: u64) -> Result<bool, Fault> {
    let Some(thinking) = input.value("thinking") else { return Ok(false) };
    match thinking["type"].as_str() {
        Some("enabled") => {
            only("thinking", thinking, &["type", "budget_tokens", "display"])?;
            let budget = thinking["budget_tokens"].as_u64().filter(|budget| *budget >= LEAST_BUDGET);
            let budget =
                budget.ok_or_else(|| Fault::wrong_value("thinking.budget_tokens", "at least 1024"))?;
            if budget >= most {
                let rule = "`max_tokens` must be greater than `thinking.budget_tokens`";
                return Err(Fault::rule("max_tokens", rule));
            }
        }
        Some("adaptive") => only("thinking", thinking, &["type", "display"])?,
        Some("disabled") => {
            only("thinking", thinking, &["type"])?;
            return Ok(false);
        }
        _ => return Err(Fault::wrong_value("thinking.type", "`enabled`, `adaptive` or `disabled`")),
    }
    if matches!(choice, Choice::Required | Choice::Named(_)) {
        return Err(Fault::rule(
            "thinking",
            "There is no thinking where `tool_choice` forces the use of a tool",
        ));
    }
    Ok(true)
}

/// What is told of sampling, which thinking leaves little of, and of which there may be one:
/// <https://docs.anthropic.com/en/docs/about-claude/models/migrating-to-claude-4>.
fn check_sampling(input: &Input, thinks: bool) -> Result<(), Fault> {
    let temperature = input.decimal("temperature", 0.0..=1.0)?;
    let top_p = input.decimal("top_p", 0.0..=1.0)?;
    let top_k = input.integer("top_k", 0..=1 << 20)?;
    if temperature.is_some() && top_p.is_some() {
        return Err(Fault::rule("top_p", "`temperature` and `top_p` cannot both be given for this model"));
    }
    if !thinks {
        return Ok(());
    }
    if temperature.is_some_and(|temperature| temperature < 1.0) {
        return Err(Fault::rule("temperature", "`temperature` may only be 1 where there is thinking"));
    }
    if top_p.is_some_and(|top_p| top_p < 0.95) {
        return Err(Fault::rule("top_p", "`top_p` must be 0.95 or more where there is thinking"));
    }
    match top_k {
        Some(_) => Err(Fault::rule("top_k", "`top_k` must not be given where there is thinking")),
        None => Ok(()),
    }
}

/// What changes nothing here must still be as published.
fn check_rest(input: &Input) -> Result<(), Fault> {
    if let Some(metadata) = input.value("metadata") {
        only("metadata", metadata, &["user_id"])?;
    }
    match input.text("service_tier")? {
        None | Some("auto" | "standard_only") => Ok(()),
        Some(_) => Err(Fault::wrong_value("service_tier", "`auto` or `standard_only`")),
    }
}

/// <https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs>
fn read_format(input: &Input) -> Result<Format<'_>, Fault> {
    let Some(config) = input.value("output_config") else { return Ok(Format::Plain) };
    only("output_config", config, &["effort", "format"])?;
    if !matches!(config["effort"].as_str(), Some("low" | "medium" | "high" | "xhigh" | "max"))
        && !config["effort"].is_null()
    {
        return Err(Fault::wrong_value("output_config.effort", "`low`, `medium`, `high`, `xhigh` or `max`"));
    }
    let format = &config["format"];
    if format.is_null() {
        return Ok(Format::Plain);
    }
    only("output_config.format", format, &["type", "schema"])?;
    if format["type"] != "json_schema" || !format["schema"].is_object() {
        return Err(Fault::wrong_value("output_config.format", "a `json_schema` with its `schema`"));
    }
    tools::check_closed("output_config.format.schema", &format["schema"], false)?;
    Ok(Format::Schema(&format["schema"]))
}
