//! Counters and histograms, under the names of Higress and of OpenTelemetry's conventions for generative AI.
//!
//! Envoy's metrics have no labels but those that its `stats_tags` cut out of a name; so a name has all of them. The
//! names are made so that the tags in `envoy/ai-statistics.yaml` can tell where each label ends.

use common::filter::{Env, MetricId, MetricKind};

/// A label is cut at so many bytes: it may come from a client.
const MAX_LABEL: usize = 200;
/// Stands for what is beyond the cap.
const OTHER: &str = "other";

/// One metric of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    InputToken,
    OutputToken,
    TotalToken,
    FirstTokenDuration,
    StreamDurationCount,
    ServiceDuration,
    DurationCount,
    RequestErrorCount,
    RequestCount,
    CachedToken,
    ReasoningToken,
    FirstTokenMs,
    ServiceMs,
    /// OpenTelemetry's.
    TokenUsageInput,
    TokenUsageOutput,
    OperationDuration,
    TimeToFirstToken,
    TimePerOutputToken,
}

/// How many there are.
const METRICS: usize = 18;

impl Metric {
    /// The name, after the last label in Higress's names, before the first one in OpenTelemetry's.
    fn name(self) -> &'static str {
        match self {
            Self::InputToken => "input_token",
            Self::OutputToken => "output_token",
            Self::TotalToken => "total_token",
            Self::FirstTokenDuration => "llm_first_token_duration",
            Self::StreamDurationCount => "llm_stream_duration_count",
            Self::ServiceDuration => "llm_service_duration",
            Self::DurationCount => "llm_duration_count",
            Self::RequestErrorCount => "request_error_count",
            Self::RequestCount => "llm_request_count",
            Self::CachedToken => "cached_token",
            Self::ReasoningToken => "reasoning_token",
            Self::FirstTokenMs => "ai_first_token_ms",
            Self::ServiceMs => "ai_service_ms",
            Self::TokenUsageInput | Self::TokenUsageOutput => "gen_ai.client.token.usage",
            Self::OperationDuration => "gen_ai.client.operation.duration",
            Self::TimeToFirstToken => "gen_ai.server.time_to_first_token",
            Self::TimePerOutputToken => "gen_ai.server.time_per_output_token",
        }
    }

    fn kind(self) -> MetricKind {
        match self {
            Self::FirstTokenMs
            | Self::ServiceMs
            | Self::TokenUsageInput
            | Self::TokenUsageOutput
            | Self::OperationDuration
            | Self::TimeToFirstToken
            | Self::TimePerOutputToken => MetricKind::Histogram,
            _ => MetricKind::Counter,
        }
    }

    /// A label that only this metric has.
    fn token_type(self) -> &'static str {
        match self {
            Self::TokenUsageInput => ".token_type.input",
            Self::TokenUsageOutput => ".token_type.output",
            _ => "",
        }
    }
}

/// The labels of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Labels<'a> {
    Higress {
        route: &'a str,
        cluster: &'a str,
        model: &'a str,
        consumer: &'a str,
    },
    Otel {
        operation: &'a str,
        provider: &'a str,
        request_model: &'a str,
        response_model: &'a str,
        /// A status where it is an error's, or a word for an exchange that broke off.
        error: Option<&'a str>,
        route: &'a str,
        consumer: &'a str,
    },
}

