//! Which config applies to a request.

use std::rc::Rc;

use super::{ConfigError, Node, lenient};

/// What rules can match on. Each is asked for only if a rule needs it, and at most once.
pub trait Target {
    /// The request's `:authority`, with or without a port.
    fn host(&self) -> Option<String>;
    /// The name of the chosen route.
    fn route(&self) -> Option<String>;
    /// The name of the chosen cluster.
    fn cluster(&self) -> Option<String>;
}

/// What applies to a request.
#[derive(Debug)]
pub enum Selected<C> {
    /// Nothing: the plugin leaves the request alone.
    Inactive,
    /// A part of the configuration that is out of service.
    Broken,
    /// This config.
    Config(Rc<C>),
}

/// The global config and the rules, in order.
#[derive(Debug)]
pub struct RuleSet<C> {
    pub(super) global: Option<Slot<C>>,
    pub(super) rules: Vec<Rule<C>>,
}

#[derive(Debug)]
pub(super) struct Rule<C> {
    pub(super) matcher: Matcher,
    pub(super) slot: Slot<C>,
}

/// The place of a config, whatever became of it.
#[derive(Debug)]
pub(super) enum Slot<C> {
    Ready(Rc<C>),
    Broken,
    Disabled,
}

impl<C> RuleSet<C> {
    /// Every config that is in service, the global one first.
    pub fn configs(&self) -> impl Iterator<Item = &Rc<C>> {
        let slots = self.global.iter().chain(self.rules.iter().map(|rule| &rule.slot));
        slots.filter_map(|slot| match slot {
            Slot::Ready(config) => Some(config),
            Slot::Broken | Slot::Disabled => None,
        })
    }

    /// The first rule that matches, else the global config.
    #[must_use]
    pub fn select(&self, target: &dyn Target) -> Selected<C> {
        let slot = if self.rules.is_empty() {
            self.global.as_ref()
        } else {
            let mut facts = Facts::new(target);
            let rule = self.rules.iter().find(|rule| rule.matcher.matches(&mut facts));
            if facts.host == Some(None) {
                // A domain had to be compared with a host that cannot be read: no answer is the right one.
                return Selected::Inactive;
            }
            rule.map(|rule| &rule.slot).or(self.global.as_ref())
        };
        match slot {
            Some(Slot::Ready(config)) => Selected::Config(Rc::clone(config)),
            Some(Slot::Broken) => Selected::Broken,
            Some(Slot::Disabled) | None => Selected::Inactive,
        }
    }
}

/// The one category that a rule matches by. Lists beside it are not looked at.
#[derive(Debug)]
pub(super) enum Matcher {
    Route(Vec<String>),
    RouteAndService(Vec<String>, Vec<String>),
    Domain(Vec<Domain>),
    Service(Vec<String>),
    RoutePrefix(Vec<String>),
}

const ROUTE: &str = "_match_route_";
const DOMAIN: &str = "_match_domain_";
const SERVICE: &str = "_match_service_";
const ROUTE_PREFIX: &str = "_match_route_prefix_";

impl Matcher {
    /// Reads the `_match_*` lists of a rule.
    pub(super) fn of(rule: &Node<'_>, warnings: &mut Vec<ConfigError>) -> Result<Self, ConfigError> {
        for (key, node) in rule.entries() {
            if key.starts_with("_match_") && ![ROUTE, DOMAIN, SERVICE, ROUTE_PREFIX].contains(&key) {
                return Err(node.error(format!(
                    "unknown condition, expected `{ROUTE}`, `{DOMAIN}`, `{SERVICE}` or `{ROUTE_PREFIX}`"
                )));
            }
        }
        let routes = list(rule, ROUTE)?;
        let domains = list(rule, DOMAIN)?;
        let services = list(rule, SERVICE)?;
        let prefixes = list(rule, ROUTE_PREFIX)?;
        let mut ignored = |names: &[(&str, &Vec<String>)]| {
            for (name, list) in names {
                if !list.is_empty() {
                    let path = super::node::member(rule.path(), name);
                    warnings
                        .push(ConfigError::new(path, "ignored: the rule matches by another of its lists"));
                }
            }
        };
        if !routes.is_empty() {
            ignored(&[(DOMAIN, &domains), (ROUTE_PREFIX, &prefixes)]);
            return Ok(if services.is_empty() {
                Self::Route(routes)
            } else {
                Self::RouteAndService(routes, services)
            });
        }
        if !domains.is_empty() {
            ignored(&[(SERVICE, &services), (ROUTE_PREFIX, &prefixes)]);
            return Ok(Self::Domain(domains.iter().map(|pattern| Domain::of(pattern)).collect()));
        }
        if !services.is_empty() {
            ignored(&[(ROUTE_PREFIX, &prefixes)]);
            return Ok(Self::Service(services));
        }
        if !prefixes.is_empty() {
            return Ok(Self::RoutePrefix(prefixes));
        }
        Err(rule.error(format!(
            "the rule matches nothing: give it a `{ROUTE}`, `{DOMAIN}`, `{SERVICE}` or `{ROUTE_PREFIX}`"
        )))
    }

