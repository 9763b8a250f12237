//! `zc check`.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::args::{CheckArgs, CheckFormat};
use crate::{
    model::{
        inside,
        report::{Hook, HookStatus, Tool},
    },
    probe::{
        facts::{self, Fact, State},
        hook::HOOKS,
        session::{self, HookState, Status},
        size::Size,
    },
};

/// The main job can run.
const CAN: u8 = 0;
/// It cannot.
const CANNOT: u8 = 4;

/// The form of the answer in JSON.
const SCHEMA: &str = "zc.check/1";

/// Everything that `zc check` says.
#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    tool: Tool,
    facts: Vec<FactAnswer>,
    hooks: Vec<HookAnswer>,
    can_run: bool,
}

#[derive(Serialize)]
struct FactAnswer {
    name: &'static str,
    value: String,
    /// `good`, `limits` or `prevents`.
    state: &'static str,
    advice: Option<String>,
}

#[derive(Serialize)]
struct HookAnswer {
    #[serde(flatten)]
    hook: Hook,
    required: bool,
    /// What a report lacks without it.
    purpose: &'static str,
    program: &'static str,
    #[serde(flatten)]
    size: Size,
}

/// Says what this machine lets zc see; returns the exit code.
pub fn check(args: &CheckArgs) -> u8 {
    let answer = answer();
    let written = match args.format {
        CheckFormat::Json => {
            serde_json::to_string_pretty(&answer).map(|json| json + "\n").map_err(io::Error::from)
        }
        CheckFormat::Table => {
            let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            Ok(table(
                &answer,
                args.screen.color.is_on(io::stdout().is_terminal(), no_color),
                args.screen.verbose,
            ))
        }
    };
    if let Err(error) = written.and_then(|text| io::stdout().write_all(text.as_bytes())) {
        eprintln!("zc: cannot write: {error}");
        return 1;
    }
    if answer.can_run {
        return CAN;
    }
    for reason in reasons(&answer) {
        eprintln!("zc: cannot trace here: {reason}");
    }
    CANNOT
}

fn answer() -> Answer {
    let facts = facts::gather();
    let prevented = facts.iter().any(|fact| matches!(fact.state, State::Prevents(_)));
    let trials = if prevented { Vec::new() } else { session::try_all() };
    let hooks = HOOKS.iter().map(|hook| {
        let trial = trials.iter().find(|trial| trial.state.hook == hook.name);
        let status = trial.map_or(Status::Unavailable("nothing can be loaded".to_owned()), |trial| {
            trial.state.status.clone()
        });
        let report = HookState { hook: hook.name, method: hook.method, status }.report();
        HookAnswer {
            hook: report,
            required: hook.required,
            purpose: hook.purpose,
            program: hook.program,
            size: trial.map_or_else(Size::default, |trial| trial.size),
        }
    });
    let hooks: Vec<_> = hooks.collect();
    let can_run = !prevented && main_job_is_possible(&hooks);
    Answer {
        schema: SCHEMA,
        tool: Tool::this(),
        facts: facts.into_iter().map(fact_answer).collect(),
        hooks,
        can_run,
    }
}

/// All that is needed works, with at least one of the two ways to see the ends of calls.
fn main_job_is_possible(hooks: &[HookAnswer]) -> bool {
    let works = |answer: &HookAnswer| answer.hook.status == HookStatus::Attached;
    let (ends, others): (Vec<_>, Vec<_>) =
        used(hooks).partition(|answer| answer.hook.name.contains("sys_exit"));
    ends.into_iter().any(works) && others.into_iter().all(|answer| !answer.required || works(answer))
}

/// What is seen wherever the main job can run.
const CAN_RUN: &str =
    "\nzc run works here. What leaves by TCP is seen where a device is given it, mapped pages in the
page table, direct I/O at the disk; other copies are inferred from the calls and the kinds of
their ends, or unknown.
";
const SEES_INSIDE: &str =
    "Of sendfile, splice and copy_file_range between files, pipes and Unix sockets it is seen inside
the kernel what they copy.
";
const SEES_NO_INSIDE: &str =
    "Of sendfile, splice and copy_file_range between files, pipes and Unix sockets it is not seen
here what they copy: functions inside the kernel cannot be attached to.
";

/// Whether at least one function inside the kernel can be attached to; each that cannot be says for itself what is missing.
fn sees_inside(hooks: &[HookAnswer]) -> bool {
    let mut functions = hooks.iter().filter(|answer| inside::HOOKS.contains(&answer.hook.name.as_str()));
    functions.any(|answer| answer.hook.status == HookStatus::Attached)
}

