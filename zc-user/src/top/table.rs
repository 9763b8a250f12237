//! A frame as text: a line with the time, a header, a line for each process and path, and the sum.
//!
//! The columns are always the same ones in the same order, so that `awk` finds them; on a terminal that is too narrow, the last ones
//! that anybody would miss are left out. The name is last, as it may hold anything.

use std::collections::BTreeMap;

use super::{
    frame::{Frame, Moved, ProcessFrame},
    numbers::Number,
};
use crate::{
    model::interval::Who,
    render::{
        human::{self, or_dash, width},
        notes,
        paint::Paint,
    },
    resolve::unit,
};

/// What has a line of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// Each path of each process.
    #[default]
    Path,
    /// Each process.
    Process,
    /// Each service: the container, else the unit of systemd, else the command name.
    Service,
}

/// How a frame is shown.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// What has a line of its own.
    pub by: By,
    /// So many processes or services at most.
    pub limit: usize,
    /// Columns of the screen.
    pub width: usize,
    /// Lines of the screen; `None` when they do not end.
    pub height: Option<usize>,
    /// Exact numbers.
    pub verbose: bool,
    /// With colours.
    pub color: bool,
    /// No character outside of ASCII but in names.
    pub ascii: bool,
}

/// The width of text that does not go to a terminal, unless names or numbers need more.
pub const WIDTH: usize = 80;
/// The same when they do; `-v` may need more than that.
const WIDTH_MAX: usize = 100;
/// Room for names that is made by leaving out columns.
const NAME_MIN: usize = 12;

const COLUMNS: usize = 12;
const HEADER: [&str; COLUMNS] =
    ["PID", "PATH", "BYTES", "COPIED", "REF", "UNK", "CALLS", "C/B", "CSW", "FLT", "VERDICT", "COMMAND"];
const PATH: usize = 1;
const VERDICT: usize = 10;
const NAME: usize = 11;
/// What a narrow screen can do without, first things first.
const LEFT_OUT: [usize; 6] = [9, 8, 7, 4, 5, 6];

type Cells = [String; COLUMNS];

/// One line: whose, and how much.
struct Line {
    id: String,
    path: &'static str,
    name: String,
    moved: Moved,
}

/// A frame, which has been sorted, as text. `title` is what stands behind the time.
pub fn render(frame: &Frame, title: &str, style: &Style) -> String {
    let seconds = frame.seconds;
    let lost = (!frame.lost.is_empty()).then(|| notes::loss_list(&frame.lost, Paint { on: false }));
    let below =
        lost.into_iter().chain(frame.notes.iter().map(|note| human::printable(&note.replace('\n', " "))));
    let below: Vec<_> = below
        .flat_map(|line| {
            let wrapped = human::wrap(&line, style.width, "    ");
            wrapped.lines().map(|line| human::keep_start(line, style.width)).collect::<Vec<_>>()
        })
        .collect();
    let (mut lines, left_out) = lines(frame, style);
    // The title, the header and the sum have a line each, what was left out another one.
    let room = style.height.map_or(usize::MAX, |height| height.saturating_sub(4 + below.len()));
    let cut = lines.len().saturating_sub(room);
    lines.truncate(room);
    let total = Line {
        id: "total".to_owned(),
        path: "all",
        name: human::plural(frame.processes.len() as u64, "process", "processes"),
        moved: frame.total,
    };
    let mut header = HEADER.map(str::to_owned);
    if style.by == By::Service {
        "PROCS".clone_into(&mut header[0]);
        "SERVICE".clone_into(&mut header[NAME]);
    }
    let cells: Vec<_> =
        lines.iter().chain([&total]).map(|line| (line, cells(line, seconds, style.verbose))).collect();
    let grid = Grid::of(cells.iter().map(|(_, cells)| cells).chain([&header]), style);
    let paint = Paint { on: style.color };
    let mut text = String::new();
    let mut put = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    let first = format!("{:.0}  per second over {seconds:.2} s  {title}", frame.end);
    put(&human::keep_start(&human::printable(&first), grid.width));
    put(&paint.quiet(&grid.line(&header, str::to_owned)));
    for (line, cells) in &cells {
        let verdict = |text: &str| match line.moved.verdict() {
            Some(verdict) => paint.verdict(verdict, text),
            None => text.to_owned(),
        };
        put(&grid.line(cells, verdict));
    }
    if cut + left_out > 0 {
        let more = if style.ascii { "..." } else { "…" };
        let what = match (cut, style.by) {
            (1.., _) => human::plural((cut + left_out) as u64, "more line", "more lines"),
            (_, By::Service) => human::plural(left_out as u64, "more service", "more services"),
            _ => human::plural(left_out as u64, "more process", "more processes"),
        };
        put(&human::keep_start(&format!("{more} {what}"), grid.width));
    }
    for line in below {
        put(&paint.alarm(&line));
    }
    text
}

