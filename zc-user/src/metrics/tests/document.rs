use std::collections::BTreeSet;

use crate::metrics::{Family, REASONS, UNSTATED, families};

const TEXT: &str = include_str!("../../../../docs/metrics.md");
const RULES: &str = include_str!("../../../../docs/monitoring/zc.rules.yml");
const DASHBOARD: &str = include_str!("../../../../docs/monitoring/zc-dashboard.json");

fn section(title: &str) -> &'static str {
    let start = TEXT.find(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("no section {title}"));
    let section = &TEXT[start + 4..];
    section.find("\n## ").map_or(section, |end| &section[..end])
}

/// Lines of a section's table, without the header.
fn table(title: &str) -> Vec<&'static str> {
    section(title).lines().filter(|line| line.starts_with('|')).skip(2).collect()
}

/// Names of metrics in a text. What follows a colon is the name of a rule.
fn names(text: &str) -> BTreeSet<&str> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    text.split(|char| !is_part(char))
        .filter(|word| word.starts_with("zc_") && *word != "zc_" && !word.contains(':'))
        .collect()
}

fn assert_known(text: &str) {
    for name in names(text) {
        assert!(families::ALL.iter().any(|family| family.name == name), "there is no metric {name}");
    }
}

#[test]
fn the_table_of_metrics_is_the_list_of_families() {
    let expected = families::ALL.iter().map(|Family { name, kind, unit, labels, .. }| {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
        format!("| `{name}` | {} | {} | {labels} | ", kind.name(), unit.unwrap_or("–"))
    });
    let lines = table("Metrics");
    for (line, start) in lines.iter().zip(expected) {
        assert!(line.starts_with(&start), "{line}\nis not\n{start}");
    }
    assert_eq!(lines.len(), families::ALL.len());
}

#[test]
fn the_table_of_reasons_is_that_of_the_report() {
    let expected = REASONS.iter().map(|(reason, slug)| format!("| `{slug}` | `{reason}` |"));
    let expected: Vec<_> = expected.chain([format!("| `{UNSTATED}` | ")]).collect();
    let lines = table("Reasons");
    for (line, start) in lines.iter().zip(&expected) {
        assert!(line.starts_with(start.as_str()), "{line}\nis not\n{start}");
    }
    assert_eq!(lines.len(), expected.len());
}

#[test]
fn queries_rules_and_panels_name_metrics_that_there_are() {
    // Files of rules are named with a dot, which is no part of a name.
    for text in [TEXT, RULES, DASHBOARD] {
        assert!(names(text).len() > 10);
        assert_known(text);
    }
}

#[test]
fn every_metric_but_details_is_on_the_dashboard() {
    let shown = names(DASHBOARD);
    let hidden: Vec<_> =
        families::ALL.iter().map(|family| family.name).filter(|name| !shown.contains(name)).collect();
    assert_eq!(hidden, ["zc_transfer_by_reference_bytes_total", "zc_transfer_unknown_bytes"]);
}

#[test]
fn every_alert_has_a_remedy_and_every_remedy_an_alert() {
    let alerts: Vec<_> = RULES
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .map(|name| format!("| `{name}` | "))
        .collect();
    let lines = table("Alerts and a dashboard");
    for (line, start) in lines.iter().zip(&alerts) {
        assert!(line.starts_with(start.as_str()), "{line}\nis not\n{start}");
    }
    assert_eq!(lines.len(), alerts.len());
    // What a rule names with colons, a rule makes.
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    let recorded = RULES.split(|char| !is_part(char)).filter(|word| word.contains(":zc_"));
    for name in recorded {
        assert!(RULES.contains(&format!("- record: {name}\n")), "{name}");
    }
}
