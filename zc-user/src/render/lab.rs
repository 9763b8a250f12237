//! The lab's table: for each row the textbook's numbers, and below them what was measured.

use super::{
    human::{self, keep_end, or_dash, plural, wrap},
    notes::loss_list,
    paint::Paint,
    table::WIDTH,
};
use crate::lab::{
    answer::{Answer, CaseAnswer, RowAnswer},
    appends::{Appends, Way},
    judge::{Agreement, Cause, Judgement, Number},
    measure::Measured,
    rows::{Cache, Expected, Numbers, Origin, Unit},
};

/// Widths of the columns of numbers.
const WIDTHS: [usize; 8] = [6, 6, 6, 5, 4, 10, 10, 7];
const HEADS: [&str; 8] = ["CALLS", "MODESW", "COPIES", "DISK", "CARD", "FAULTS", "CSW", "TIME"];
/// Width of the first column.
const CASE: usize = 13;

/// The table.
pub fn render(answer: &Answer, color: bool, ascii: bool) -> String {
    let mut lab = Lab { paint: Paint { on: color }, ascii, causes: Vec::new(), unexplained: false };
    let mut lines = lab.head(answer);
    let mut origin = None;
    for row in &answer.rows {
        if origin != Some(row.origin) {
            origin = Some(row.origin);
            lines.push(String::new());
            lines.push(lab.paint.heading(&format!("{}{}", title(row.origin), columns())));
        }
        lines.extend(lab.row(row));
    }
    if let Some(appends) = &answer.appends {
        lines.push(String::new());
        lines.extend(lab.appends(appends));
    }
    lines.push(String::new());
    lines.push(summary(answer));
    lines.push(loss_list(&answer.lost, lab.paint));
    lines.extend(lab.notes());
    lines.join("\n") + "\n"
}

/// What was found on the way.
struct Lab {
    paint: Paint,
    ascii: bool,
    causes: Vec<Cause>,
    unexplained: bool,
}

fn title(origin: Origin) -> String {
    let text = match origin {
        Origin::Textbook => "TEXTBOOK",
        Origin::Further => "FURTHER CASES",
        Origin::Beyond => "BEYOND IT",
    };
    format!("{text:<width$}", width = CASE + 3)
}

fn columns() -> String {
    line_of(String::new(), &HEADS, |_, cell| cell)
}

/// The columns of numbers, after what begins the line; `paint` may colour the cell of a column.
fn line_of<T: AsRef<str>>(begin: String, cells: &[T; 8], paint: impl Fn(usize, String) -> String) -> String {
    let cells = cells.iter().zip(WIDTHS).enumerate();
    let cells: Vec<_> =
        cells.map(|(column, (cell, width))| paint(column, format!("{:>width$}", cell.as_ref()))).collect();
    begin + &cells.join(" ")
}

impl Lab {
    fn head(&self, answer: &Answer) -> Vec<String> {
        let host = &answer.host;
        let workload = &answer.workload;
        let line = format!(
            "zc {}  {}  Linux {} {}  {}  {:.1} s",
            answer.tool.version,
            human::printable(&host.hostname),
            host.kernel,
            host.arch,
            answer.window.start.strftime("%Y-%m-%dT%H:%M:%SZ"),
            answer.window.seconds
        );
        let about = format!(
            "A file of {} in {} ({}), moved in transfers of {}. Numbers are those of one transfer; COPIES, DISK and CARD \
             are copies of each byte by the processor, from storage and to a network card; TIME is untraced.",
            human::bytes(workload.size_bytes),
            keep_end(&human::printable(&workload.directory), 40, if self.ascii { "..." } else { "…" }),
            workload.file_system,
            human::bytes(workload.transfer_bytes),
        );
        vec![line, self.paint.quiet(&wrap(&about, WIDTH, ""))]
    }

    fn row(&mut self, row: &RowAnswer) -> Vec<String> {
        let unit = match row.transfer {
            Unit::Chunk => String::new(),
            Unit::Page => ", per page".to_owned(),
            Unit::Record => ", per record".to_owned(),
            Unit::Event => ", per event".to_owned(),
        };
        let title = format!("{:>2} {}{unit}: {}", row.number, row.name, row.about);
        let mut lines = vec![self.paint.heading(&title)];
        let says = if row.origin == Origin::Beyond { "promised" } else { "textbook" };
        let mut last = None;
        for case in &row.cases {
            // Of a warm cache nothing is read, which the next line need not say of itself.
            let cold = |numbers: Numbers| Numbers { device_reads: None, ..numbers };
            let again = last == Some(case.expected)
                || case.cache == Cache::Warm && last.map(cold) == Some(cold(case.expected));
            if !again {
                lines.push(self.paint.quiet(&line(says, &expected(&case.expected))));
                last = Some(case.expected);
            }
            lines.extend(self.case(case));
        }
        lines
    }

