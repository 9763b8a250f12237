//! The answer of `zc verify` for people: a line, and below it what broke the expectation.

use zc_common::path::Kind;

use super::{
    human::{self, or_dash, wrap},
    notes,
    paint::Paint,
    table::WIDTH,
};
use crate::model::{
    report::{End, Via},
    verify::{Answer, Cause, Doubt, Item},
};

/// Rows, and flows, that are shown.
const SHOWN: usize = 20;

/// How it is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// With colours.
    pub color: bool,
    /// No character outside of ASCII but in names.
    pub ascii: bool,
}

/// The answer, and all that belongs to it.
pub fn render(answer: &Answer, exit_code: u8, options: Options) -> String {
    let paint = Paint { on: options.color };
    let (word, rest) = answer.summary.split_once(':').unwrap_or((&answer.summary, ""));
    format!("{}:{rest}\n{}", paint.answer(answer.outcome, word), details(answer, exit_code, options))
}

/// What stands below the line.
pub fn details(answer: &Answer, exit_code: u8, options: Options) -> String {
    let Answer { undecided, rows, flows, .. } = answer;
    let mut lines = Vec::new();
    if exit_code != 0 {
        lines.push(command_failed(exit_code));
    }
    for doubt in undecided {
        match doubt {
            Doubt::Lost { counters } => lines.push(notes::loss_list(counters, Paint { on: options.color })),
            Doubt::MissingHook { name, reason } => {
                let reason = reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
                lines.push(wrap(&human::printable(&format!("missing: {name}{reason}")), WIDTH, "    "));
            }
            _ => {}
        }
    }
    for (name, items) in [("rows", rows), ("flows", flows)] {
        if !items.is_empty() {
            lines.push(format!("{name}:"));
        }
        lines.extend(items.iter().take(SHOWN).flat_map(|item| lines_of(item, options)));
        if items.len() > SHOWN {
            let more = if options.ascii { "..." } else { "…" };
            lines.push(format!("  {more} and {} more", items.len() - SHOWN));
        }
    }
    lines.into_iter().flat_map(|line| [line, "\n".to_owned()]).collect()
}

/// That the command failed, which decides nothing.
pub fn command_failed(exit_code: u8) -> String {
    format!("the command itself ended with exit code {exit_code}")
}

fn lines_of(item: &Item, options: Options) -> Vec<String> {
    let Item { pid, comm, path, via, source, destination, .. } = item;
    let arrow = if options.ascii { "->" } else { "→" };
    let by = if *via == Via::Syscall { String::new() } else { format!(" by {}", via.name()) };
    let comm = comm.as_deref().unwrap_or("?");
    let head = format!("  {comm} {pid}  {}{by}  {} {arrow} {}", path.name(), name(source), name(destination));
    let amount = |value| or_dash(value, |bytes: u64| bytes.to_string());
    let copied = amount(item.cpu_copied_bytes);
    let by_reference = amount(item.by_reference_bytes);
    let Item { bytes, unknown_bytes, verdict, evidence, .. } = item;
    let numbers = format!(
        "      {bytes} bytes: {copied} copied, {by_reference} by reference, {unknown_bytes} unknown; \
         {} ({})",
        verdict.name(),
        evidence.name()
    );
    let reason = item.reason.map(|reason| {
        let hint = item.hint.map_or_else(String::new, |hint| format!("; {hint}"));
        wrap(&format!("      {reason}{hint}"), WIDTH, "      ")
    });
    let unattributed = item.broke.contains(&Cause::Unattributed);
    let unattributed = unattributed.then(|| "      no name tells whether it is selected".to_owned());
    [Some(human::printable(&head)), Some(numbers), reason, unattributed].into_iter().flatten().collect()
}

fn name(end: &End) -> String {
    match (&end.name, end.kind) {
        (Some(name), _) => name.clone(),
        (None, kind @ (Kind::Memory | Kind::Unknown)) => kind.name().to_owned(),
        (None, kind) => format!("({})", kind.name()),
    }
}
