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
                label(route, "-"),
                label(cluster, "-"),
                label(model, "unknown"),
                label(consumer, "none"),
            ),
            Self::Otel { operation, provider, request_model, response_model, error, route, consumer } => {
                let error = error.map(|error| format!(".error_type.{error}")).unwrap_or_default();
                format!(
                    "{name}.op.{}.provider.{}.request_model.{}.response_model.{}{}{error}.route.{}.consumer.{}",
                    label(operation, "chat"),
                    label(provider, "unknown"),
                    label(request_model, "unknown"),
                    label(response_model, "unknown"),
                    metric.token_type(),
                    label(route, "-"),
                    label(consumer, "none"),
                )
            }
        }
    }
}

/// A label as it may stand in a name: not empty, not too long, and without what would look like the next label.
fn label(text: &str, without: &str) -> String {
    const MARKS: [&str; 11] = [
        ".upstream.",
        ".model.",
        ".consumer.",
        ".metric.",
        ".provider.",
        ".request_model.",
        ".response_model.",
        ".token_type.",
        ".error_type.",
        ".route.",
        ".op.",
    ];
    if text.is_empty() {
        return without.to_owned();
    }
    let end = (0..=text.len().min(MAX_LABEL)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let mut text = text.get(..end).unwrap_or_default().replace(|char: char| char.is_control(), "_");
    for mark in MARKS {
        // Two of them may share a dot.
        while text.contains(mark) {
            text = text.replace(mark, &mark.replace('.', "_"));
        }
    }
    text
}

/// What this VM has counted so far, so that the host is asked for each metric once.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// In the order of their keys.
    series: Vec<(Vec<u8>, [Option<MetricId>; METRICS])>,
    limit: usize,
    /// Reused for every look-up.
    key: Vec<u8>,
}

impl Metrics {
    /// No metrics yet, and at most so many combinations of labels that are told apart.
    pub(crate) fn new(limit: usize) -> Self {
        Self { series: Vec::new(), limit, key: Vec::new() }
    }

    fn place(&self) -> Result<usize, usize> {
        self.series.binary_search_by(|(key, _)| key.as_slice().cmp(&self.key))
    }

    /// Adds to counters, and records in histograms. Where there is nothing to add, nothing is.
    pub(crate) fn count(&mut self, env: &dyn Env, labels: Labels<'_>, values: &[(Metric, u64)]) {
        let mut labels = labels;
        self.key.clear();
        labels.write_key(&mut self.key);
        let mut place = self.place();
        if place.is_err() && self.series.len() >= self.limit {
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
        assert_eq!(label("a.model.b", ""), "a_model_b");
        assert_eq!(label("a.model.model.b", ""), "a_model_model.b");
        assert_eq!(label("x\ny.z", ""), "x_y.z");
        assert_eq!(label("", "none"), "none");
        assert_eq!(label(&"é".repeat(200), "").len(), 200);
    }

    #[test]
    fn beyond_the_cap_model_and_consumer_are_other() {
        let (envoy, mut metrics) = (FakeEnvoy::default(), Metrics::new(3));
        for number in 0..10 {
            let model = format!("m{number}");
            metrics.count(&envoy, higress(&model, "c"), &[(Metric::RequestCount, 1)]);
        }
        metrics.count(&envoy, higress("m0", "c"), &[(Metric::RequestCount, 1)]);
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
        assert_eq!(metrics.series.len(), 4);
    }

    #[test]
    fn a_counter_of_nothing_is_not_made() {
        let (envoy, mut metrics) = (FakeEnvoy::default(), Metrics::new(3));
        metrics.count(&envoy, higress("m", "c"), &[(Metric::OutputToken, 0), (Metric::InputToken, 4)]);
        assert_eq!(names(&envoy), [higress("m", "c").named(Metric::InputToken)]);
    }
}
