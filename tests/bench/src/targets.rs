//! What is compared, what the target is, and whether it was met.

use crate::{
    results::{Results, Series, Start},
    setup::{Mode, Setup},
    stats::{Estimate, estimate, median},
    work::Work,
};

/// A number to be computed from the values.
#[derive(Clone, Copy, Debug)]
enum Quantity {
    /// What one setup adds to the time of a workload, over what another adds.
    AddedRatio(Work, Setup, Setup),
    /// What a setup adds to the time of a workload, in nanoseconds.
    Added(Work, Setup),
    /// The time of a workload over that with nothing attached.
    Ratio(Work, Setup),
    /// What `zc run` adds to the time of a command that does nothing, in milliseconds.
    AddedStart(Start),
}

/// A comparison.
pub(crate) struct Comparison {
    pub(crate) title: &'static str,
    quantity: Quantity,
    /// At most.
    pub(crate) target: Option<f64>,
}

/// What came of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All of the range is within the target.
    Pass,
    /// None of it is.
    Miss,
    /// The target lies within the range, there are too few rounds for a range, or the machine was busy with
    /// other things.
    TooNoisy,
    /// There is no target.
    None,
    /// There are no values.
    NotMeasured,
}

/// Fewer rounds decide nothing.
const ROUNDS_MIN: usize = 5;

const fn row(title: &'static str, quantity: Quantity, target: Option<f64>) -> Comparison {
    Comparison { title, quantity, target }
}

const ZC: Setup = Setup::Traced(Mode::AllCalls);
const ZC_DATA: Setup = Setup::Traced(Mode::DataCalls);
const BESIDE: Setup = Setup::Beside(Mode::AllCalls);
const BESIDE_DATA: Setup = Setup::Beside(Mode::DataCalls);

/// Every comparison, in the order of the report.
pub(crate) const COMPARISONS: &[Comparison] = {
    use Quantity::{Added, AddedRatio, AddedStart, Ratio};
    use Setup::{
        BpftraceExit, BpftraceSums, FloorAll, FloorExit, NothingAgain, PerfTrace, StraceAll, StraceSeccomp,
        StraceSome,
    };
    use Work::{Getppid, Read, Relay, Sendfile};
    const THIRD: Option<f64> = Some(1.0 / 3.0);
    &[
        row("read: zc adds / empty exit program adds", AddedRatio(Read, ZC, FloorExit), Some(2.5)),
        row("… data calls only", AddedRatio(Read, ZC_DATA, FloorExit), Some(2.5)),
        row("read: zc adds / bpftrace (enter and exit) adds", AddedRatio(Read, ZC, BpftraceSums), THIRD),
        row("… data calls only", AddedRatio(Read, ZC_DATA, BpftraceSums), THIRD),
        row("bystander's getppid, data calls only: added ns", Added(Getppid, BESIDE_DATA), Some(60.0)),
        row("bystander's getppid, all calls counted: added ns", Added(Getppid, BESIDE), Some(120.0)),
        row("zc run -- true: added ms", AddedStart(Start::Traced), Some(300.0)),
        row("… data calls only: added ms", AddedStart(Start::TracedData), None),
        row("read: zc adds / empty program on every call adds", AddedRatio(Read, ZC, FloorAll), None),
        row("read: zc adds / bpftrace (exit only) adds", AddedRatio(Read, ZC, BpftraceExit), None),
        row("read: zc adds / perf trace -s adds", AddedRatio(Read, ZC, PerfTrace), None),
        row("read: zc adds / strace -c --seccomp-bpf adds", AddedRatio(Read, ZC, StraceSeccomp), None),
        row("read: zc adds / strace -c of reads adds", AddedRatio(Read, ZC, StraceSome), None),
        row("read: zc adds / strace -c adds", AddedRatio(Read, ZC, StraceAll), None),
        row("relay: zc adds / empty exit programs add", AddedRatio(Relay, ZC, FloorExit), None),
        row("relay: zc adds / bpftrace (enter and exit) adds", AddedRatio(Relay, ZC, BpftraceSums), None),
        row("read: traced / untraced", Ratio(Read, ZC), None),
        row("relay: traced / untraced", Ratio(Relay, ZC), None),
        row("sendfile: traced / untraced", Ratio(Sendfile, ZC), None),
        row("getppid of the traced process: added ns", Added(Getppid, ZC), None),
        row("bystander's read, data calls only: added ns", Added(Read, BESIDE_DATA), None),
        row("bystander's read, all calls counted: added ns", Added(Read, BESIDE), None),
        row(
            "bystander's getppid: data calls only / empty program on reads",
            AddedRatio(Getppid, BESIDE_DATA, FloorExit),
            None,
        ),
        row(
            "bystander's getppid: all calls / empty program on every call",
            AddedRatio(Getppid, BESIDE, FloorAll),
            None,
        ),
        row("noise: read, nothing against nothing: added ns", Added(Read, NothingAgain), None),
        row("noise: getppid, nothing against nothing: added ns", Added(Getppid, NothingAgain), None),
    ]
};

