//! `zc verify`.

use super::{
    args::{VerifyArgs, VerifyFormat},
    output::Output,
    session::{self, Ended, Plan, Running},
};
use crate::{
    export::verify::Verified,
    model::verify::{self, Outcome, Selection},
    render::{self, human::printable, verify::Options},
};

const HOLDS: u8 = 0;
/// The command has run, but the answer could not be given.
const FAILED: u8 = 1;
const DOES_NOT_HOLD: u8 = 3;
/// Attaching to running processes is not supported here.
const NOT_SUPPORTED: u8 = 4;
const CANNOT_BE_DECIDED: u8 = 5;

/// Runs a command, and says whether what is expected holds of what it moved; returns the exit code.
pub fn verify(args: &VerifyArgs) -> u8 {
    if !args.pid.is_empty() {
        eprintln!(
            "zc: cannot look at processes that run already (-p): this version traces only commands that it \
             starts. Use `zc verify OPTIONS -- CMD`"
        );
        return NOT_SUPPORTED;
    }
    // Names are looked up before the command can change what they stand for.
    let selection = args.select.selection();
    let (running, output) = match start(args) {
        Ok(started) => started,
        Err(error) => {
            eprintln!("zc: {error:#}");
            return session::exit_code_of(&error);
        }
    };
    running.finish().and_then(|ended| answer(&ended, args, &selection, output)).unwrap_or_else(|error| {
        eprintln!("zc: {error:#}");
        FAILED
    })
}

fn start(args: &VerifyArgs) -> anyhow::Result<(Running<'_>, Output)> {
    let output = Output::open(Some(args.output.as_deref().unwrap_or_else(|| "-".as_ref())))?;
    let plan = Plan {
        command: &args.command,
        trace: &args.trace,
        capacity: &args.capacity,
        wait: args.wait,
        quiet: args.quiet,
    };
    Ok((Running::start(plan)?, output))
}

/// The command's own failure decides nothing: a server that is ended by a signal has served.
fn answer(ended: &Ended, args: &VerifyArgs, selection: &Selection, mut output: Output) -> anyhow::Result<u8> {
    let Ended { code, report } = ended;
    let expectation = args.expectation();
    let answer = verify::verify(report, selection, expectation);
    let command: Vec<_> = args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let verified =
        Verified { report, selection, expectation, answer: &answer, command: &command, exit_code: *code };
    let options = Options { color: output.color(args.color), ascii: Output::ascii() };
    let bytes = match args.format {
        VerifyFormat::Text => render::verify::render(&answer, *code, options).into_bytes(),
        VerifyFormat::Json => verified.to_json()?,
        VerifyFormat::Junit => verified.to_junit()?,
    };
    output.write(&bytes)?;
    // Who asked for a file, or for a form that is for programs, is told in words, too.
    if !args.quiet && (args.format != VerifyFormat::Text || output.name != "stdout") {
        eprintln!("zc: {}", printable(&answer.summary));
        if *code != 0 {
            eprintln!("zc: {}", render::verify::command_failed(*code));
        }
    }
    Ok(match answer.outcome {
        Outcome::Holds => HOLDS,
        Outcome::DoesNotHold => DOES_NOT_HOLD,
        Outcome::CannotBeDecided => CANNOT_BE_DECIDED,
    })
}
