//! Round after round, everything once: what disturbs the machine for a while disturbs all alike.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Error, Result};
use zc_tests::machine::{Exclusive, find_program};

use crate::{
    bench::Bench,
    crowd::{self, Scale},
    machine::Machine,
    process::{self, Interrupted},
    results::{Failure, Results, Series, Start},
    service::Service,
    setup::{Mode, Setup},
    subject::Measured,
};

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) quick: bool,
    /// At most so many rounds.
    pub(crate) rounds: u32,
    /// No round begins that would, by the length of those before, not end in time.
    pub(crate) time: Duration,
    /// Only these setups, beside nothing attached; everything when empty.
    pub(crate) only: Vec<Setup>,
}

impl Plan {
    fn wants(&self, setup: Setup) -> bool {
        self.only.is_empty() || setup == Setup::Nothing || self.only.contains(&setup)
    }
}

/// Between two measurements, for others who wait for their turn to trace.
const PAUSE: Duration = Duration::from_millis(3);

/// Measures everything.
pub(crate) fn run(plan: &Plan) -> Result<Results> {
    let mut bench = Bench::prepare()?;
    let mut results = Results::new(plan.quick, Machine::look(bench.zc()));
    let mut setups = Setup::ALL.to_vec();
    setups.retain(|setup| plan.wants(*setup) && is_there(setup.program(), setup.title(), &mut results));
    let mut services = if plan.only.is_empty() { Service::ALL.to_vec() } else { Vec::new() };
    services.retain(|service| {
        service.programs().iter().all(|program| is_there(Some(*program), service.title(), &mut results))
    });
    let start = Instant::now();
    for round in 0..plan.rounds {
        let longest = start.elapsed() * (round + 1) / round.max(1);
        if round > 0 && longest > plan.time {
            break;
        }
        // Whoever is first after a pause is not always the same.
        let offset = usize::try_from(round)? * 5 % setups.len().max(1);
        setups.rotate_left(offset);
        for setup in setups.clone() {
            if round.is_multiple_of(setup.every()) {
                progress(plan, round, start.elapsed(), setup.title());
                measure(&mut bench, &mut results, round, setup)?;
            }
        }
        setups.retain(|setup| !results.has_failed(setup.title()));
        for service in services.clone() {
            progress(plan, round, start.elapsed(), service.title());
            serve(&mut bench, &mut results, round, service)?;
        }
        services.retain(|service| !results.has_failed(service.title()));
        // It takes as long as half a round.
        if plan.only.is_empty() && !plan.quick && round.is_multiple_of(3) {
            progress(plan, round, start.elapsed(), Scale::CpuMs.title());
            let _turn = Exclusive::take();
            let measured = crowd::measure(&bench, &mut results, round);
            measured.or_else(|error| fail(&mut results, Scale::CpuMs.title(), error))?;
        }
        progress(plan, round, start.elapsed(), Start::Traced.title());
        if plan.only.is_empty() {
            starts(&bench, &mut results, round)?;
        }
        results.rounds = round + 1;
    }
    results.seconds = start.elapsed().as_secs_f64();
    results.machine.look_again();
    results.foreign = bench.foreign;
    results.warnings.append(&mut bench.warnings);
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
    Ok(results)
}

/// Whether a program is installed, if one is needed; notes it when it is not.
fn is_there(program: Option<&str>, title: &str, results: &mut Results) -> bool {
    let Some(program) = program.filter(|program| find_program(program).is_none()) else {
        return true;
    };
    let reason = format!("{program} is not installed");
    results.failures.push(Failure { what: title.to_owned(), reason, missing: true });
    false
}

/// Measures one setup in one round. A tool that fails is left out from then on, and the rest goes on.
fn measure(bench: &mut Bench, results: &mut Results, round: u32, setup: Setup) -> Result<()> {
    let measured = {
        let _turn = Exclusive::take();
        setup.measure(bench, setup.works(results.quick))
    };
    thread::sleep(PAUSE);
    match measured {
        Ok(values) => {
            for (work, Measured { quiet_ns, median_ns, times: _ }) in values {
                results.note(Series::Work(work, setup), round, quiet_ns);
                results.note(Series::Median(work, setup), round, median_ns);
            }
        }
        Err(error) => fail(results, setup.title(), error)?,
    }
    Ok(())
}

/// Measures a service, traced, not, and beside an empty program, in an order that changes from round to round. One that fails is left out from then on.
fn serve(bench: &mut Bench, results: &mut Results, round: u32, service: Service) -> Result<()> {
    let time = Duration::from_secs(if results.quick { 1 } else { 2 });
    let mut setups = Service::SETUPS;
    let first = usize::try_from(round)? % setups.len();
    setups.rotate_left(first);
    for setup in setups {
        if results.quick && setup == Setup::FloorAll {
            continue;
        }
        let measured = {
            let _turn = Exclusive::take();
            service.measure(bench, setup, time)
        };
        thread::sleep(PAUSE);
        match measured {
            Ok(value) => results.note(Series::Service(service, setup), round, value),
            Err(error) => return fail(results, service.title(), error),
        }
    }
    Ok(())
}

/// Notes that something could not be measured; an error when somebody wants the benchmark to end.
fn fail(results: &mut Results, title: &str, error: Error) -> Result<()> {
    if error.is::<Interrupted>() {
        return Err(error);
    }
    let reason = format!("{error:#}");
    results.failures.push(Failure { what: title.to_owned(), reason, missing: false });
    Ok(())
}

/// Starts the command that does nothing, in every way.
fn starts(bench: &Bench, results: &mut Results, round: u32) -> Result<()> {
    let nothing = find_program("true").unwrap_or_else(|| PathBuf::from("/bin/true"));
    for start in Start::ALL {
        if start == Start::TracedData && !round.is_multiple_of(Setup::Traced(Mode::DataCalls).every()) {
            continue;
        }
        let mut command = Command::new(match start {
            Start::Plain => &nothing,
            Start::Traced | Start::TracedData => bench.zc(),
        });
        if start != Start::Plain {
            command.args(["run", "-q", "-o", "/dev/null"]);
            if start == Start::TracedData {
                command.arg("--no-count-calls");
            }
            command.arg("--").arg(&nothing);
        }
        let _turn = Exclusive::take();
        let begin = Instant::now();
        process::output(command)?;
        results.note(Series::Start(start), round, begin.elapsed().as_secs_f64() * 1e3);
    }
    thread::sleep(PAUSE);
    Ok(())
}

/// Says what is done: one line that is written over on a terminal, else one line for each round.
fn progress(plan: &Plan, round: u32, elapsed: Duration, what: &str) {
    let text = format!(
        "zc-bench: round {} of at most {}, {} of at most {} s",
        round + 1,
        plan.rounds,
        elapsed.as_secs(),
        plan.time.as_secs()
    );
    let mut stderr = std::io::stderr().lock();
    let written = if stderr.is_terminal() {
        write!(stderr, "\r\x1b[K{text}: {what}").and_then(|()| stderr.flush())
    } else if what == Start::Traced.title() {
        writeln!(stderr, "{text}")
    } else {
        Ok(())
    };
    // Progress that nobody reads is no reason to stop.
    drop(written);
}
