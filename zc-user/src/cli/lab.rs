//! `zc lab`.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use super::{args::LabArgs, output::Output};
use crate::{
    export::Format,
    lab::{
        answer::Answer,
        rows::{ROWS, Row, find},
        run::{LabError, Wanted, run},
    },
    render,
};

/// It ran; disagreements are information.
const RAN: u8 = 0;
const FAILED: u8 = 1;
/// Nothing can be traced here.
const CANNOT: u8 = 4;

/// Runs the rows and writes the table; returns the exit code.
pub fn lab(args: &LabArgs) -> u8 {
    match try_lab(args) {
        Ok(()) => RAN,
        Err(error) => {
            let (code, error) = match error.downcast::<LabError>() {
                Ok(LabError::Interrupted(signal)) => {
                    eprintln!("zc: interrupted; nothing was left behind");
                    return (128 + signal as i32).to_le_bytes()[0];
                }
                Ok(error @ LabError::Session(_)) => (CANNOT, error.into()),
                Ok(error) => (FAILED, error.into()),
                Err(error) => (FAILED, error),
            };
            eprintln!("zc: {error:#}");
            code
        }
    }
}

fn try_lab(args: &LabArgs) -> anyhow::Result<()> {
    let mut output = Output::open(Some(args.output.as_deref().unwrap_or_else(|| "-".as_ref())))?;
    if args.list {
        return output.write(list().as_bytes());
    }
    let wanted = Wanted { rows: chosen(&args.only), size: args.size, directory: directory(args) };
    let mut progress = Progress::new(!args.quiet);
    let answer = run(&wanted, &mut |done, all, step| progress.show(done, all, step));
    progress.clear();
    output.write(&written(&answer?, args, &output)?)
}

fn written(answer: &Answer, args: &LabArgs, output: &Output) -> io::Result<Vec<u8>> {
    Ok(match args.format {
        Format::Table => render::lab::render(answer, output.color(args.color), Output::ascii()).into_bytes(),
        Format::Json => {
            let mut json = serde_json::to_vec_pretty(answer)?;
            json.push(b'\n');
            json
        }
        Format::Csv => answer.to_csv()?,
    })
}

/// The rows asked for, in the order of the table; all when none was.
fn chosen(only: &[&'static Row]) -> Vec<&'static Row> {
    ROWS.iter()
        .filter(|row| only.is_empty() || only.iter().any(|wanted| wanted.number == row.number))
        .collect()
}

/// Where files are kept that may be large: on a disk, unlike what is in memory.
fn directory(args: &LabArgs) -> PathBuf {
    let disk = PathBuf::from("/var/tmp");
    args.dir.clone().unwrap_or_else(|| if disk.is_dir() { disk } else { std::env::temp_dir() })
}

/// Reads `--only`: a number or a name.
pub fn row(text: &str) -> Result<&'static Row, String> {
    find(text).ok_or_else(|| format!("there is no such row; `zc lab --list` shows all {}", ROWS.len()))
}

fn list() -> String {
    let line = |row: &Row| {
        let cases: Vec<_> = row.cases.iter().map(|case| case.name).collect();
        format!("{:>2}  {:<16} {}\n    {:<16} {}\n", row.number, row.name, row.about, "", cases.join(", "))
    };
    ROWS.iter().map(line).collect()
}

/// A line on a terminal that says what is being done.
struct Progress {
    on: bool,
    shown: bool,
}

impl Progress {
    fn new(wanted: bool) -> Self {
        Self { on: wanted && io::stderr().is_terminal(), shown: false }
    }

    fn show(&mut self, done: usize, all: usize, step: &str) {
        if self.on {
            self.shown = true;
            let mut stderr = io::stderr().lock();
            // Nothing depends on it.
            drop(write!(stderr, "\r\x1b[K{:>3} of {all}  {step}", done + 1).and_then(|()| stderr.flush()));
        }
    }

    fn clear(&self) {
        if self.shown {
            let mut stderr = io::stderr().lock();
            drop(write!(stderr, "\r\x1b[K").and_then(|()| stderr.flush()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_run_in_the_order_of_the_table_and_once() {
        let row = |text: &str| row(text).expect("a row");
        let numbers = |only: &[&'static Row]| chosen(only).iter().map(|row| row.number).collect::<Vec<_>>();
        assert_eq!(numbers(&[row("4"), row("read+write"), row("sendfile")]), [1, 4]);
        assert_eq!(numbers(&[]).len(), ROWS.len());
    }

    #[test]
    fn the_list_fits_the_screen_and_names_each_row() {
        let list = list();
        assert!(list.lines().all(|line| line.len() <= 100), "{list}");
        assert!(ROWS.iter().all(|row| list.contains(row.name) && list.contains(row.about)));
    }
}
