//! A report as a table and as JSON.

use super::figures::{Cost, Figures, Report, Spread};

/// The line in the README before the table.
pub(super) const BEGIN: &str = "<!-- bench:begin -->";
/// The line after it.
pub(super) const END: &str = "<!-- bench:end -->";

/// The tables and how they came about, for a terminal.
pub(super) fn terminal(report: &Report) -> String {
    let over = report.verdicts.iter().filter(|verdict| verdict.is_over).count();
    let summary = match (report.verdicts.len(), over) {
        (0, _) => String::new(),
        (_, 0) => "\nEvery bar is kept.\n".to_owned(),
        (all, over) => format!("\n{over} of {all} bars are OVER.\n"),
    };
    body(report) + &held(report) + &summary
}

/// The tables between the markers of the README.
pub(super) fn markdown(report: &Report) -> String {
    format!("{BEGIN}\n{}{END}\n", body(report))
}

/// The text with what stands between its markers replaced; `None` if it has none.
pub(super) fn replace_table(text: &str, markdown: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{}{after}", markdown.trim_end()))
}

/// Figures and samples, as a JSON text.
pub fn json(report: &Report) -> String {
    serde_json::to_string_pretty(report).expect("a report has only string keys") + "\n"
}

fn body(report: &Report) -> String {
    let plan = &report.plan;
    let mut text = format!(
        "Envoy {}, one worker, {} cores shared with load generator and upstream; median of {} alternating rounds \
         (least to most). CPU is that of the whole Envoy process; points are percent of the empty chain over as \
         many do-nothing filters, each round compared with itself.\n\n",
        report.envoy, report.cores, plan.rounds
    );
    let rows = report.chains.iter().map(cpu_row).collect();
    let columns = [
        "chain",
        "1 KiB µs",
        "over empty",
        "points",
        "16 KiB µs",
        "over empty",
        "points",
        "event µs",
        "added",
    ];
    text.push_str(&table(&columns, rows));
    text.push('\n');
    let rows = report.chains.iter().map(rest_row).collect();
    let columns = ["chain", "p50 µs", "p99 µs", "RSS MiB", "each worker", "start ms", "load ms", ".wasm KiB"];
    text.push_str(&table(&columns, rows));
    if !report.verdicts.is_empty() {
        let rows = report.verdicts.iter().map(|verdict| {
            let figure = |value: f64| format!("{} {}", short(value), verdict.unit);
            let said = if verdict.is_over { "**over**" } else { "ok" };
            vec![
                verdict.chain.clone(),
                verdict.what.to_owned(),
                figure(verdict.measured),
                format!("≤ {}", figure(verdict.bar)),
                said.to_owned(),
            ]
        });
        text.push('\n');
        text.push_str(&table(&["chain", "what", "measured", "bar", "verdict"], rows.collect()));
    }
    text
}

fn cpu_row(figures: &Figures) -> Vec<String> {
    let cost = |cost: &Cost| {
        let percent = format!("{:+.1} %", cost.over_empty.median);
        [spread(&cost.us), percent, format!("{:+.1}", cost.points.median)]
    };
    let event = [spread(&figures.event_us), format!("{:+.2}", figures.event_added_us.median)];
    [vec![figures.chain.clone()], cost(&figures.small).into(), cost(&figures.large).into(), event.into()]
        .concat()
}

fn rest_row(figures: &Figures) -> Vec<String> {
    vec![
        figures.chain.clone(),
        format!("{:.0} ({:+.0})", figures.p50_us, figures.p50_added_us),
        format!("{:.0} ({:+.0})", figures.p99_us, figures.p99_added_us),
        format!("{:.1} ({:+.1})", figures.resident_mib, figures.resident_added_mib),
        format!("{:+.1}", figures.resident_added_by_worker_mib),
        spread(&figures.start_ms),
        format!("{:+.0}", figures.load_ms.median),
        figures.wasm_kib.map_or_else(String::new, |kib| format!("{kib:.0}")),
    ]
}