impl Comparison {
    /// What it is computed from: a base, and one or two others.
    const fn series(&self) -> [Series; 3] {
        match self.quantity {
            Quantity::AddedRatio(work, setup, other) => {
                [Series::Work(work, Setup::Nothing), Series::Work(work, setup), Series::Work(work, other)]
            }
            Quantity::Added(work, setup) | Quantity::Ratio(work, setup) => {
                let traced = Series::Work(work, setup);
                [Series::Work(work, Setup::Nothing), traced, traced]
            }
            Quantity::AddedStart(start) => {
                [Series::Start(Start::Plain), Series::Start(start), Series::Start(start)]
            }
        }
    }

    /// The number by the values of some rounds. Differences and ratios are taken within a round, so that what
    /// drifts from one to the next is not in them.
    fn compute(&self, values: &[[f64; 3]], rounds: &[usize]) -> f64 {
        let over = |of: fn([f64; 3]) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(|&round| of(values[round])).collect();
            median(&mut values)
        };
        match self.quantity {
            Quantity::AddedRatio(..) => {
                let added = over(|[nothing, setup, _]| setup - nothing);
                let other = over(|[nothing, _, other]| other - nothing);
                // What adds nothing is noise, and says nothing about what is compared with it.
                if other > 0.0 { added / other } else { f64::INFINITY }
            }
            Quantity::Added(..) | Quantity::AddedStart(_) => over(|[nothing, setup, _]| setup - nothing),
            Quantity::Ratio(..) => over(|[nothing, setup, _]| setup / nothing),
        }
    }

    /// The number with its range, and whether the target was met.
    pub(crate) fn judge(&self, results: &Results) -> (Option<Estimate>, Verdict) {
        let values = results.common(self.series());
        let estimate = estimate(values.len(), |rounds| self.compute(&values, rounds));
        let verdict = match (estimate, self.target) {
            (None, _) => Verdict::NotMeasured,
            (Some(_), None) => Verdict::None,
            (Some(_), Some(_)) if results.disturbance().is_some() => Verdict::TooNoisy,
            (Some(estimate), Some(target)) => judge(estimate, target, values.len()),
        };
        (estimate, verdict)
    }
}

fn judge(estimate: Estimate, target: f64, rounds: usize) -> Verdict {
    let Estimate { value: _, low, high } = estimate;
    if rounds < ROUNDS_MIN {
        Verdict::TooNoisy
    } else if high <= target {
        Verdict::Pass
    } else if low > target && high.is_finite() {
        Verdict::Miss
    } else {
        Verdict::TooNoisy
    }
}

impl Verdict {
    /// In words.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Miss => "miss",
            Self::TooNoisy => "too noisy",
            Self::None => "-",
            Self::NotMeasured => "not measured",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    fn results(values: &[(Setup, &[f64])]) -> Results {
        let mut results = Results::new(true, Machine::default());
        for (setup, values) in values {
            for (round, value) in (0..).zip(*values) {
                results.note(Series::Work(Work::Read, *setup), round, *value);
            }
        }
        results
    }

    const FIRST: &Comparison = &COMPARISONS[0];

    #[test]
    fn what_is_added_is_compared_within_rounds() {
        // The machine becomes slower from round to round, and nothing changes about the ratio.
        let drift = [0.0, 100.0, 200.0, 300.0, 400.0, 500.0];
        let of = |value: f64| drift.map(|drift| drift + value);
        let results =
            results(&[(Setup::Nothing, &of(100.0)), (ZC, &of(300.0)), (Setup::FloorExit, &of(200.0))]);
        let (estimate, verdict) = FIRST.judge(&results);
        assert_eq!(estimate, Some(Estimate { value: 2.0, low: 2.0, high: 2.0 }));
        assert_eq!(verdict, Verdict::Pass);
    }

    #[test]
    fn a_busy_machine_decides_nothing() {
        let mut results =
            results(&[(Setup::Nothing, &[100.0; 9]), (ZC, &[300.0; 9]), (Setup::FloorExit, &[200.0; 9])]);
        assert_eq!(FIRST.judge(&results).1, Verdict::Pass);
        results.machine.others_busy = Some(0.7);
        assert_eq!(FIRST.judge(&results).1, Verdict::TooNoisy);
    }

    #[test]
    fn a_floor_lost_in_noise_decides_nothing() {
        let results = results(&[
            (Setup::Nothing, &[100.0, 120.0, 90.0, 130.0, 80.0, 110.0]),
            (ZC, &[300.0; 6]),
            (Setup::FloorExit, &[110.0, 100.0, 120.0, 90.0, 130.0, 80.0]),
        ]);
        assert_eq!(FIRST.judge(&results).1, Verdict::TooNoisy);
    }

    #[test]
    fn rounds_without_one_of_the_values_are_left_out_and_too_few_decide_nothing() {
        let results =
            results(&[(Setup::Nothing, &[100.0; 9]), (ZC, &[300.0; 9]), (Setup::FloorExit, &[200.0; 4])]);
        assert_eq!(FIRST.judge(&results).1, Verdict::TooNoisy);
        assert_eq!(COMPARISONS[2].judge(&results).1, Verdict::NotMeasured);
    }

    #[test]
    fn the_target_must_be_outside_of_the_range() {
        let of = |low, high| judge(Estimate { value: 2.4, low, high }, 2.5, 20);
        assert_eq!(of(2.3, 2.5), Verdict::Pass);
        assert_eq!(of(2.3, 2.6), Verdict::TooNoisy);
        assert_eq!(of(2.6, 2.9), Verdict::Miss);
        assert_eq!(of(2.6, f64::INFINITY), Verdict::TooNoisy);
    }
}