    fn case(&mut self, case: &CaseAnswer) -> Vec<String> {
        let Some(measured) = &case.measured else {
            let why = case.skipped.as_deref().unwrap_or("no reason is known");
            return vec![wrap(
                &format!("   {:<CASE$}not run: {}", case.name, human::printable(why)),
                WIDTH,
                "       ",
            )];
        };
        let paint = self.paint;
        let differs = |at| {
            let of_column = |one: &&Judgement| column(one.number) == Some(at);
            case.judgements.iter().find(of_column).is_some_and(|one| one.agreement == Agreement::Differs)
        };
        let begin = format!("   {:<CASE$}", case.name);
        let text = line_of(begin, &numbers(measured), |at, cell| {
            if differs(at) { paint.agreement(Agreement::Differs, &cell) } else { cell }
        });
        let width = 3 + CASE + WIDTHS.iter().sum::<usize>() + WIDTHS.len() - 1;
        let sign = if self.ascii { "!=" } else { "≠" };
        let parts = [(Agreement::Differs, sign), (Agreement::Unknown, "?")].map(|(agreement, sign)| {
            let notes = self.remarks(case, agreement);
            if notes.is_empty() {
                (agreement, String::new())
            } else {
                (agreement, format!("{sign}[{notes}]"))
            }
        });
        let mut parts: Vec<_> = parts.into_iter().filter(|(_, part)| !part.is_empty()).collect();
        if parts.is_empty() {
            parts.push((Agreement::Agrees, "agrees".to_owned()));
        }
        let taken = parts.iter().map(|(_, part)| human::width(part) + 1).sum::<usize>() - 1;
        let painted: Vec<_> =
            parts.iter().map(|(agreement, part)| self.paint.agreement(*agreement, part)).collect();
        let painted = painted.join(" ");
        if width + 2 + taken > WIDTH {
            return vec![text, format!("{:>pad$}{painted}", "", pad = WIDTH.saturating_sub(taken))];
        }
        vec![format!("{text}  {painted}")]
    }