/// The lines within the limit, and how many processes or services are left out by it.
fn lines(frame: &Frame, style: &Style) -> (Vec<Line>, usize) {
    let shown = |process: &&ProcessFrame| {
        process.exit_code.is_some()
            || match style.by {
                By::Path => process.rows.iter().any(|row| !row.moved.shown.is_nothing()),
                By::Process | By::Service => !process.moved.shown.is_nothing(),
            }
    };
    let processes: Vec<_> = frame.processes.iter().filter(shown).collect();
    if style.by == By::Service {
        return services(&processes, style.limit);
    }
    let left_out = processes.len().saturating_sub(style.limit);
    let line = |process: &ProcessFrame, path, moved| Line {
        id: process.who.pid.to_string(),
        path,
        name: name(process),
        moved,
    };
    let of_process = |process: &&ProcessFrame| match style.by {
        By::Path => {
            let mut lines: Vec<Line> = Vec::new();
            for row in process.rows.iter().filter(|row| !row.moved.shown.is_nothing()) {
                let path = row.name.path.name();
                match lines.iter_mut().find(|line| line.path == path) {
                    Some(line) => line.moved.add(&row.moved),
                    None => lines.push(line(process, path, row.moved)),
                }
            }
            if lines.is_empty() {
                lines.push(line(process, "-", Moved::default()));
            }
            lines
        }
        By::Process | By::Service => vec![line(process, "all", process.moved)],
    };
    (processes.iter().take(style.limit).flat_map(of_process).collect(), left_out)
}

/// Services in the order of their first processes.
fn services(processes: &[&ProcessFrame], limit: usize) -> (Vec<Line>, usize) {
    let mut at = BTreeMap::<String, usize>::new();
    let mut services: Vec<(u64, Line)> = Vec::new();
    for process in processes {
        let name = service(&process.who);
        if let Some(&index) = at.get(&name) {
            services[index].0 += 1;
            services[index].1.moved.add(&process.moved);
        } else {
            at.insert(name.clone(), services.len());
            services.push((1, Line { id: String::new(), path: "all", name, moved: process.moved }));
        }
    }
    let left_out = services.len().saturating_sub(limit);
    let lines = services.into_iter().take(limit);
    (lines.map(|(count, line)| Line { id: count.to_string(), ..line }).collect(), left_out)
}

fn service(who: &Who) -> String {
    let unit = who.cgroup.as_deref().and_then(unit::of_cgroup);
    // The first digits of a container's id are what its runtime shows.
    let container = who.container.as_deref().map(|id| id.get(..12).unwrap_or(id));
    human::printable(container.or(unit).or(who.comm.as_deref()).unwrap_or("?"))
}

fn name(process: &ProcessFrame) -> String {
    let comm = process.who.comm.as_deref().map_or_else(|| "?".to_owned(), human::printable);
    match process.exit_code {
        // Before the name, which may be cut.
        Some(code) => format!("[exit {code}] {comm}"),
        None => comm,
    }
}

fn cells(line: &Line, seconds: f64, verbose: bool) -> Cells {
    let shown = &line.moved.shown;
    let rate = |number| shown.per_second(number, seconds);
    let bytes = |number| or_dash(rate(number), |rate| bytes_rate(rate, verbose));
    let both = |a, b| match (rate(a), rate(b)) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
    };
    let count = |rate| or_dash(rate, |rate| count_rate(rate, verbose));
    // What is not known may have been copied, too.
    let least = if shown.or_zero(Number::UnknownBytes) > 0 { "+" } else { "" };
    [
        line.id.clone(),
        line.path.to_owned(),
        bytes(Number::Bytes),
        bytes(Number::CpuCopiedBytes),
        bytes(Number::ByReferenceBytes),
        bytes(Number::UnknownBytes),
        count(rate(Number::Calls)),
        or_dash(shown.copies_per_byte(), |copies| format!("{copies:.1}{least}")),
        count(both(Number::VoluntarySwitches, Number::InvoluntarySwitches)),
        count(both(Number::MinorFaults, Number::MajorFaults)),
        or_dash(line.moved.verdict(), |verdict| verdict.name().to_owned()),
        line.name.clone(),
    ]
}

