//! What `zc lab` says: the contract of its JSON, `zc.lab/1`. Made from the report and what the workers told. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    appends::{Appends, Point, Way},
    judge::{self, Agreement, Judgement},
    measure::{Measured, Names, measure},
    plan::{APPENDS, Step, representative},
    rows::{CHUNK_BYTES, Cache, Numbers, Origin, PAGE_BYTES, RECORD_BYTES, Row, Unit, Work},
    tell::Told,
};
use crate::model::report::{Hook, Host, Report, Tool, Window};

/// The form of the answer.
pub const SCHEMA: &str = "zc.lab/1";

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "as in Report")]
pub struct Answer {
    pub schema: &'static str,
    pub tool: Tool,
    pub host: Host,
    pub window: Window,
    pub hooks: Vec<Hook>,
    pub lost: BTreeMap<String, u64>,
    /// With what it was measured.
    pub workload: Workload,
    /// The rows that were run.
    pub rows: Vec<RowAnswer>,
    /// The comparison of appends, when that row was run.
    pub appends: Option<Appends>,
}

/// With what it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Workload {
    /// The file that is moved.
    pub size_bytes: u64,
    /// A transfer of it.
    pub transfer_bytes: u64,
    /// A page.
    pub page_bytes: u64,
    /// A record that is appended.
    pub record_bytes: u64,
    /// Where the files were.
    pub directory: String,
    /// On which file system.
    pub file_system: String,
}

impl Workload {
    /// The lab's own.
    pub fn new(size_bytes: u64, directory: String, file_system: String) -> Self {
        Self {
            size_bytes,
            transfer_bytes: CHUNK_BYTES,
            page_bytes: PAGE_BYTES,
            record_bytes: RECORD_BYTES,
            directory,
            file_system,
        }
    }
}

/// A row.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "as in Row")]
pub struct RowAnswer {
    pub number: u8,
    pub name: &'static str,
    pub about: &'static str,
    pub origin: Origin,
    pub transfer: Unit,
    pub path: Option<&'static str>,
    pub cases: Vec<CaseAnswer>,
}

/// A case of a row.
#[derive(Clone, Debug, Serialize)]
pub struct CaseAnswer {
    /// Its name.
    pub name: &'static str,
    /// The page cache before it.
    pub cache: Cache,
    /// Pages of the file that were in the cache before it, and pages of the file.
    pub cached_pages: Option<(u64, u64)>,
    /// What the textbook says.
    pub expected: Numbers,
    /// Why it was not run.
    pub skipped: Option<String>,
    /// What was measured.
    pub measured: Option<Measured>,
    /// What else its worker saw.
    pub facts: BTreeMap<String, u64>,
    /// The worst of `judgements`.
    pub agreement: Agreement,
    /// The one against the other.
    pub judgements: Vec<Judgement>,
}

/// What the workers told, by step.
#[derive(Clone, Debug, Default)]
pub struct Tale {
    begins: BTreeMap<String, (u64, u64)>,
    done: BTreeMap<String, (u64, u64, BTreeMap<String, u64>)>,
    skipped: BTreeMap<String, String>,
}

impl Tale {
    /// Takes in a line.
    pub fn add(&mut self, told: Told) {
        match told {
            Told::Begins { step, resident, pages } => {
                self.begins.insert(step, (resident, pages));
            }
            Told::Done { step, bytes, nanoseconds, facts } => {
                self.done.insert(step, (bytes, nanoseconds, facts));
            }
            // The worker's own reason comes first and says more than that its process failed.
            Told::Skipped { step, why } => {
                self.skipped.entry(step).or_insert(why);
            }
        }
    }

    /// How many steps have begun.
    pub fn begun(&self) -> usize {
        self.begins.len()
    }

    fn seconds(&self, step: &Step) -> Option<f64> {
        self.done
            .get(&step.tag())
            .filter(|done| done.1 > 0)
            .map(|(_, nanoseconds, _)| *nanoseconds as f64 / 1e9)
    }
}