/// Chains whose filter does not let each event through at once; their figure is not of single events.
fn held(report: &Report) -> String {
    let plan = &report.plan;
    let all = plan.rounds * plan.streams * plan.events;
    let chains = report.chains.iter().filter(|figures| figures.samples.events_held > 0);
    let lines = chains.map(|figures| {
        format!(
            "\n{}: {} of {all} events did not come at once.\n",
            figures.chain, figures.samples.events_held
        )
    });
    lines.collect()
}

fn spread(spread: &Spread) -> String {
    format!("{} ({}–{})", short(spread.median), short(spread.min), short(spread.max))
}

/// Three digits or all before the point.
fn short(value: f64) -> String {
    if value.abs() < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// A Markdown table whose columns are lined up for a terminal.
pub(super) fn table(columns: &[&str], rows: Vec<Vec<String>>) -> String {
    let head = columns.iter().map(|column| (*column).to_owned()).collect();
    let lines: Vec<Vec<String>> = [vec![head], rows].concat();
    let widths: Vec<usize> = (0..columns.len())
        .map(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or_default())
        .collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (at, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let cell = if at == 0 { format!("| {cell:<width$} ") } else { format!("| {cell:>width$} ") };
            text.push_str(&cell);
        }
        text.push_str("|\n");
        if number == 0 {
            for (at, width) in widths.iter().enumerate() {
                let rule = "-".repeat(*width);
                text.push_str(&if at == 0 { format!("| {rule} ") } else { format!("| {}: ", &rule[1..]) });
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::report;
    use crate::bench::measure::Plan;

    #[test]
    fn table_stands_between_the_markers_of_the_readme() {
        let text = format!("# Gateway\n\n{BEGIN}\nold\n{END}\n\nMore.\n");
        let replaced = replace_table(&text, &markdown(&report())).unwrap();
        assert!(replaced.starts_with(&format!("# Gateway\n\n{BEGIN}\nEnvoy 1.40.0,")), "{replaced}");
        assert!(
            replaced.ends_with(&format!("|\n{END}\n\nMore.\n")) && !replaced.contains("old"),
            "{replaced}"
        );
        assert_eq!(replace_table(&replaced, &markdown(&report())), Some(replaced.clone()));
        assert_eq!(replace_table("# Gateway\n", ""), None);
    }

    #[test]
    fn lines_of_a_table_have_one_width() {
        let table = table(&["chain", "µs"], vec![vec!["empty".to_owned(), "1.0 (1.0–2.0)".to_owned()]]);
        let expected = "\
| chain |            µs |
| ----- | ------------: |
| empty | 1.0 (1.0–2.0) |
";
        assert_eq!(table, expected);
    }

    #[test]
    fn every_bar_has_its_line_and_the_missed_ones_are_counted() {
        let text = terminal(&report());
        assert!(text.contains("2 of 6 bars are OVER."), "{text}");
        assert_eq!(text.matches("**over**").count(), 2, "{text}");
        assert_eq!(text.matches("| ok ").count() + text.matches(" ok |").count(), 4, "{text}");
    }

    #[test]
    fn held_events_are_said() {
        let mut report = report();
        assert!(!terminal(&report).contains("at once"));
        report.chains[2].samples.events_held = 7;
        report.plan = Plan { rounds: 2, streams: 3, events: 500, ..Plan::default() };
        assert!(terminal(&report).contains("acme: 7 of 3000 events did not come at once."));
    }

    #[test]
    fn json_holds_figures_and_samples() {
        let value: serde_json::Value = serde_json::from_str(&json(&report())).unwrap();
        assert_eq!(value["chains"][2]["chain"], "acme");
        assert_eq!(value["chains"][2]["samples"]["small_us"].as_array().unwrap().len(), 3);
        assert_eq!(value["verdicts"][0]["is_over"], true);
    }
}