    fn matches(&self, facts: &mut Facts<'_>) -> bool {
        match self {
            Self::Route(routes) => facts.is_route(routes),
            Self::RouteAndService(routes, services) => facts.is_route(routes) && facts.is_service(services),
            Self::Domain(domains) => {
                facts.host().is_some_and(|host| domains.iter().any(|domain| domain.matches(host)))
            }
            Self::Service(services) => facts.is_service(services),
            Self::RoutePrefix(prefixes) => {
                facts.route().is_some_and(|route| prefixes.iter().any(|prefix| route.starts_with(prefix)))
            }
        }
    }
}

/// Strings of a list; empty ones match nothing and are dropped.
fn list(rule: &Node<'_>, key: &str) -> Result<Vec<String>, ConfigError> {
    let Some(node) = rule.get(key).filter(|node| !node.value().is_null()) else { return Ok(Vec::new()) };
    let (result, _) = lenient::read(node.value(), node.path(), &|_| None);
    let mut texts: Vec<String> = result?;
    texts.retain(|text| !text.is_empty());
    Ok(texts)
}

/// A pattern for hosts, in lower case.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Domain {
    Exact(String),
    Suffix(String),
    Prefix(String),
}

impl Domain {
    fn of(pattern: &str) -> Self {
        let pattern = pattern.to_ascii_lowercase();
        if let Some(suffix) = pattern.strip_prefix('*') {
            Self::Suffix(suffix.to_owned())
        } else if let Some(prefix) = pattern.strip_suffix('*') {
            Self::Prefix(prefix.to_owned())
        } else {
            Self::Exact(pattern)
        }
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(whole) => host == whole,
            Self::Suffix(suffix) => host.ends_with(suffix),
            Self::Prefix(prefix) => host.starts_with(prefix),
        }
    }
}

/// A host without its port, in lower case. The colons of an IPv6 literal are no port.
fn without_port(host: &str) -> String {
    let port = host.rfind(':').filter(|colon| Some(*colon) > host.rfind(']'));
    host.get(..port.unwrap_or(host.len())).unwrap_or(host).to_ascii_lowercase()
}

/// What is known of a request, each fact asked for once.
struct Facts<'t> {
    target: &'t dyn Target,
    host: Option<Option<String>>,
    route: Option<Option<String>>,
    cluster: Option<Option<String>>,
}

impl<'t> Facts<'t> {
    fn new(target: &'t dyn Target) -> Self {
        Self { target, host: None, route: None, cluster: None }
    }

    fn host(&mut self) -> Option<&str> {
        let target = self.target;
        self.host.get_or_insert_with(|| target.host().map(|host| without_port(&host))).as_deref()
    }

    fn route(&mut self) -> Option<&str> {
        let target = self.target;
        self.route.get_or_insert_with(|| target.route()).as_deref()
    }

    fn is_route(&mut self, routes: &[String]) -> bool {
        self.route().is_some_and(|route| routes.iter().any(|known| known == route))
    }

