//! `zc verify`.

use super::{
    args::{VerifyArgs, VerifyFormat},
    attached::{self, Watched},
    output::Output,
    session::{self, Ended, Running},
};
use crate::{
    export::verify::{Subject, Verified},
    model::{
        Report,
        verify::{self, Outcome, Selection},
    },
    render::{self, human::printable, verify::Options},
};

const HOLDS: u8 = 0;
/// The command has run, or the processes were traced, but the answer could not be given.
const FAILED: u8 = 1;
const DOES_NOT_HOLD: u8 = 3;
const CANNOT_BE_DECIDED: u8 = 5;

/// Runs a command or watches processes, and says whether what is expected holds of what they moved; returns the exit code.
pub fn verify(args: &VerifyArgs) -> u8 {
    // Names are looked up before the command can change what they stand for.
    let selection = args.select.selection();
    let result =
        if args.pid.is_empty() { of_command(args, &selection) } else { of_processes(args, &selection) };
    result.unwrap_or_else(|(error, code)| {
        eprintln!("zc: {error:#}");
        code
    })
}

/// An error with the exit code for it.
type Failure = (anyhow::Error, u8);

fn failed(error: anyhow::Error) -> Failure {
    (error, FAILED)
}

fn open_output(args: &VerifyArgs) -> anyhow::Result<Output> {
    Output::open(Some(args.output.as_deref().unwrap_or_else(|| "-".as_ref())))
}

fn of_command(args: &VerifyArgs, selection: &Selection) -> Result<u8, Failure> {
    let start = || {
        let output = open_output(args)?;
        let plan = session::Plan {
            command: &args.command,
            trace: &args.trace,
            capacity: &args.capacity,
            wait: args.wait,
            quiet: args.quiet,
        };
        Ok((Running::start(plan)?, output))
    };
    let (running, output) = start().map_err(|error| {
        let code = session::exit_code_of(&error);
        (error, code)
    })?;
    let Ended { code, report } = running.finish().map_err(failed)?;
    let command: Vec<_> = args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    // Its own failure decides nothing: a server that is ended by a signal has served.
    let subject = Subject::Command { command: &command, exit_code: code };
    answer(&report, subject, args, selection, output).map_err(failed)
}

fn of_processes(args: &VerifyArgs, selection: &Selection) -> Result<u8, Failure> {
    let pids = args.pids();
    let start = || {
        let output = open_output(args)?;
        let plan = attached::Plan {
            pids: &pids,
            duration: args.duration,
            trace: &args.trace,
            capacity: &args.capacity,
            wait: args.wait,
            quiet: args.quiet,
        };
        anyhow::Ok((Watched::start(plan)?, output))
    };
    let (watched, output) = start().map_err(|error| {
        let code = attached::exit_code_of(&error);
        (error, code)
    })?;
    let report = watched.finish().map_err(failed)?;
    answer(&report, Subject::Processes { pids: &pids }, args, selection, output).map_err(failed)
}

fn answer(
    report: &Report,
    subject: Subject<'_>,
    args: &VerifyArgs,
    selection: &Selection,
    mut output: Output,
) -> anyhow::Result<u8> {
    let expectation = args.expectation();
    let answer = verify::verify(report, selection, expectation);
    let verified = Verified { report, selection, expectation, answer: &answer, subject };
    let options = Options { color: output.color(args.color), ascii: Output::ascii() };
    let bytes = match args.format {
        VerifyFormat::Text => render::verify::render(&answer, subject.exit_code(), options).into_bytes(),
        VerifyFormat::Json => verified.to_json()?,
        VerifyFormat::Junit => verified.to_junit()?,
    };
    output.write(&bytes)?;
    // Who asked for a file, or for a form that is for programs, is told in words, too.
    if !args.quiet && (args.format != VerifyFormat::Text || output.name != "stdout") {
        eprintln!("zc: {}", printable(&answer.summary));
        if subject.exit_code() != 0 {
            eprintln!("zc: {}", render::verify::command_failed(subject.exit_code()));
        }
    }
    Ok(match answer.outcome {
        Outcome::Holds => HOLDS,
        Outcome::DoesNotHold => DOES_NOT_HOLD,
        Outcome::CannotBeDecided => CANNOT_BE_DECIDED,
    })
}
