//! The table: a block for each process, its paths, its flows, then totals and notes.
//!
//! Numbers of rows line up over the whole report. Lines have at most 100 columns, 80 where the numbers
//! allow it; exact numbers (`-v`) may need more.

use std::collections::HashMap;

use zc_common::path::{Kind, Path};

use super::{
    grid::{COLUMNS, Cells, Grid},
    human::{self, or_dash},
    notes::{self, Footnotes},
    paint::Paint,
    view,
};
use crate::{
    export::Options,
    model::{
        Report,
        report::{ContextSwitches, End, Figures, Flow, PageFaults, PathRow, Process},
        totals::Totals,
    },
};

/// The widest line.
pub(super) const WIDTH: usize = 100;
/// Processes that are shown when nothing else is asked for.
const PROCESSES: usize = 20;
/// Flows of a process that are shown when nothing else is asked for.
const FLOWS: usize = 10;
const HEADER: [&str; COLUMNS] =
    ["PATH", "FROM", "CALLS", "BYTES", "COPIED", "UNKNOWN", "CSW", "FAULTS", "VERDICT"];
const LEGEND: &str = "modesw: by calls+by page faults; csw: voluntary/involuntary; faults: minor/major";
const PAIRED: &str = "0 calls: counted in the row of those bytes of the same calls that were paired";

/// The report as text.
pub fn render(report: &Report, options: &Options) -> String {
    let mut processes = report.processes.clone();
    view::sort(&mut processes, options.sort);
    let gone = processes.split_off(options.limit.unwrap_or(PROCESSES).min(processes.len()));
    let totals = report.totals();
    let mut table = Table::new(options);
    table.title(report);
    table.rows(report, &processes, &totals);
    if !gone.is_empty() {
        table.more_processes(&Totals::of(&gone));
    }
    table.totals(&totals);
    table.notes(report);
    table.text
}

struct Table<'a> {
    options: &'a Options,
    paint: Paint,
    arrow: &'static str,
    more: &'static str,
    /// Counts from here on are shown in thousands, millions, …
    exact_below: u64,
    footnotes: Footnotes,
    /// A leg is shown whose calls are all in the rows of pairs.
    has_rest: bool,
    grid: Grid,
    text: String,
}