    /// By the cluster's name, or by the host that an Istio cluster name `direction|port|subset|host` holds.
    fn is_service(&mut self, services: &[String]) -> bool {
        let target = self.target;
        let Some(cluster) = self.cluster.get_or_insert_with(|| target.cluster()) else { return false };
        let parts: Vec<&str> = cluster.split('|').collect();
        let istio = match parts.as_slice() {
            [_, port, _, host] => Some((*host, *port)),
            _ => None,
        };
        services.iter().any(|service| {
            service == cluster
                || istio.is_some_and(|(host, port)| {
                    service == host || service.rsplit_once(':') == Some((host, port))
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::config::load;

    const UNREADABLE: &str = "\u{fffd}";

    #[derive(Default)]
    struct Request {
        host: &'static str,
        route: &'static str,
        cluster: &'static str,
        asked: Cell<u32>,
    }

    impl Target for Request {
        fn host(&self) -> Option<String> {
            self.asked.set(self.asked.get() + 1);
            (self.host != UNREADABLE).then(|| self.host.into())
        }

        fn route(&self) -> Option<String> {
            self.asked.set(self.asked.get() + 1);
            Some(self.route.into())
        }

        fn cluster(&self) -> Option<String> {
            self.asked.set(self.asked.get() + 1);
            (!self.cluster.is_empty()).then(|| self.cluster.into())
        }
    }

    /// Which of the configs r1, r2, … or G applies, or none.
    fn check(config: &str, request: &Request, expected: &str) {
        let loaded = load(config.as_bytes(), &|_| None, &mut |section| {
            let id = section.node().get("id");
            Ok(id.and_then(|id| id.value().as_str()).unwrap_or("G").to_owned())
        });
        let found = match loaded.unwrap().rules.select(request) {
            Selected::Config(id) => id.as_str().to_owned(),
            other => format!("{other:?}").to_lowercase(),
        };
        assert_eq!(found, expected, "{config}");
    }

    fn route(route: &'static str) -> Request {
        Request { route, ..Request::default() }
    }

    fn host(host: &'static str) -> Request {
        Request { host, ..Request::default() }
    }

    fn cluster(cluster: &'static str) -> Request {
        Request { cluster, ..Request::default() }
    }

    /// The worked matching cases of the conventions, by number; 14 is a load that fails, see `load`.
    #[test]
    fn worked_cases() {
        let istio = "outbound|8000||vllm.prod.svc";
        let with_global = r#"{"id":"G","_rules_":[{"id":"r1","_match_route_":["chat"]}]}"#;
        check(with_global, &route("chat"), "r1"); // 1
        check(with_global, &route("chat2"), "G"); // 2
        check(r#"{"_rules_":[{"id":"r1","_match_route_":["chat"]}]}"#, &route("x"), "inactive"); // 3
        let suffix = r#"{"_rules_":[{"id":"r1","_match_domain_":["*.ai.test"]}]}"#;
        check(suffix, &host("eu.ai.test:8443"), "r1"); // 4
        check(suffix, &host("ai.test"), "inactive"); // 5
        check(r#"{"_rules_":[{"id":"r1","_match_domain_":["ai.*"]}]}"#, &host("ai.test"), "r1"); // 6
        let service = r#"{"_rules_":[{"id":"r1","_match_service_":["vllm.prod.svc"]}]}"#;
        check(service, &cluster(istio), "r1"); // 7
        let other_port = r#"{"_rules_":[{"id":"r1","_match_service_":["vllm.prod.svc:9000"]}]}"#;
        check(other_port, &cluster(istio), "inactive"); // 8
        let both = r#"{"_rules_":[{"id":"r1","_match_route_":["a"],"_match_service_":["s.dns"]}]}"#;
        let elsewhere = Request { route: "a", cluster: "outbound|443||t.dns", ..Request::default() };
        check(both, &elsewhere, "inactive"); // 9
        let order = r#"{"_rules_":[{"id":"r1","_match_domain_":["*"]},{"id":"r2","_match_route_":["b"]}]}"#;
        check(order, &route("b"), "r1"); // 10
        check(r#"{"_rules_":[{"id":"r1","_match_route_prefix_":["api-"]}]}"#, &route("api-7@x"), "r1"); // 11
        let mixed = r#"{"_rules_":[{"id":"r1","_match_domain_":["d.test"],"_match_service_":["s.dns"]}]}"#;
        let domain = Request { host: "d.test", cluster: "outbound|1||other", ..Request::default() };
        check(mixed, &domain, "r1"); // 12
        check(r#"{"_rules_":[{"id":"r1","_match_domain_":["[::1]"]}]}"#, &host("[::1]:80"), "r1"); // 13
    }

    #[test]
    fn a_service_may_name_its_port_and_need_a_route_as_well() {
        let port = r#"{"_rules_":[{"id":"r1","_match_service_":["vllm.prod.svc:8000"]}]}"#;
        check(port, &cluster("outbound|8000||vllm.prod.svc"), "r1");
        let both = r#"{"_rules_":[{"id":"r1","_match_route_":["a"],"_match_service_":["s.dns"]}]}"#;
        check(both, &Request { route: "a", cluster: "outbound|443||s.dns", ..Request::default() }, "r1");
        check(
            both,
            &Request { route: "b", cluster: "outbound|443||s.dns", ..Request::default() },
            "inactive",
        );
    }

    #[test]
    fn the_category_is_the_first_of_route_domain_service_and_prefix() {
        for (lists, ignored) in [
            (r#""_match_route_":["a"],"_match_domain_":["d"],"_match_route_prefix_":["p"]"#, 2),
            (r#""_match_route_":["a"],"_match_service_":["s"],"_match_domain_":["d"]"#, 1),
            (r#""_match_domain_":["h"],"_match_service_":["s"]"#, 1),
            (r#""_match_domain_":["h"],"_match_route_prefix_":["p"]"#, 1),
            (r#""_match_service_":["c"],"_match_route_prefix_":["p"]"#, 1),
            (r#""_match_route_":["a"],"_match_domain_":[]"#, 0),
        ] {
            let config = format!(r#"{{"_rules_":[{{"id":"r1",{lists}}}]}}"#);
            let is_both = lists.contains("_match_route_\"") && lists.contains("_match_service_");
            let cluster = if is_both { "s" } else { "c" };
            check(&config, &Request { host: "h", route: "a", cluster, ..Request::default() }, "r1");
            let loaded = load(config.as_bytes(), &|_| None, &mut |_| Ok(())).unwrap();
            assert_eq!(loaded.warnings.len(), ignored, "{lists}");
        }
    }

    #[test]
    fn hosts_match_in_any_case_and_without_their_port() {
        check(r#"{"_rules_":[{"id":"r1","_match_domain_":["API.Test"]}]}"#, &host("api.TEST:1"), "r1");
        for (host, expected) in [
            ("a.b", "a.b"),
            ("A.b:80", "a.b"),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]"),
            (":80", ""),
            ("", ""),
        ] {
            assert_eq!(without_port(host), expected);
        }
    }

    #[test]
    fn a_star_stands_for_the_rest_at_one_end_only() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*x*", "ax*", true),
            ("*x*", "axb", false),
            ("a*", "a", true),
            ("a*b", "a*b", true),
            ("a*b", "axb", false),
        ] {
            assert_eq!(Domain::of(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_host_that_cannot_be_read_makes_the_plugin_inactive_where_a_domain_decides() {
        let domain =
            r#"{"id":"G","_rules_":[{"id":"r1","_match_domain_":["*"]},{"id":"r2","_match_route_":["b"]}]}"#;
        check(domain, &Request { host: UNREADABLE, route: "b", ..Request::default() }, "inactive");
        let route_first =
            r#"{"_rules_":[{"id":"r1","_match_route_":["b"]},{"id":"r2","_match_domain_":["*"]}]}"#;
        check(route_first, &Request { host: UNREADABLE, route: "b", ..Request::default() }, "r1");
    }

    #[test]
    fn a_scalar_condition_is_a_list_of_one() {
        check(r#"{"_rules_":[{"id":"r1","_match_route_":7}]}"#, &route("7"), "r1");
        check(r#"{"_rules_":[{"id":"r1","_match_route_":null,"_match_domain_":"a"}]}"#, &host("a"), "r1");
    }

    #[test]
    fn a_plain_cluster_name_is_a_service() {
        check(r#"{"_rules_":[{"id":"r1","_match_service_":["openai"]}]}"#, &cluster("openai"), "r1");
        check(r#"{"_rules_":[{"id":"r1","_match_service_":["openai"]}]}"#, &Request::default(), "inactive");
    }

    #[test]
    fn lists_that_are_not_looked_at_are_warned_of() {
        let config =
            r#"{"_rules_":[{"_match_domain_":["d"],"_match_service_":["s"],"_match_route_prefix_":["p"]}]}"#;
        let loaded = load(config.as_bytes(), &|_| None, &mut |_| Ok(())).unwrap();
        let paths: Vec<_> = loaded.warnings.iter().map(|warning| warning.path.as_str()).collect();
        assert_eq!(paths, ["_rules_[0]._match_service_", "_rules_[0]._match_route_prefix_"]);
    }

    #[test]
    fn nothing_is_asked_that_no_rule_needs() {
        let asked = |config: &str| {
            let request = route("x");
            let loaded = load(config.as_bytes(), &|_| None, &mut |_| Ok(())).unwrap();
            let _ = loaded.rules.select(&request);
            request.asked.get()
        };
        assert_eq!(asked("{}"), 0);
        assert_eq!(asked(r#"{"_rules_":[{"_match_route_":["a"]},{"_match_route_":["b"]}]}"#), 1);
    }
}