/// Bytes in a second, cut to whole ones; never 0 of what is more than nothing.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative; `as` saturates")]
fn bytes_rate(rate: f64, verbose: bool) -> String {
    match rate as u64 {
        0 if rate > 0.0 => "<1B".to_owned(),
        whole if verbose => whole.to_string(),
        whole => human::bytes(whole),
    }
}

/// `0`, `0.5`, `12`, `12.3k`: things in a second.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative; `as` saturates")]
fn count_rate(rate: f64, verbose: bool) -> String {
    if rate > 0.0 && rate < 9.95 {
        let text = format!("{rate:.1}");
        if rate < 0.05 { "<0.1".to_owned() } else { text.trim_end_matches(".0").to_owned() }
    } else {
        human::count(rate.round() as u64, if verbose { u64::MAX } else { 10_000 })
    }
}

/// Columns that line up.
struct Grid {
    widths: [usize; COLUMNS],
    /// Columns that are there.
    shown: [bool; COLUMNS],
    /// No line is wider.
    width: usize,
}

impl Grid {
    fn of<'a>(rows: impl IntoIterator<Item = &'a Cells>, style: &Style) -> Self {
        let mut widths = [0; COLUMNS];
        // So that the columns stay where they are while rates go up and down.
        (widths[0], widths[PATH], widths[2], widths[3]) = (6, 4, 7, 7);
        widths[VERDICT] = 9;
        for row in rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = width(cell).max(*widest);
            }
        }
        let mut shown = [true; COLUMNS];
        shown[PATH] = style.by == By::Path;
        let mut grid = Self { widths, shown, width: style.width };
        if style.height.is_some() {
            // A terminal is as wide as it is.
            for column in LEFT_OUT {
                if grid.before_name() + NAME_MIN > grid.width {
                    grid.shown[column] = false;
                }
            }
        } else if style.verbose {
            grid.width = grid.width.max(grid.before_name() + widths[NAME]);
        } else {
            grid.width = grid.width.max((grid.before_name() + widths[NAME]).min(WIDTH_MAX));
        }
        grid
    }

    /// Columns up to the name.
    fn before_name(&self) -> usize {
        self.widths[..NAME]
            .iter()
            .zip(self.shown)
            .filter(|(_, shown)| *shown)
            .map(|(width, _)| width + 1)
            .sum()
    }

    /// A line without its end; the cell of the verdict is painted.
    fn line(&self, cells: &Cells, paint: impl Fn(&str) -> String) -> String {
        let mut plain = String::new();
        let mut painted = String::new();
        for (index, cell) in cells.iter().enumerate().filter(|(index, _)| self.shown[*index]) {
            let pad = " ".repeat(self.widths[index].saturating_sub(width(cell)));
            let (cell, before, after) = match index {
                NAME => (cell.clone(), "", ""),
                PATH | VERDICT => (cell.clone(), "", pad.as_str()),
                _ => (cell.clone(), pad.as_str(), ""),
            };
            for (text, is_painted) in [(&mut plain, false), (&mut painted, true)] {
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(before);
                text.push_str(&if is_painted && index == VERDICT { paint(&cell) } else { cell.clone() });
                text.push_str(after);
            }
        }
        let plain_width = width(plain.trim_end());
        if plain_width <= self.width {
            painted.truncate(painted.trim_end().len());
            return painted;
        }
        // The name is what is too long; a screen that has no room even for what is before it shows no colours.
        let too_much = width(&plain) - self.width;
        let name_width = width(&cells[NAME]);
        if too_much < name_width {
            let rest = painted.strip_suffix(cells[NAME].as_str()).unwrap_or(&painted);
            return format!("{rest}{}", human::keep_start(&cells[NAME], name_width - too_much));
        }
        human::keep_start(plain.trim_end(), self.width)
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
