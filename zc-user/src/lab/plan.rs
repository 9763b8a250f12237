//! Which processes do the rows, and in which order. Both sides make the same plan from the same words.

use super::rows::{Case, PAGE_BYTES, ROWS, Row, Unit, Work};

/// Numbers of records that are appended.
pub const APPENDS: [u64; 12] = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000, 1_000_000];

/// Pages that are touched one by one.
const PAGES_MAX: u64 = 1024;
/// Calls, faults and mappings that move no payload.
const EVENTS: u64 = 1000;

/// One process, and what it does.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The row.
    pub row: &'static Row,
    /// The case of it.
    pub case: &'static Case,
    /// Transfers that it prepares for.
    pub transfers: u64,
    /// Whether it stops there: what such a process costs is no part of the transfers.
    pub idle: bool,
}

impl Step {
    /// Its name: on the command line of its process, and in what the process says.
    pub fn tag(&self) -> String {
        let idle = if self.idle { "/idle" } else { "" };
        format!("{}/{}/{}{idle}", self.row.name, self.case.name, self.transfers)
    }

    /// The step of a name.
    pub fn of(tag: &str) -> Option<Self> {
        let (tag, idle) = tag.strip_suffix("/idle").map_or((tag, false), |tag| (tag, true));
        let mut words = tag.split('/');
        let row = ROWS.iter().find(|row| words.clone().next() == Some(row.name))?;
        words.next();
        let case = words.next()?;
        let case = row.cases.iter().find(|known| known.name == case)?;
        let transfers = words.next()?.parse().ok()?;
        words.next().is_none().then_some(Self { row, case, transfers, idle })
    }

    /// How often it is done over in one process, to have a time that can be trusted.
    pub fn repeats(&self, traced: bool) -> u64 {
        if traced || self.row.unit != Unit::Record {
            1
        } else {
            (20_000 / self.transfers.max(1)).clamp(1, 200)
        }
    }
}

/// Everything that is done for `rows` with `size` bytes of a file: an idle process and a real one for each case when
/// they are traced, the real one alone when they are only timed.
pub fn steps(rows: &[&'static Row], size: u64, traced: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    for &row in rows {
        for case in row.cases {
            let counts = transfers(row, case.work, size);
            for &transfers in &counts {
                if traced {
                    steps.push(Step { row, case, transfers, idle: true });
                }
                steps.push(Step { row, case, transfers, idle: false });
            }
        }
    }
    steps
}

/// The step that stands for a case: the one with the most transfers.
pub fn representative(row: &'static Row, case: &'static Case, size: u64, idle: bool) -> Step {
    let transfers = transfers(row, case.work, size).last().copied().unwrap_or(1);
    Step { row, case, transfers, idle }
}

/// How many transfers a case makes, in rising order.
fn transfers(row: &Row, work: Work, size: u64) -> Vec<u64> {
    match (row.unit, work) {
        (Unit::Record, _) => APPENDS.to_vec(),
        (_, Work::ReadPage(_) | Work::Spin) => vec![1],
        (_, Work::MapOnly) | (Unit::Event, _) => vec![EVENTS],
        (Unit::Page, _) => vec![size.div_ceil(PAGE_BYTES).min(PAGES_MAX)],
        (Unit::Chunk, _) => vec![size.div_ceil(row.unit.bytes())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<&'static Row> {
        ROWS.iter().collect()
    }

    #[test]
    fn every_step_is_found_by_its_name() {
        for step in steps(&all(), 1 << 20, true) {
            let found = Step::of(&step.tag()).expect("a step");
            assert_eq!(found.tag(), step.tag());
            assert_eq!((found.case.work, found.idle), (step.case.work, step.idle));
        }
        for wrong in
            ["", "read+write", "read+write/cold", "read+write/hot/1", "read+write/cold/1/busy", "x/cold/1"]
        {
            assert!(Step::of(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn names_of_steps_are_unique() {
        let mut tags: Vec<_> = steps(&all(), 123_457, true).iter().map(Step::tag).collect();
        let count = tags.len();
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), count);
    }

    #[test]
    fn each_traced_step_has_an_idle_one_before_it() {
        let traced = steps(&all(), 1 << 20, true);
        for pair in traced.chunks(2) {
            assert!(pair[0].idle && !pair[1].idle && pair[0].tag() == pair[1].tag() + "/idle");
        }
        assert_eq!(steps(&all(), 1 << 20, false).len() * 2, traced.len());
    }

    #[test]
    fn a_size_that_is_no_multiple_makes_a_last_short_transfer() {
        let row = &ROWS[0];
        assert_eq!(representative(row, &row.cases[0], 65_537, false).transfers, 2);
    }
}
