//! Having programs verified, and attaching them.

use std::{
    collections::HashMap,
    num::NonZero,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FExit, Iter, Program, ProgramError, TracePoint},
};

use super::{
    btf::Layout,
    hook::{HOOKS, Hook, Method},
};

/// What became of the programs of hooks, by program.
pub(super) struct Loaded(HashMap<&'static str, Result<(), ProgramError>>);

/// What takes longest to verify, last first: it is begun first, so that none of it is left alone at the end.
const LONGEST: &[&str] = &["zc_exec", "zc_ring_complete", "zc_sys_exit"];

/// Has the kernel verify the programs of all wanted hooks, several at a time: that is most of the time that it takes
/// to start.
pub(super) fn load_programs(
    ebpf: &mut Ebpf,
    btf: &Btf,
    layout: &Layout,
    wanted: impl Fn(&Hook) -> bool,
) -> Loaded {
    let mut work: Vec<_> = ebpf
        .programs_mut()
        .filter_map(|(name, program)| {
            let hook = HOOKS.iter().find(|hook| hook.program == name && wanted(hook))?;
            Some((hook, program))
        })
        .collect();
    work.sort_by_key(|(hook, _)| LONGEST.iter().position(|name| *name == hook.program));
    let (results, work) = (Mutex::new(HashMap::new()), Mutex::new(work));
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(HOOKS.len());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // Not in the head of a `while let`: its guard would be held through the body, and programs verified
                // one after the other.
                let next = || lock(&work).pop();
                while let Some((hook, program)) = next() {
                    let result = load_program(program, btf, hook.method, target(hook, layout));
                    lock(&results).insert(hook.program, result);
                }
            });
        }
    });
    Loaded(results.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Nothing that is done under these locks can fail half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a typed program is for, by the name that it has on this kernel.
fn target(hook: &Hook, layout: &Layout) -> &'static str {
    match hook.targets {
        [_, former] if hook.method == Method::TpBtf && layout.has_submit_sqe => former,
        [name, ..] => name,
        [] => hook.name,
    }
}

fn load_program(program: &mut Program, btf: &Btf, method: Method, target: &str) -> Result<(), ProgramError> {
    match method {
        Method::TpBtf => {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(target, btf)
        }
        Method::Fexit => {
            let program: &mut FExit = program.try_into()?;
            program.load(target, btf)
        }
        Method::Tracepoint => {
            let program: &mut TracePoint = program.try_into()?;
            program.load()
        }
        Method::Iterator => {
            let program: &mut Iter = program.try_into()?;
            program.load(target, btf)
        }
    }
}

impl Loaded {
    /// Attaches the program of a hook everywhere, if it could be loaded.
    pub(super) fn attach(&mut self, ebpf: &mut Ebpf, hook: &Hook) -> Result<(), ProgramError> {
        let unknown = || ProgramError::InvalidName { name: hook.program.to_owned() };
        self.0.remove(hook.program).ok_or_else(unknown)??;
        let program = ebpf.program_mut(hook.program).ok_or_else(unknown)?;
        match hook.method {
            Method::TpBtf => {
                let program: &mut BtfTracePoint = program.try_into()?;
                program.attach()?;
            }
            Method::Fexit => {
                let program: &mut FExit = program.try_into()?;
                program.attach()?;
            }
            Method::Tracepoint => {
                let program: &mut TracePoint = program.try_into()?;
                // Perf events turn preemption off around all of a program, which tp_btf has not done since Linux 7.0.
                for target in hook.targets {
                    let (category, name) = target.split_once(':').unwrap_or(("syscalls", target));
                    program.attach(category, name)?;
                }
            }
            // It is attached each time that it runs. That it can be, is known now.
            Method::Iterator => {
                let program: &mut Iter = program.try_into()?;
                let link = program.attach()?;
                program.detach(link)?;
            }
        }
        Ok(())
    }
}

/// A refusal in words: what the kernel said, and the end of the verifier's log, where its reason is.
pub(super) fn refusal(error: &ProgramError) -> String {
    const LOG_LINES: usize = 3;
    /// What it says after the reason.
    const STATISTICS: [&str; 3] = ["verification time ", "stack depth ", "processed "];
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        let is_reason = |line: &str| !STATISTICS.iter().any(|start| line.starts_with(start));
        let lines: Vec<&str> =
            log.lines().filter(|line| !line.trim().is_empty() && is_reason(line)).collect();
        if lines.is_empty() {
            return format!("the kernel refuses this type of program ({io_error})");
        }
        let last = lines[lines.len().saturating_sub(LOG_LINES)..].join(" / ");
        return format!("the verifier refuses the program ({io_error}): {last}");
    }
    chain(error)
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
