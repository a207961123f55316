//! The demo's command line.

use super::{Backend, PACE};

pub(super) const USAGE: &str = "\
usage: cargo demo [--once] [--port <port>] [--admin-port <port>] [--docker]

  --once               end after the two chats, with an exit code
  --port <port>        where the gateway listens (10000)
  --admin-port <port>  where Envoy's admin interface listens (9901)
  --docker             run Envoy in a container";

/// What the demo is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Ends after the chats.
    pub once: bool,
    /// Where the gateway listens; 0 is any port.
    pub port: u16,
    /// Where the admin interface listens; 0 is any port.
    pub admin_port: u16,
    /// Who answers.
    pub backend: Backend,
    /// Whether what is written goes to a person's terminal.
    pub has_colours: bool,
}

impl Default for Options {
    fn default() -> Self {
        // As in the shipped config.
        Self {
            once: false,
            port: 10000,
            admin_port: 9901,
            backend: Backend::BuiltIn { pace: PACE },
            has_colours: false,
        }
    }
}

impl Options {
    pub(super) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (argument.as_str(), None),
            };
            let mut port = || {
                let value = value.or_else(|| arguments.next().map(String::as_str)).unwrap_or_default();
                value.parse::<u16>().map_err(|_| format!("{name} needs a port, not `{value}`"))
            };
            match name {
                "--once" if value.is_none() => options.once = true,
                "--port" => options.port = port()?,
                "--admin-port" => options.admin_port = port()?,
                _ => return Err(format!("unknown argument `{argument}`")),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<(bool, u16, u16), &str>) {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let parsed =
            Options::parse(&arguments).map(|options| (options.once, options.port, options.admin_port));
        assert_eq!(parsed, expected.map_err(str::to_owned), "{line}");
    }

    #[test]
    fn ports_are_the_shipped_ones_unless_named() {
        check("", Ok((false, 10000, 9901)));
        check("--once --port 8080", Ok((true, 8080, 9901)));
        check("--admin-port=0 --port=1", Ok((false, 1, 0)));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        check("--port", Err("--port needs a port, not ``"));
        check("--port 65536", Err("--port needs a port, not `65536`"));
        check("--one", Err("unknown argument `--one`"));
        check("--once=2", Err("unknown argument `--once=2`"));
    }
}