fn fact_answer(fact: Fact) -> FactAnswer {
    let Fact { name, value, state } = fact;
    let (state, advice) = match state {
        State::Good => ("good", None),
        State::Limits(advice) => ("limits", Some(advice)),
        State::Prevents(advice) => ("prevents", Some(advice)),
    };
    FactAnswer { name, value, state, advice }
}

fn reasons(answer: &Answer) -> Vec<String> {
    let facts =
        answer.facts.iter().filter(|fact| fact.state == "prevents").filter_map(|fact| fact.advice.clone());
    let facts: Vec<_> = facts.collect();
    if !facts.is_empty() {
        return facts;
    }
    let missing =
        used(&answer.hooks).filter(|hook| hook.required && hook.hook.status != HookStatus::Attached);
    missing
        .map(|hook| {
            let reason = hook.hook.reason.as_deref().unwrap_or("no reason is known");
            format!("no hook `{}` ({}): {reason}", hook.hook.name, hook.purpose)
        })
        .collect()
}

fn table(answer: &Answer, color: bool, verbose: bool) -> String {
    let style = |color_of: AnsiColor| if color { color_of.on_default() } else { Style::new() };
    let (good, bad) = (style(AnsiColor::Green), style(AnsiColor::Red));
    let commit = answer.tool.commit.as_deref().filter(|commit| !commit.is_empty());
    let mut text =
        format!("zc {}{}\n\n", answer.tool.version, commit.map_or_else(String::new, |c| format!(" ({c})")));
    for fact in &answer.facts {
        let style = if fact.state == "good" { good } else { bad };
        let _ = writeln!(text, "  {:<11}{style}{}{style:#}", fact.name, fact.value);
        if let Some(advice) = &fact.advice {
            let _ = writeln!(text, "             {advice}");
        }
    }
    let _ = writeln!(text, "\n  {:<30}{:<12}{:<9}FOR", "HOOK", "METHOD", "STATUS");
    let mut next = used(&answer.hooks).peekable();
    while let Some(HookAnswer { hook, purpose, .. }) = next.next() {
        let (style, status) =
            if hook.status == HookStatus::Attached { (good, "works") } else { (bad, "missing") };
        let method = hook.method.as_deref().unwrap_or("-");
        let _ = writeln!(text, "  {:<30}{method:<12}{style}{status:<9}{style:#}{purpose}", hook.name);
        if let Some(reason) = hook.reason.as_ref().filter(|_| verbose || answer.can_run) {
            // Of hooks that are missing for the same reason, the last one has it.
            if next.peek().is_none_or(|next| next.hook.reason.as_ref() != Some(reason)) {
                let _ = writeln!(text, "      {reason}");
            }
        }
    }
    if verbose {
        left(&mut text, &answer.hooks);
        sizes(&mut text, &answer.hooks);
    }
    text.push_str(if answer.can_run { CAN_RUN } else { "\nzc run does not work here.\n" });
    if answer.can_run {
        text.push_str(if sees_inside(&answer.hooks) { SEES_INSIDE } else { SEES_NO_INSIDE });
    }
    text
}

/// Hooks that are not used on this kernel, though nothing is missing without them.
fn left(text: &mut String, hooks: &[HookAnswer]) {
    let _ = writeln!(text, "\n  {:<34}BECAUSE", "NOT USED");
    for HookAnswer { hook, .. } in hooks.iter().filter(|answer| answer.hook.status == HookStatus::Disabled) {
        let _ = writeln!(text, "  {:<34}{}", hook.name, hook.reason.as_deref().unwrap_or("-"));
    }
}

/// The hooks that are used on this kernel, whatever is asked for.
fn used(hooks: &[HookAnswer]) -> impl Iterator<Item = &HookAnswer> {
    hooks.iter().filter(|answer| answer.hook.status != HookStatus::Disabled)
}

/// What the kernel made of each program; `-` where it does not say.
fn sizes(text: &mut String, hooks: &[HookAnswer]) {
    let number = |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let _ =
        writeln!(text, "\n  {:<22}{:>21}{:>23}", "PROGRAM", "INSTRUCTIONS VERIFIED", "BYTES OF MACHINE CODE");
    for HookAnswer { program, size, .. } in used(hooks) {
        let Size { verified_instructions, machine_code_bytes } = *size;
        let (verified, code) = (number(verified_instructions), number(machine_code_bytes));
        let _ = writeln!(text, "  {program:<22}{verified:>21}{code:>23}");
    }
}
