//! The report: one text that is Markdown and can be read on a terminal as it is, and JSON with every value.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::{
    crowd::Scale,
    results::{Results, Series, Start},
    service::Service,
    setup::Setup,
    stats::{Estimate, median, quantile},
    targets::COMPARISONS,
    work::Work,
};

/// Everything, for programs.
pub(crate) fn json(results: &Results) -> Value {
    let comparisons = COMPARISONS.iter().map(|comparison| {
        let (estimate, verdict) = comparison.judge(results);
        json!({
            "title": comparison.title,
            "value": estimate.map(|estimate| estimate.value),
            "low": estimate.map(|estimate| estimate.low),
            "high": estimate.map(|estimate| estimate.high),
            "target": comparison.target.map(|target| target.parts().1),
            "target_is": comparison.target.map(|target| target.parts().0),
            "verdict": verdict.name(),
        })
    });
    let values: Map<String, Value> = results
        .values
        .iter()
        .map(|(series, values)| {
            let rounds: Map<String, Value> =
                values.iter().map(|(round, value)| (round.to_string(), json!(value))).collect();
            (series.id(), rounds.into())
        })
        .collect();
    json!({
        "schema": "zc.bench/1",
        "quick": results.quick,
        "machine": results.machine,
        "seconds": results.seconds,
        "rounds": results.rounds,
        "comparisons": comparisons.collect::<Vec<_>>(),
        "units": { "start": "ms", "rest/cpu-ms": "ms/s", "rest/memory-mib": "MiB", "other": "ns" },
        "values_by_round": values,
        "failures": results.failures,
        "warnings": results.warnings,
        "disturbance": results.disturbance(),
    })
}

/// Everything, for people.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = head(results);
    let mut table = Table::new(&["comparison", "value", "95 % range", "target", "verdict"]);
    for comparison in COMPARISONS {
        let (estimate, verdict) = comparison.judge(results);
        let (value, range) = estimate.map_or_else(Default::default, |Estimate { value, low, high }| {
            (number(value), format!("{} – {}", number(low), number(high)))
        });
        let target = comparison.target.map_or_else(
            || "-".to_owned(),
            |target| {
                let (sign, limit) = target.parts();
                format!("{sign} {}", number(limit))
            },
        );
        table.row([comparison.title.to_owned(), value, range, target, verdict.name().to_owned()]);
    }
    text += &table.to_string();
    for work in Work::ALL {
        text += "\n";
        let mut table = Table::new(&[work.title(), "ns", "quartiles", "added", "usual", "rounds"]);
        for setup in Setup::ALL {
            let title = setup.title_of(work).to_owned();
            let base = Series::Work(work, Setup::Nothing);
            let cells = cells(results, base, Series::Work(work, setup));
            if let Some([value, quartiles, added, rounds]) = cells {
                let usual = number(median(&mut results.of(Series::Median(work, setup))));
                table.row([title, value, quartiles, added, usual, rounds]);
            } else if let Some(failure) = results.failures.iter().find(|it| it.what == setup.title()) {
                let kind = if failure.missing { "missing" } else { "failed" };
                let [a, b, c, d] = [const { String::new() }; 4];
                table.row([title, kind.to_owned(), a, b, c, d]);
            }
        }
        text += &table.to_string();
    }
    text += "\n";
    let mut table = Table::new(&["under load", "ns", "quartiles", "added", "rounds"]);
    for service in Service::ALL {
        for setup in Service::SETUPS {
            let base = Series::Service(service, Setup::Nothing);
            let title = format!("{}: {}", service.title(), setup.title());
            if let Some([value, quartiles, added, rounds]) =
                cells(results, base, Series::Service(service, setup))
            {
                table.row([title, value, quartiles, added, rounds]);
            }
        }
    }
    text += &table.to_string();
    text += "\n";
    let mut table = Table::new(&["many processes", "value", "quartiles", "rounds"]);
    for scale in Scale::ALL {
        let series = Series::Scale(scale);
        if let Some([value, quartiles, _, rounds]) = cells(results, series, series) {
            table.row([scale.title().to_owned(), value, quartiles, rounds]);
        }
    }
    text += &table.to_string();
    text += "\n";
    let mut table = Table::new(&["from start to end", "ms", "quartiles", "added", "rounds"]);
    for start in Start::ALL {
        let cells = cells(results, Series::Start(Start::Plain), Series::Start(start));
        if let Some([value, quartiles, added, rounds]) = cells {
            table.row([start.title().to_owned(), value, quartiles, added, rounds]);
        }
    }
    text += &table.to_string();
    text + &notes(results)
}