impl<'a> Table<'a> {
    fn new(options: &'a Options) -> Self {
        let (arrow, more) = if options.ascii { ("->", "...") } else { ("→", "…") };
        Self {
            options,
            paint: Paint { on: options.color },
            arrow,
            more,
            exact_below: if options.verbose { u64::MAX } else { 100_000_000 },
            footnotes: Footnotes::default(),
            has_rest: false,
            grid: Grid::of([]),
            text: String::new(),
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn title(&mut self, report: &Report) {
        let Report { tool, host, window, .. } = report;
        let title = format!(
            "zc {}  {}  Linux {} {}  {:.0}  {:.2} s",
            tool.version, host.hostname, host.kernel, host.arch, window.start, window.seconds
        );
        self.line(&human::keep_end(&human::printable(&title), WIDTH, self.more));
        self.line("");
    }

    /// All blocks. Cells come first, as the columns line up over all of them.
    fn rows(&mut self, report: &Report, processes: &[Process], totals: &Totals) {
        let mut header = HEADER.map(str::to_owned);
        header[1] = format!("FROM {} TO", self.arrow);
        let mut cells = self.all_cells(processes);
        self.grid = Grid::of(cells.iter().flatten().chain([&header, &self.total_cells(totals)]));
        if self.grid.width() > WIDTH && !self.options.verbose {
            self.exact_below = 10_000;
            cells = self.all_cells(processes);
            self.grid = Grid::of(cells.iter().flatten().chain([&header, &self.total_cells(totals)]));
        }
        let line = self.grid.line(&header, HEADER[COLUMNS - 1]);
        self.line(&self.paint.quiet(&line));
        // Calls that moved nothing are in the path rows.
        let mut flows = HashMap::<_, Vec<&Flow>>::new();
        for flow in report.flows.iter().filter(|flow| flow.figures.bytes > 0) {
            flows.entry((flow.pid, flow.start_ns)).or_default().push(flow);
        }
        for (process, cells) in processes.iter().zip(&cells) {
            self.process(process);
            for (row, cells) in process.paths.iter().zip(cells) {
                let verdict = self.paint.verdict(row.figures.verdict, &cells[COLUMNS - 1]);
                self.line(&self.grid.line(cells, &verdict));
            }
            let flows = flows.remove(&(process.pid, process.start_ns));
            self.flows(&flows.unwrap_or_default());
        }
    }

    fn all_cells(&mut self, processes: &[Process]) -> Vec<Vec<Cells>> {
        let of_process = |process: &Process| process.paths.iter().map(|row| self.cells(row)).collect();
        processes.iter().map(of_process).collect()
    }

    fn cells(&mut self, row: &PathRow) -> Cells {
        let Figures { syscalls, bytes, cpu_copied_bytes, unknown_bytes, verdict, reason, .. } = row.figures;
        let is_leg = matches!(row.path, Path::Read | Path::Write | Path::DirectRead | Path::DirectWrite);
        self.has_rest |= is_leg && bytes > 0 && syscalls == 0;
        let verdict = match reason {
            // Nothing moved, nothing to judge.
            _ if bytes == 0 => "-".to_owned(),
            Some(reason) => format!("{} [{}]", verdict.name(), self.footnotes.number(reason)),
            None => verdict.name().to_owned(),
        };
        [
            row.path.name().to_owned(),
            format!("{} {} {}", row.source.name(), self.arrow, row.destination.name()),
            self.count(syscalls),
            self.bytes(bytes),
            or_dash(cpu_copied_bytes, |bytes| self.bytes(bytes)),
            self.bytes(unknown_bytes),
            self.switches(row.figures.context_switches),
            self.faults(row.figures.page_faults),
            verdict,
        ]
    }

    fn process(&mut self, process: &Process) {
        let comm = process.comm.as_deref().map_or_else(|| "?".to_owned(), human::printable);
        let exit = or_dash(process.exit_code, |code| code.to_string());
        let summary = self.summary(
            process.syscalls,
            process.mode_switches.syscall,
            process.mode_switches.exception,
            process.context_switches,
            process.page_faults,
        );
        self.block(&format!("{comm} {}", process.pid), &format!("exit {exit}  {summary}"));
        if self.options.verbose {
            let command: Vec<_> = process.cmdline.iter().map(|argument| human::printable(argument)).collect();
            let details = [
                ("exe", process.exe.clone()),
                ("command", Some(command.join(" ")).filter(|line| !line.is_empty())),
                ("cgroup", process.cgroup.clone()),
                ("container", process.container.clone()),
            ];
            for (name, value) in details {
                if let Some(value) = value {
                    let line = format!("    {name} {}", human::printable(&value));
                    self.line(&human::wrap(&line, WIDTH, "      "));
                }
            }
        }
    }

    /// The first line of a block.
    fn block(&mut self, name: &str, summary: &str) {
        let plain = human::wrap(&format!("{name}  {summary}"), WIDTH, "    ");
        let line = match plain.strip_prefix(name) {
            Some(rest) => format!("{}{rest}", self.paint.heading(name)),
            None => plain,
        };
        self.line(&line);
    }

    fn summary(
        &self,
        syscalls: Option<u64>,
        by_calls: Option<u64>,
        by_faults: Option<u64>,
        switches: Option<ContextSwitches>,
        faults: Option<PageFaults>,
    ) -> String {
        let number = |value| or_dash(value, |value| self.count(value));
        let modes = match (by_calls, by_faults) {
            (None, None) => "-".to_owned(),
            _ => format!("{}+{}", number(by_calls), number(by_faults)),
        };
        format!(
            "syscalls {}  modesw {modes}  csw {}  faults {}",
            number(syscalls),
            self.switches(switches),
            self.faults(faults)
        )
    }

    fn flows(&mut self, flows: &[&Flow]) {
        let (shown, rest) = flows.split_at(self.options.limit.unwrap_or(FLOWS).min(flows.len()));
        let widest = shown.iter().map(|flow| flow.path.name().len()).max().unwrap_or(0);
        for flow in shown {
            let figures = &flow.figures;
            let numbers = format!(
                "    {:>8}  {:>8} {:<5}  {:<widest$}  ",
                self.bytes(figures.bytes),
                self.count(figures.syscalls),
                if figures.syscalls == 1 { "call" } else { "calls" },
                flow.path.name()
            );
            let room = WIDTH.saturating_sub(human::width(&numbers) + human::width(self.arrow) + 2);
            let (from, to) = self.ends(&flow.source, &flow.destination, room);
            let line = format!("{numbers}{from} {} {to}", self.arrow);
            self.line(&line);
        }
        if !rest.is_empty() {
            let bytes = rest.iter().map(|flow| flow.figures.bytes).sum();
            let count = human::plural(rest.len() as u64, "more flow", "more flows");
            let line = format!("    {:>8}  {} {count}", self.bytes(bytes), self.more);
            self.line(&line);
        }
    }

    /// The names of both ends within `room` columns; a short one leaves its room to the other.
    fn ends(&self, source: &End, destination: &End, room: usize) -> (String, String) {
        let verbose = self.options.verbose;
        let name = |end: &End| match (&end.name, end.kind) {
            (Some(name), _) if verbose && end.local.as_ref().is_some_and(|local| local != name) => {
                format!("{} (own end {})", human::printable(name), end.local.as_deref().unwrap_or_default())
            }
            (Some(name), _) => human::printable(name),
            (None, kind @ (Kind::Memory | Kind::Unknown)) => kind.name().to_owned(),
            (None, kind) => format!("({})", kind.name()),
        };
        let (from, to) = (name(source), name(destination));
        let from = human::keep_end(&from, room - human::width(&to).min(room / 2), self.more);
        let to = human::keep_end(&to, room.saturating_sub(human::width(&from)), self.more);
        (from, to)
    }

    fn more_processes(&mut self, rest: &Totals) {
        let processes = human::plural(rest.processes, "more process", "more processes");
        let copied = rest.cpu_copied_bytes.map(|bytes| format!(", {} copied", self.bytes(bytes)));
        let line = format!(
            "{} and {processes}: {} moved{}, {} unknown",
            self.more,
            self.bytes(rest.bytes),
            copied.unwrap_or_default(),
            self.bytes(rest.unknown_bytes)
        );
        self.line(&line);
    }

    fn totals(&mut self, totals: &Totals) {
        let processes = human::plural(totals.processes, "process", "processes");
        let summary = self.summary(
            totals.syscalls,
            totals.mode_switches_syscall,
            totals.mode_switches_exception,
            totals.context_switches,
            totals.page_faults,
        );
        self.block(&format!("total of {processes}"), &summary);
        let line = self.grid.line(&self.total_cells(totals), "");
        self.line(&line);
    }

    fn total_cells(&self, totals: &Totals) -> Cells {
        let mut cells = Cells::default();
        "all paths".clone_into(&mut cells[0]);
        cells[2] = self.count(totals.path_syscalls);
        cells[3] = self.bytes(totals.bytes);
        cells[4] = or_dash(totals.cpu_copied_bytes, |bytes| self.bytes(bytes));
        cells[5] = self.bytes(totals.unknown_bytes);
        cells
    }

    fn notes(&mut self, report: &Report) {
        self.line("");
        if let Some(omitted) = report.omitted.filter(|omitted| omitted.processes + omitted.flows > 0) {
            self.line(&format!(
                "left out when this was saved: {} and {}; the totals are without them",
                human::plural(omitted.processes, "process", "processes"),
                human::plural(omitted.flows, "flow", "flows")
            ));
        }
        if let Some(sampling) = report.sampling {
            self.line(&notes::sampled(sampling));
        }
        self.line(&notes::lost(report, self.paint));
        for line in notes::missing(report) {
            self.line(&self.paint.alarm(&line));
        }
        if self.options.verbose && !report.hooks.is_empty() {
            self.line(&notes::hooks(report));
        }
        let own_cost = notes::own_cost(report);
        if let Some(line) = own_cost.filter(|_| self.options.verbose || report.self_cost.bpf_runs.is_some()) {
            self.line(&line);
        }
        for line in self.footnotes.lines() {
            self.line(&line);
        }
        if self.has_rest {
            self.line(&self.paint.quiet(PAIRED));
        }
        self.line(&self.paint.quiet(LEGEND));
    }

    fn bytes(&self, bytes: u64) -> String {
        if self.options.verbose { bytes.to_string() } else { human::bytes(bytes) }
    }

    fn count(&self, count: u64) -> String {
        human::count(count, self.exact_below)
    }

    fn switches(&self, switches: Option<ContextSwitches>) -> String {
        or_dash(switches, |both| format!("{}/{}", self.count(both.voluntary), self.count(both.involuntary)))
    }

    fn faults(&self, faults: Option<PageFaults>) -> String {
        or_dash(faults, |both| format!("{}/{}", self.count(both.minor), self.count(both.major)))
    }
}

#[cfg(test)]
mod tests;