    /// The reasons for the numbers of a case that stand so: their footnotes; the number's name when there is none.
    fn remarks(&mut self, case: &CaseAnswer, agreement: Agreement) -> String {
        let mut notes = Vec::new();
        for judgement in case.judgements.iter().filter(|judgement| judgement.agreement == agreement) {
            let note = if let Some(cause) = judgement.cause {
                self.note(cause).to_string()
            } else {
                self.unexplained = true;
                name(judgement.number).to_owned()
            };
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        notes.sort_by_key(|note| (note.len(), note.clone()));
        notes.join(",")
    }

    fn note(&mut self, cause: Cause) -> usize {
        let known = self.causes.iter().position(|known| *known == cause);
        known.unwrap_or_else(|| {
            self.causes.push(cause);
            self.causes.len() - 1
        }) + 1
    }

    fn notes(&self) -> Vec<String> {
        let causes = self.causes.iter().enumerate();
        let mut lines: Vec<_> = causes
            .map(|(index, cause)| wrap(&format!("[{}] {}", index + 1, cause.text()), WIDTH, "    "))
            .collect();
        if self.unexplained {
            lines.push("[name] this number differs, and zc cannot say why".to_owned());
        }
        let legend = "≠ not the textbook's, ? and - not known; FAULTS minor/major, CSW voluntary/involuntary, f = faults";
        lines.push(wrap(
            &if self.ascii { legend.replace('≠', "!=") } else { legend.to_owned() },
            WIDTH,
            "    ",
        ));
        lines
    }

    fn appends(&self, appends: &Appends) -> Vec<String> {
        let head = format!(
            "{:>10}  {:>10} {:>12} {:>9}    {:>10} {:>12} {:>9}",
            "RECORDS", "write(2)", "MODESW", "FAULTS", "mapping", "MODESW", "FAULTS"
        );
        let mut lines = vec![
            self.paint.heading("Appends of 60-byte records: write(2) against a shared mapping"),
            self.paint.quiet(&head),
        ];
        for point in &appends.points {
            let wins = appends.mapping_wins_from.is_some_and(|from| point.records >= from);
            let mark = if wins { "  mapping wins" } else { "" };
            lines.push(format!(
                "{:>10}  {}    {}{mark}",
                point.records,
                way(&point.write),
                way(&point.mapping)
            ));
        }
        lines.push(match appends.mapping_wins_from {
            Some(from) => {
                format!("The mapping begins to win at {from} records on this machine (times are untraced).")
            }
            None => "The mapping does not win on this machine, at any number of records tried.".to_owned(),
        });
        lines
    }
}

fn way(way: &Way) -> String {
    let count = |value: Option<u64>| or_dash(value, |value| human::count(value, 1_000_000_000));
    format!("{:>10} {:>12} {:>9}", or_dash(way.seconds, seconds), count(way.mode_switches), count(way.faults))
}

/// A line of the table without its remarks.
fn line(name: &str, cells: &[String; 8]) -> String {
    line_of(format!("   {name:<CASE$}"), cells, |_, cell| cell)
}

/// In which column a number is.
const fn column(number: Number) -> Option<usize> {
    match number {
        Number::Path => None,
        Number::SystemCalls => Some(0),
        Number::ModeSwitches => Some(1),
        Number::CpuCopies => Some(2),
        Number::DeviceReads => Some(3),
        Number::DeviceSends => Some(4),
        Number::Faults => Some(5),
    }
}

fn expected(numbers: &Numbers) -> [String; 8] {
    let show = |number: Option<Expected>| {
        or_dash(number, |number| match number {
            Expected::Exactly(number) => decimal(number),
            Expected::AndTwoPerFault(0.0) => "2f".to_owned(),
            Expected::AndTwoPerFault(base) => format!("{}+2f", decimal(base)),
            Expected::MoreThan(least) => format!(">{}", decimal(least)),
            Expected::Either(one, other) => format!("{} or {}", decimal(one), decimal(other)),
        })
    };
    let Numbers { system_calls, mode_switches, cpu_copies, device_reads, device_sends, faults } = *numbers;
    let nothing = || "-".to_owned();
    [
        show(system_calls),
        show(mode_switches),
        show(cpu_copies),
        show(device_reads),
        show(device_sends),
        show(faults),
        nothing(),
        nothing(),
    ]
}

fn numbers(measured: &Measured) -> [String; 8] {
    let show = |number: Option<f64>| or_dash(number, decimal);
    let two =
        |a: Option<f64>, b: Option<f64>| or_dash(a.zip(b), |(a, b)| format!("{}/{}", decimal(a), decimal(b)));
    [
        show(measured.system_calls),
        show(measured.mode_switches),
        show(measured.cpu_copies),
        show(measured.device_reads),
        show(measured.device_sends),
        two(measured.minor_faults, measured.major_faults),
        two(measured.voluntary_switches, measured.involuntary_switches),
        or_dash(measured.seconds, seconds),
    ]
}

const fn name(number: Number) -> &'static str {
    match number {
        Number::Path => "path",
        Number::SystemCalls => "calls",
        Number::ModeSwitches => "modesw",
        Number::CpuCopies => "copies",
        Number::DeviceReads => "disk",
        Number::DeviceSends => "card",
        Number::Faults => "faults",
    }
}

/// `2`, `4.02`, `0.003`: two digits after the point, three of what is small; a whole number but for a thousandth is shown
/// as one.
fn decimal(value: f64) -> String {
    if (value - value.round()).abs() < 0.0005 {
        return format!("{value:.0}").replace("-0", "0");
    }
    let text = if value < 0.02 { format!("{value:.3}") } else { format!("{value:.2}") };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `812ns`, `35.1us`, `1.2ms`, `2.5s`.
fn seconds(value: f64) -> String {
    let (scaled, unit) = match value {
        value if value < 1e-6 => (value * 1e9, "ns"),
        value if value < 1e-3 => (value * 1e6, "us"),
        value if value < 1.0 => (value * 1e3, "ms"),
        value => (value, "s"),
    };
    if scaled < 100.0 && unit != "ns" { format!("{scaled:.1}{unit}") } else { format!("{scaled:.0}{unit}") }
}

fn summary(answer: &Answer) -> String {
    let cases = || answer.rows.iter().flat_map(|row| &row.cases);
    let judged = || cases().filter(|case| case.measured.is_some());
    let with = |wanted: &dyn Fn(&Judgement) -> bool| {
        judged().filter(|case| case.judgements.iter().any(wanted)).count()
    };
    let text = format!(
        "{}: {} agree, {} differ in some number, {} not known in some; {} without a reason, {} not run",
        plural(cases().count() as u64, "case", "cases"),
        judged().filter(|case| case.agreement == Agreement::Agrees).count(),
        with(&|one| one.agreement == Agreement::Differs),
        with(&|one| one.agreement == Agreement::Unknown),
        with(&|one| one.agreement != Agreement::Agrees && one.cause.is_none()),
        cases().count() - judged().count(),
    );
    wrap(&text, WIDTH, "    ")
}

#[cfg(test)]
#[path = "lab_tests.rs"]
mod tests;