/// What failed or should be known.
fn notes(results: &Results) -> String {
    let failures = results.failures.iter().map(|failure| format!("{}: {}", failure.what, failure.reason));
    let notes = failures.chain(results.warnings.iter().cloned());
    let notes: String = notes.map(|note| ["- ", &note, "\n"].concat()).collect();
    if notes.is_empty() { notes } else { ["\n", &notes].concat() }
}

fn head(results: &Results) -> String {
    let machine = &results.machine;
    let tools = [&machine.zc, &machine.bpftrace, &machine.perf, &machine.strace];
    let tools: Vec<&str> = tools.into_iter().flatten().map(String::as_str).collect();
    let mut parts = vec![
        format!(
            "{}: {} rounds in {:.0} s{}",
            machine.time,
            results.rounds,
            results.seconds,
            if results.quick { " (quick)" } else { "" }
        ),
        format!(
            "Linux {} {}, {} processors{} ({})",
            machine.kernel,
            machine.arch,
            machine.cpus,
            if machine.is_virtual { " of a virtual machine" } else { "" },
            machine.processor
        ),
        tools.join(", "),
    ];
    if let (Some(before), Some(after)) = (machine.load_before, machine.load_after) {
        parts.push(format!("load {before:.1} before, {after:.1} after"));
    }
    if let (Some(busy), Some(share)) = (machine.others_busy, machine.stolen_share) {
        parts.push(format!("others used {busy:.2} processors, {:.1} % of the time stolen", share * 100.0));
    }
    let mut text = parts.join("; ") + ".\n\n";
    if let Some(disturbance) = results.disturbance() {
        text += &["**Too noisy to conclude:** ", &disturbance, ".\n\n"].concat();
    }
    text
}

/// Median, quartiles, what it adds to the base in the same round, and the number of rounds.
fn cells(results: &Results, base: Series, series: Series) -> Option<[String; 4]> {
    let mut values = results.of(series);
    if values.is_empty() {
        return None;
    }
    let quartiles =
        format!("{} – {}", number(quantile(&mut values, 0.25)), number(quantile(&mut values, 0.75)));
    let mut added: Vec<f64> =
        results.common([base, series]).iter().map(|[base, value]| value - base).collect();
    let added = if base == series { "-".to_owned() } else { number(median(&mut added)) };
    Some([number(median(&mut values)), quartiles, added, values.len().to_string()])
}

/// Three digits and more, as many as say something.
fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "?".to_owned(),
        size if size < 0.1 => format!("{value:.3}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A Markdown table with aligned columns: the first to the left, the others to the right.
struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    fn new(head: &[&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned)] }
    }

    fn row(&mut self, row: [String; N]) {
        self.rows.push(row);
    }
}

impl<const N: usize> std::fmt::Display for Table<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for (index, row) in self.rows.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
                if column == 0 {
                    write!(f, "| {cell:<width$} |")?;
                } else {
                    write!(f, " {cell:>width$} |")?;
                }
            }
            f.write_char('\n')?;
            if index == 0 {
                for (column, width) in widths.into_iter().enumerate() {
                    match column {
                        0 => write!(f, "|{:-<1$}|", "", width + 2)?,
                        _ => write!(f, "{:-<1$}:|", "", width + 1)?,
                    }
                }
                f.write_char('\n')?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    #[test]
    fn columns_are_aligned_and_the_text_is_markdown() {
        let mut table = Table::new(&["what", "ns"]);
        table.row(["a read".to_owned(), "175".to_owned()]);
        assert_eq!(table.to_string(), "| what   |  ns |\n|--------|----:|\n| a read | 175 |\n");
    }

    #[test]
    fn numbers_have_as_many_digits_as_say_something() {
        let shown = [0.012_34, 2.345, 45.67, 1234.5, f64::INFINITY].map(number);
        assert_eq!(shown, ["0.012", "2.35", "45.7", "1234", "?"]);
    }

    #[test]
    fn a_report_of_nothing_says_that_nothing_was_measured() {
        let results = Results::new(true, Machine::default());
        assert!(markdown(&results).contains("not measured"));
        assert_eq!(json(&results)["comparisons"][0]["value"], Value::Null);
    }
}
