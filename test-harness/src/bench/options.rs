//! The command line of `harness bench`.

use std::path::PathBuf;

use super::measure::Plan;

pub(super) const USAGE: &str = "\
usage: cargo bench-gateway [options]

  --plugin NAME     only this plugin; may be repeated
  --quick           fewer rounds: a first impression in less than a minute
  --rounds N        so many rounds
  --json FILE       write the figures of every round there instead of target/bench/gateway.json
  --markdown        print the table as it stands in the README
  --update-readme   put that table into the README
  --native          instead, play exchanges with the plugins' native code; to be run under a profiler";

/// Enough native exchanges that their start no longer shows, few enough to wait for under a profiler.
pub(super) const NATIVE_EXCHANGES: usize = 20_000;

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Only these plugins; all if empty.
    pub plugins: Vec<String>,
    /// Fewer rounds.
    pub is_quick: bool,
    /// How many rounds, whatever else is asked for.
    pub rounds: Option<usize>,
    /// Where the JSON goes.
    pub json: Option<PathBuf>,
    /// Print Markdown.
    pub is_markdown: bool,
    /// Rewrite the table in the README.
    pub updates_readme: bool,
    /// Play exchanges natively instead.
    pub is_native: bool,
}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// A line that names the argument that cannot be used.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().cloned().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--plugin" => options.plugins.push(value()?),
                "--quick" => options.is_quick = true,
                "--rounds" => {
                    let rounds = value()?.parse().ok().filter(|rounds| *rounds > 0);
                    options.rounds = Some(rounds.ok_or("--rounds needs a number above 0")?);
                }
                "--json" => options.json = Some(value()?.into()),
                "--markdown" => options.is_markdown = true,
                "--native" => options.is_native = true,
                "--update-readme" => options.updates_readme = true,
                _ => return Err(format!("`{argument}` is no option of the benchmark")),
            }
        }
        Ok(options)
    }

    /// How much is measured.
    pub fn plan(&self) -> Plan {
        let mut plan = if self.is_quick { Plan::quick() } else { Plan::default() };
        plan.rounds = self.rounds.unwrap_or(plan.rounds);
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn every_option_is_read() {
        let options = parse(
            "--plugin a --quick --plugin b --json x.json --rounds 3 --markdown --update-readme --native",
        );
        let expected = Options {
            plugins: vec!["a".to_owned(), "b".to_owned()],
            is_quick: true,
            rounds: Some(3),
            json: Some("x.json".into()),
            is_markdown: true,
            updates_readme: true,
            is_native: true,
        };
        assert_eq!(options, Ok(expected));
        assert_eq!(parse(""), Ok(Options::default()));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let check = |line: &str, expected: &str| assert_eq!(parse(line), Err(expected.to_owned()), "{line}");
        check("--plugins", "`--plugins` is no option of the benchmark");
        check("--quick --json", "--json needs a value");
        check("--rounds 0", "--rounds needs a number above 0");
        check("--rounds many", "--rounds needs a number above 0");
    }
}