impl Labels<'_> {
    /// The same without what clients can choose.
    fn capped(self) -> Self {
        match self {
            Self::Higress { route, cluster, .. } => {
                Self::Higress { route, cluster, model: OTHER, consumer: OTHER }
            }
            Self::Otel { operation, provider, error, route, .. } => Self::Otel {
                operation,
                provider,
                request_model: OTHER,
                response_model: OTHER,
                error,
                route,
                consumer: OTHER,
            },
        }
    }

    /// What tells series apart. No label has a byte of 0xff.
    fn write_key(self, out: &mut Vec<u8>) {
        let mut label = |text: &str| {
            out.extend_from_slice(text.as_bytes());
            out.push(0xff);
        };
        match self {
            Self::Higress { route, cluster, model, consumer } => {
                [route, cluster, model, consumer].into_iter().for_each(label);
            }
            Self::Otel { operation, provider, request_model, response_model, error, route, consumer } => {
                [operation, provider, request_model, response_model, route, consumer]
                    .into_iter()
                    .for_each(&mut label);
                label(error.unwrap_or_default());
            }
        }
    }

    /// The name of a metric with these labels.
    fn named(self, metric: Metric) -> String {
        let name = metric.name();
        match self {
            Self::Higress { route, cluster, model, consumer } => format!(
                "route.{}.upstream.{}.model.{}.consumer.{}.metric.{name}",
                label(route, "-", Marks::At(&["upstream", "model", "consumer"])),
                label(cluster, "-", Marks::At(&["model", "consumer"])),
                label(model, "unknown", Marks::At(&["consumer"])),
                label(consumer, "none", Marks::Alone(&["metric"])),
            ),
            Self::Otel { operation, provider, request_model, response_model, error, route, consumer } => {
                const NEXT: [&str; 6] =
                    ["request_model", "response_model", "token_type", "error_type", "route", "consumer"];
                let [_, of_request @ ..] = &NEXT;
                let [_, _, of_response @ ..] = &NEXT;
                let error = error.map(|error| format!(".error_type.{error}")).unwrap_or_default();
                format!(
                    "{name}.op.{}.provider.{}.request_model.{}.response_model.{}{}{error}.route.{}.consumer.{}",
                    operation,
                    label(provider, "unknown", Marks::Alone(&NEXT)),
                    label(request_model, "unknown", Marks::Alone(of_request)),
                    label(response_model, "unknown", Marks::Alone(of_response)),
                    metric.token_type(),
                    label(route, "-", Marks::Alone(&["consumer"])),
                    label(consumer, "none", Marks::Alone(&[])),
                )
            }
        }
    }
}

/// The words by which tags find the labels that come behind one in a name.
#[derive(Debug, Clone, Copy)]
enum Marks<'a> {
    /// Anything may stand before them: the tags that Higress documents look for `model.`, and find it in
    /// `llama-model.` too.
    At(&'a [&'a str]),
    /// Only a dot, or nothing.
    Alone(&'a [&'a str]),
}

impl Marks<'_> {
    /// Whether a tag would take what stands between two dots for a mark.
    fn end(self, part: &str) -> bool {
        match self {
            Self::At(words) => words.iter().any(|word| part.ends_with(word)),
            Self::Alone(words) => words.contains(&part),
        }
    }
}

/// A label as it may stand in a name: not empty, not too long, and without what would look like the beginning of the
/// next label. That is a mark with a dot behind it, so an underscore stands there instead, at the end too.
fn label(text: &str, without: &str, marks: Marks<'_>) -> String {
    if text.is_empty() {
        return without.to_owned();
    }
    let end = (0..=text.len().min(MAX_LABEL)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let mut out = String::with_capacity(end + 1);
    let mut parts = text.get(..end).unwrap_or_default().split('.').peekable();
    while let Some(part) = parts.next() {
        out.extend(part.chars().map(|char| if char.is_control() { '_' } else { char }));
        if marks.end(part) {
            out.push('_');
        } else if parts.peek().is_some() {
            out.push('.');
        }
    }
    out
}

/// What all rules of a worker have counted so far.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    higress: Series,
    otel: Series,
}

/// The metrics of one format, so that the host is asked for each once.
#[derive(Debug, Default)]
struct Series {
    /// In the order of their keys.
    series: Vec<(Vec<u8>, [Option<MetricId>; METRICS])>,
    /// Reused for every look-up.
    key: Vec<u8>,
}

impl Metrics {
    /// Adds to counters, and records in histograms. Where there is nothing to add, nothing is. Of the combinations of
    /// labels in one format, at most so many are told apart.
    pub(crate) fn count(
        &mut self,
        env: &dyn Env,
        labels: Labels<'_>,
        values: &[(Metric, u64)],
        limit: usize,
    ) {
        match labels {
            Labels::Higress { .. } => self.higress.count(env, labels, values, limit),
            Labels::Otel { .. } => self.otel.count(env, labels, values, limit),
        }
    }
}