/// What was run, and what is known of it.
#[derive(Debug)]
pub struct Findings<'a> {
    /// The rows.
    pub rows: &'a [&'static Row],
    /// Bytes of the file.
    pub size: u64,
    /// The names of the files.
    pub names: &'a Names,
    /// What zc saw.
    pub report: &'a Report,
    /// What the workers told while they were traced.
    pub traced: &'a Tale,
    /// The same while they were not.
    pub timed: &'a Tale,
}

impl Findings<'_> {
    /// The answer.
    pub fn answer(&self, workload: Workload) -> Answer {
        let Report { tool, host, window, hooks, lost, .. } = self.report;
        let appends = self.rows.iter().find(|row| row.unit == Unit::Record).map(|row| self.appends(row));
        Answer {
            schema: SCHEMA,
            tool: tool.clone(),
            host: host.clone(),
            window: *window,
            hooks: hooks.clone(),
            lost: lost.clone(),
            workload,
            rows: self.rows.iter().map(|row| self.row(row)).collect(),
            appends,
        }
    }

    fn row(&self, row: &'static Row) -> RowAnswer {
        let Row { number, name, about, origin, unit, path, expected: _, cases: _ } = *row;
        let cases = (0..row.cases.len()).map(|index| self.case(row, index)).collect();
        RowAnswer { number, name, about, origin, transfer: unit, path, cases }
    }

    fn case(&self, row: &'static Row, index: usize) -> CaseAnswer {
        let case = &row.cases[index];
        let step = representative(row, case, self.size, false);
        let tag = step.tag();
        let cached_pages = self.traced.begins.get(&tag).copied().filter(|_| case.cache != Cache::Asis);
        let facts = self.traced.done.get(&tag).map(|(_, _, facts)| facts.clone()).unwrap_or_default();
        let measured = self.measured(&step);
        let told = judge::Told { resident: cached_pages, facts: Some(&facts) };
        let judgements =
            measured.as_ref().map_or_else(Vec::new, |measured| judge::judge(row, case, measured, told));
        let agreement =
            judgements.iter().map(|judgement| judgement.agreement).max().unwrap_or(Agreement::Unknown);
        let skipped = measured.is_none().then(|| {
            let why = self.traced.skipped.get(&tag).or_else(|| self.traced.skipped.get(&(tag + "/idle")));
            why.cloned().unwrap_or_else(|| judge::Cause::NotMeasured.text().to_owned())
        });
        let expected = case.expected(row);
        CaseAnswer {
            name: case.name,
            cache: case.cache,
            cached_pages,
            expected,
            skipped,
            measured,
            facts,
            agreement,
            judgements,
        }
    }

    fn measured(&self, step: &Step) -> Option<Measured> {
        let (bytes, _, _) = self.traced.done.get(&step.tag())?;
        let mut measured = measure(self.report, self.names, step, *bytes)?;
        let each = |tale: &Tale| tale.seconds(step).map(|seconds| seconds / step.transfers as f64);
        measured.seconds = each(self.timed);
        measured.seconds_traced = each(self.traced);
        Some(measured)
    }

    fn appends(&self, row: &'static Row) -> Appends {
        let way = |work, records| {
            let Some(case) = row.cases.iter().find(|case| case.work == work) else { return Way::default() };
            let step = Step { row, case, transfers: records, idle: false };
            let measured = self.measured(&step);
            // Numbers of a transfer are numbers of them all, divided: this brings the whole number back.
            let total = |of: fn(&Measured) -> Option<f64>| {
                let each = of(measured.as_ref()?)?;
                format!("{:.0}", (each * records as f64).max(0.0)).parse().ok()
            };
            Way {
                seconds: self.timed.seconds(&step),
                system_calls: total(|measured| measured.system_calls),
                mode_switches: total(|measured| measured.mode_switches),
                faults: total(Measured::faults),
            }
        };
        let point = |records| Point {
            records,
            write: way(Work::AppendByWrite, records),
            mapping: way(Work::AppendByMapping, records),
        };
        Appends::of(APPENDS.into_iter().map(point).collect())
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
