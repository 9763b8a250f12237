//! What is compared, what the target is, and whether it was met.

use crate::{
    crowd::Scale,
    results::{Results, Series, Start},
    service::Service,
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
    /// How much of a workload is done in the time that it takes with nothing attached.
    Share(Work, Setup),
    /// The rate of a service with something attached over that with nothing.
    Rate(Service, Setup),
    /// A number as it is.
    Level(Scale),
    /// A number over another.
    Over(Scale, Scale),
    /// What `zc run` adds to the time of a command that does nothing, in milliseconds.
    AddedStart(Start),
}

/// A comparison.
pub(crate) struct Comparison {
    pub(crate) title: &'static str,
    quantity: Quantity,
    pub(crate) target: Option<Target>,
}

/// What a number is to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    /// Whether a number is so.
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }

    /// The number, and the sign before it.
    pub(crate) const fn parts(self) -> (&'static str, f64) {
        match self {
            Self::AtMost(limit) => ("≤", limit),
            Self::AtLeast(limit) => ("≥", limit),
        }
    }
}

/// What came of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All of the range is as the target wants it.
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

/// A number that is to be at most this.
const fn most(limit: f64, title: &'static str, quantity: Quantity) -> Comparison {
    Comparison { title, quantity, target: Some(Target::AtMost(limit)) }
}

/// A number that is to be at least this.
const fn least(limit: f64, title: &'static str, quantity: Quantity) -> Comparison {
    Comparison { title, quantity, target: Some(Target::AtLeast(limit)) }
}

/// A number to know.
const fn row(title: &'static str, quantity: Quantity) -> Comparison {
    Comparison { title, quantity, target: None }
}

const ZC: Setup = Setup::Traced(Mode::AllCalls);
const ZC_DATA: Setup = Setup::Traced(Mode::DataCalls);
const BESIDE: Setup = Setup::Beside(Mode::AllCalls);
const BESIDE_DATA: Setup = Setup::Beside(Mode::DataCalls);

/// Every comparison, in the order of the report.
pub(crate) const COMPARISONS: &[Comparison] = {
    use Quantity::{Added, AddedRatio, AddedStart, Level, Over, Rate, Ratio, Share};
    use Service::{FioRing, NginxCopies, NginxSendfile, Redis, RedisPipelined};
    use Setup::{
        BpftraceExit, BpftraceSums, FloorAll, FloorExit, NothingAgain, PerfTrace, StraceAll, StraceSeccomp,
        StraceSome,
    };
    use Work::{Getppid, Read, Relay, Sendfile, Touch, TouchFile};
    &[
        most(1.5, "read: zc adds / empty exit program adds", AddedRatio(Read, ZC, FloorExit)),
        most(0.2, "read: zc adds / bpftrace (exit only) adds", AddedRatio(Read, ZC, BpftraceExit)),
        most(0.01, "read: zc adds / perf trace -s adds", AddedRatio(Read, ZC, PerfTrace)),
        most(0.01, "read: zc adds / strace -c --seccomp-bpf adds", AddedRatio(Read, ZC, StraceSeccomp)),
        most(
            1.1,
            "bystander's getppid: zc adds / empty program on every call adds",
            AddedRatio(Getppid, BESIDE, FloorAll),
        ),
        least(0.98, "nginx, sendfile: requests/s traced / untraced", Rate(NginxSendfile, ZC)),
        least(0.97, "nginx, read and write: requests/s traced / untraced", Rate(NginxCopies, ZC)),
        least(0.95, "redis GET: requests/s traced / untraced", Rate(Redis, ZC)),
        least(0.95, "redis GET, pipelined: requests/s traced / untraced", Rate(RedisPipelined, ZC)),
        least(0.95, "page faults on fresh memory: traced / untraced", Share(Touch, ZC)),
        least(0.95, "fio, io_uring in memory: requests/s traced / untraced", Rate(FioRing, ZC)),
        most(10.0, Scale::CpuMs.title(), Level(Scale::CpuMs)),
        most(64.0, Scale::MemoryMib.title(), Level(Scale::MemoryMib)),
        most(1.1, "traced read beside 100 processes / alone", Over(Scale::ReadBeside100, Scale::ReadAlone)),
        most(1.1, "… beside 10 000 / alone", Over(Scale::ReadBeside10000, Scale::ReadAlone)),
        most(1.1, "… with 100 000 descriptors / 10", Over(Scale::ReadDescriptors, Scale::ReadAlone)),
        most(100.0, "zc run -- true: added ms", AddedStart(Start::Traced)),
        row("nginx, sendfile: beside an empty program / untraced", Rate(NginxSendfile, FloorAll)),
        row("nginx, read and write: beside an empty program / untraced", Rate(NginxCopies, FloorAll)),
        row("redis GET: beside an empty program / untraced", Rate(Redis, FloorAll)),
        row("redis GET, pipelined: beside an empty program / untraced", Rate(RedisPipelined, FloorAll)),
        row("page faults on a mapped file: traced / untraced", Share(TouchFile, ZC)),
        row("page faults of a bystander: beside zc / untraced", Share(Touch, BESIDE)),
        row("read, data calls only: zc adds / empty exit program adds", AddedRatio(Read, ZC_DATA, FloorExit)),
        row("read: zc adds / empty program on every call adds", AddedRatio(Read, ZC, FloorAll)),
        row("read: zc adds / bpftrace (enter and exit) adds", AddedRatio(Read, ZC, BpftraceSums)),
        row("… data calls only", AddedRatio(Read, ZC_DATA, BpftraceSums)),
        row("read: zc adds / strace -c of reads adds", AddedRatio(Read, ZC, StraceSome)),
        row("read: zc adds / strace -c adds", AddedRatio(Read, ZC, StraceAll)),
        row("relay: zc adds / empty exit programs add", AddedRatio(Relay, ZC, FloorExit)),
        row("relay: zc adds / bpftrace (enter and exit) adds", AddedRatio(Relay, ZC, BpftraceSums)),
        row("read: traced / untraced", Ratio(Read, ZC)),
        row("relay: traced / untraced", Ratio(Relay, ZC)),
        row("sendfile: traced / untraced", Ratio(Sendfile, ZC)),
        row("getppid of the traced process: added ns", Added(Getppid, ZC)),
        row("bystander's getppid, all calls counted: added ns", Added(Getppid, BESIDE)),
        row("bystander's getppid, data calls only: added ns", Added(Getppid, BESIDE_DATA)),
        row("bystander's read, all calls counted: added ns", Added(Read, BESIDE)),
        row("bystander's read, data calls only: added ns", Added(Read, BESIDE_DATA)),
        row("zc run --no-count-calls -- true: added ms", AddedStart(Start::TracedData)),
        row("noise: read, nothing against nothing: added ns", Added(Read, NothingAgain)),
        row("noise: getppid, nothing against nothing: added ns", Added(Getppid, NothingAgain)),
        row("noise: page faults, nothing against nothing", Share(Touch, NothingAgain)),
    ]
};