impl Series {
    fn place(&self) -> Result<usize, usize> {
        self.series.binary_search_by(|(key, _)| key.as_slice().cmp(&self.key))
    }

    fn count(&mut self, env: &dyn Env, labels: Labels<'_>, values: &[(Metric, u64)], limit: usize) {
        let mut labels = labels;
        self.key.clear();
        labels.write_key(&mut self.key);
        let mut place = self.place();
        if place.is_err() && self.series.len() >= limit {
            labels = labels.capped();
            self.key.clear();
            labels.write_key(&mut self.key);
            place = self.place();
        }
        let at = place.unwrap_or_else(|at| {
            self.series.insert(at, (self.key.clone(), [None; METRICS]));
            at
        });
        let Some((_, ids)) = self.series.get_mut(at) else { return };
        for (metric, value) in values {
            let Some(id) = ids.get_mut(*metric as usize) else { continue };
            let is_counter = metric.kind() == MetricKind::Counter;
            if is_counter && *value == 0 {
                continue;
            }
            let known = id.or_else(|| env.metric(metric.kind(), &labels.named(*metric)));
            *id = known;
            match known {
                Some(known) if is_counter => env.add(known, i64::try_from(*value).unwrap_or(i64::MAX)),
                Some(known) => env.record(known, *value),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use common::testkit::FakeEnvoy;
    use regex_lite::Regex;

    use super::*;

    fn higress<'a>(model: &'a str, consumer: &'a str) -> Labels<'a> {
        Labels::Higress { route: "r", cluster: "outbound|443||llm.dns", model, consumer }
    }

    fn names(envoy: &FakeEnvoy) -> Vec<String> {
        envoy.metrics.borrow().iter().map(|(name, _)| name.clone()).collect()
    }

    #[test]
    fn names_have_all_labels() {
        assert_eq!(
            higress("gpt-4.1", "").named(Metric::InputToken),
            "route.r.upstream.outbound|443||llm.dns.model.gpt-4.1.consumer.none.metric.input_token"
        );
        let labels = Labels::Otel {
            operation: "chat",
            provider: "openai",
            request_model: "a",
            response_model: "b",
            error: Some("429"),
            route: "r",
            consumer: "c",
        };
        assert_eq!(
            labels.named(Metric::TokenUsageInput),
            "gen_ai.client.token.usage.op.chat.provider.openai.request_model.a.response_model.b.token_type.input.error_type.429.route.r.consumer.c"
        );
    }

    #[test]
    fn a_label_cannot_pass_for_the_next_one() {
        let at = |text: &str| label(text, "", Marks::At(&["model", "consumer"]));
        assert_eq!(at("a.model.b"), "a.model_b");
        assert_eq!(at("a.model.model.b"), "a.model_model_b");
        assert_eq!(at("llama-model"), "llama-model_");
        assert_eq!(at("model"), "model_");
        assert_eq!(at("models.model-a.modelb"), "models.model-a.modelb");
        assert_eq!(at("acme-consumer.1"), "acme-consumer_1");
        let alone = |text: &str| label(text, "", Marks::Alone(&["route", "consumer"]));
        assert_eq!(alone("acme.route"), "acme.route_");
        assert_eq!(alone("route.a"), "route_a");
        assert_eq!(alone("my-route.a"), "my-route.a");
        assert_eq!(alone("x\ny.z"), "x_y.z");
        assert_eq!(label("", "none", Marks::Alone(&[])), "none");
        assert_eq!(at(&"é".repeat(200)).len(), 200);
    }

    /// The tags that ship, in YAML or JSON: their names, and the group that is the label.
    fn shipped_tags(file: &str) -> Vec<(String, Regex)> {
        let yaml = Regex::new(r"\{ tag_name: ([\w.]+), regex: '([^']+)' \}").unwrap();
        let json = Regex::new(r#"\{ "tag_name": "([\w.]+)", "regex": "([^"]+)" \}"#).unwrap();
        let of = |line: &Regex| -> Vec<(String, String)> {
            line.captures_iter(file).map(|groups| (groups[1].to_owned(), groups[2].to_owned())).collect()
        };
        let json = of(&json).into_iter().map(|(name, regex)| (name, regex.replace("\\\\", "\\")));
        let found = of(&yaml).into_iter().chain(json);
        found.map(|(name, regex)| (name, Regex::new(&regex).unwrap())).collect()
    }

    /// Those that Higress documents, which are laxer.
    fn documented_tags() -> Vec<(String, Regex)> {
        [
            ("ai_route", r"^wasmcustom\.route\.((.*?)\.)upstream\."),
            ("ai_cluster", r"^wasmcustom\.route\..*?\.?upstream\.((.*?)\.)model\."),
            ("ai_model", r"^wasmcustom\.route\..*?model\.((.*?)\.)consumer\."),
            ("ai_consumer", r"^wasmcustom\.route\..*?consumer\.((.*?)\.)metric\."),
        ]
        .map(|(name, regex)| (name.to_owned(), Regex::new(regex).unwrap()))
        .into()
    }

    /// What tags make of a name: the labels, and the name that is left.
    fn tagged(tags: &[(String, Regex)], name: &str) -> (Vec<(String, String)>, String) {
        let name = format!("wasmcustom.{name}");
        let (mut labels, mut cut) = (Vec::new(), Vec::new());
        for (tag, regex) in tags {
            if let Some(groups) = regex.captures(&name) {
                labels.push((tag.replace('.', "_"), groups[2].to_owned()));
                cut.push(groups.get(1).unwrap().range());
            }
        }
        let rest = name.char_indices().filter(|(at, _)| !cut.iter().any(|range| range.contains(at)));
        (labels, rest.map(|(_, char)| char).collect())
    }

    /// Names as gateways have them, and as clients may choose them.
    const NAMES: [&str; 28] = [
        "plain",
        "chat@prod@v1",
        "-",
        "upstream",
        "model",
        "consumer",
        "metric",
        "route",
        "provider",
        "request_model",
        "chat-model",
        "chat-upstream",
        "llama-model",
        "my-consumer",
        "outbound|8000||llama-model.default.svc.cluster.local",
        "outbound|443||upstream.model.consumer.metric.dns",
        "acme-consumer.1",
        "acme.consumer.x.metric.y",
        "model.consumer",
        "a.upstream.b.model.c.consumer.d",
        "acme.route",
        "acme.response_model.b",
        "request_model.response_model",
        "token_type.input",
        "x.error_type.500",
        "x.route.y.consumer.z",
        "metric.upstream.route",
        "gpt-4.1",
    ];

    const FILES: [&str; 3] = [
        include_str!("../../../envoy/ai-statistics.yaml"),
        include_str!("../../../examples/observability/envoy.yaml"),
        include_str!("../../../examples/observability/istio.yaml"),
    ];

    fn pairs(pairs: &[(&str, String)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn the_tags_that_ship_and_those_of_higress_find_every_label_of_higress() {
        let shipped: Vec<_> = FILES.map(shipped_tags).into();
        assert!(shipped.iter().all(|tags| tags.len() == 12), "a line that is not read");
        for tags in shipped.iter().chain([&documented_tags()]) {
            for (at, one) in NAMES.iter().enumerate() {
                for two in NAMES {
                    for turn in 0..4 {
                        let mut values = ["r", "c", "m", "x"];
                        values[turn] = one;
                        values[(turn + 1 + at % 3) % 4] = two;
                        let [route, cluster, model, consumer] = values;
                        let labels = Labels::Higress { route, cluster, model, consumer };
                        let (found, rest) = tagged(tags, &labels.named(Metric::InputToken));
                        let expected = pairs(&[
                            ("ai_route", label(route, "-", Marks::At(&["upstream", "model", "consumer"]))),
                            ("ai_cluster", label(cluster, "-", Marks::At(&["model", "consumer"]))),
                            ("ai_model", label(model, "unknown", Marks::At(&["consumer"]))),
                            ("ai_consumer", label(consumer, "none", Marks::Alone(&["metric"]))),
                        ]);
                        assert_eq!(found, expected, "{values:?}");
                        assert_eq!(rest, "wasmcustom.route.upstream.model.consumer.metric.input_token");
                    }
                }
            }
        }
    }

    #[test]
    fn the_tags_that_ship_find_every_label_of_opentelemetry() {
        let tags = shipped_tags(FILES[0]);
        for file in FILES {
            let texts = |tags: &[(String, Regex)]| -> Vec<String> {
                tags.iter().map(|(name, regex)| format!("{name} {regex}")).collect()
            };
            assert_eq!(texts(&shipped_tags(file)), texts(&tags), "the three files have the same tags");
        }
        let others = Marks::Alone(&["response_model", "token_type", "error_type", "route", "consumer"]);
        let last = Marks::Alone(&["token_type", "error_type", "route", "consumer"]);
        for one in NAMES {
            for two in NAMES {
                for turn in 0..5 {
                    let mut values = ["p", "q", "a", "r", "c"];
                    values[turn] = one;
                    values[(turn + 1) % 5] = two;
                    let [provider, request_model, response_model, route, consumer] = values;
                    let labels = Labels::Otel {
                        operation: "chat",
                        provider,
                        request_model,
                        response_model,
                        error: Some("429"),
                        route,
                        consumer,
                    };
                    let (found, rest) = tagged(&tags, &labels.named(Metric::TokenUsageInput));
                    let provider = Marks::Alone(&[
                        "request_model",
                        "response_model",
                        "token_type",
                        "error_type",
                        "route",
                        "consumer",
                    ]);
                    let expected = pairs(&[
                        ("gen_ai_operation_name", "chat".to_owned()),
                        ("gen_ai_provider_name", label(values[0], "", provider)),
                        ("gen_ai_request_model", label(request_model, "", others)),
                        ("gen_ai_response_model", label(response_model, "", last)),
                        ("gen_ai_token_type", "input".to_owned()),
                        ("error_type", "429".to_owned()),
                        ("ai_route", label(route, "", Marks::Alone(&["consumer"]))),
                        ("ai_consumer", label(consumer, "", Marks::Alone(&[]))),
                    ]);
                    assert_eq!(found, expected, "{values:?}");
                    assert_eq!(rest, "wasmcustom.gen_ai.client.token.usage");
                }
            }
        }
    }

    #[test]
    fn beyond_the_cap_model_and_consumer_are_other() {
        let (envoy, mut metrics) = (FakeEnvoy::default(), Metrics::default());
        for number in 0..10 {
            let model = format!("m{number}");
            metrics.count(&envoy, higress(&model, "c"), &[(Metric::RequestCount, 1)], 3);
        }
        metrics.count(&envoy, higress("m0", "c"), &[(Metric::RequestCount, 1)], 3);
        let found = envoy.metrics.borrow().clone();
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let name = |model: &str, consumer: &str| higress(model, consumer).named(Metric::RequestCount);
        assert_eq!(
            found,
            [
                (name("m0", "c").as_str(), 2),
                (name("m1", "c").as_str(), 1),
                (name("m2", "c").as_str(), 1),
                (name("other", "other").as_str(), 7),
            ]
        );
        assert_eq!(metrics.higress.series.len(), 4);
        // Another format has its own.
        let labels = Labels::Otel {
            operation: "chat",
            provider: "p",
            request_model: "m",
            response_model: "m",
            error: None,
            route: "r",
            consumer: "c",
        };
        metrics.count(&envoy, labels, &[(Metric::OperationDuration, 1)], 3);
        let last = names(&envoy).pop().unwrap();
        assert_eq!(last, labels.named(Metric::OperationDuration));
    }

    #[test]
    fn a_counter_of_nothing_is_not_made() {
        let (envoy, mut metrics) = (FakeEnvoy::default(), Metrics::default());
        metrics.count(&envoy, higress("m", "c"), &[(Metric::OutputToken, 0), (Metric::InputToken, 4)], 3);
        assert_eq!(names(&envoy), [higress("m", "c").named(Metric::InputToken)]);
    }
}