impl Comparison {
    /// What it is computed from: a base, and one or two others.
    const fn series(&self) -> [Series; 3] {
        match self.quantity {
            Quantity::AddedRatio(work, setup, other) => {
                [Series::Work(work, Setup::Nothing), Series::Work(work, setup), Series::Work(work, other)]
            }
            Quantity::Added(work, setup) | Quantity::Ratio(work, setup) | Quantity::Share(work, setup) => {
                let traced = Series::Work(work, setup);
                [Series::Work(work, Setup::Nothing), traced, traced]
            }
            Quantity::Level(scale) => [Series::Scale(scale); 3],
            Quantity::Over(scale, base) => [Series::Scale(base), Series::Scale(scale), Series::Scale(scale)],
            Quantity::Rate(service, setup) => {
                let other = Series::Service(service, setup);
                [Series::Service(service, Setup::Nothing), other, other]
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
            Quantity::Level(_) => over(|[level, ..]| level),
            Quantity::Ratio(..) | Quantity::Over(..) => over(|[nothing, setup, _]| setup / nothing),
            Quantity::Share(..) | Quantity::Rate(..) => over(|[nothing, setup, _]| nothing / setup),
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

fn judge(estimate: Estimate, target: Target, rounds: usize) -> Verdict {
    let Estimate { value: _, low, high } = estimate;
    if rounds < ROUNDS_MIN || !high.is_finite() {
        return Verdict::TooNoisy;
    }
    match [low, high].map(|end| target.is_met(end)) {
        [true, true] => Verdict::Pass,
        [false, false] => Verdict::Miss,
        _ => Verdict::TooNoisy,
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
            results(&[(Setup::Nothing, &of(100.0)), (ZC, &of(220.0)), (Setup::FloorExit, &of(200.0))]);
        let (estimate, verdict) = FIRST.judge(&results);
        assert_eq!(estimate, Some(Estimate { value: 1.2, low: 1.2, high: 1.2 }));
        assert_eq!(verdict, Verdict::Pass);
    }

    #[test]
    fn a_busy_machine_decides_nothing() {
        let mut results =
            results(&[(Setup::Nothing, &[100.0; 9]), (ZC, &[220.0; 9]), (Setup::FloorExit, &[200.0; 9])]);
        assert_eq!(FIRST.judge(&results).1, Verdict::Pass);
        results.machine.others_busy = Some(0.7);
        assert_eq!(FIRST.judge(&results).1, Verdict::TooNoisy);
    }

    #[test]
    fn rates_are_compared_the_other_way_round() {
        let mut results = results(&[]);
        for round in 0..9 {
            for (setup, ns) in [(Setup::Nothing, 100.0), (ZC, 125.0)] {
                results.note(Series::Service(Service::Redis, setup), round, ns);
            }
        }
        let of = COMPARISONS.iter().find(|it| matches!(it.quantity, Quantity::Rate(Service::Redis, ZC)));
        let (estimate, verdict) = of.expect("a comparison").judge(&results);
        assert_eq!((estimate.map(|it| it.value), verdict), (Some(0.8), Verdict::Miss));
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
        let of = |low, high| judge(Estimate { value: 2.4, low, high }, Target::AtMost(2.5), 20);
        assert_eq!(of(2.3, 2.5), Verdict::Pass);
        assert_eq!(of(2.3, 2.6), Verdict::TooNoisy);
        assert_eq!(of(2.6, 2.9), Verdict::Miss);
        assert_eq!(of(2.6, f64::INFINITY), Verdict::TooNoisy);
        let of = |low, high| judge(Estimate { value: 0.9, low, high }, Target::AtLeast(0.95), 20);
        assert_eq!(of(0.95, 1.1), Verdict::Pass);
        assert_eq!(of(0.94, 1.1), Verdict::TooNoisy);
        assert_eq!(of(0.8, 0.94), Verdict::Miss);
    }
}
