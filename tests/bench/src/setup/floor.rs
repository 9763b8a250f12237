//! The floor: programs that do nothing, from zc's own object.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{
        BtfTracePoint, ProgramInfo, TracePoint, loaded_programs, tp_btf::BtfTracePointLink,
        trace_point::TracePointLink,
    },
    sys::Stats,
};

const EXIT: &str = "zc_floor_exit";
const ALL: &str = "zc_floor_all";

/// The empty programs, loaded.
pub(crate) struct Floor {
    ebpf: Ebpf,
}

impl Floor {
    /// Loads the programs and makes sure that they run when they are attached.
    pub(crate) fn load() -> Result<Self> {
        ensure!(
            !zc::probe::OBJECT.is_empty(),
            "this zc-bench was built without zc's kernel programs; start it through `cargo xtask bench`"
        );
        let btf = Btf::from_sys_fs().context("read the kernel's types")?;
        let mut ebpf =
            EbpfLoader::new().btf(Some(&btf)).load(zc::probe::OBJECT).context("load zc's kernel programs")?;
        exit_program(&mut ebpf)?.load().with_context(|| format!("load {EXIT}"))?;
        all_program(&mut ebpf)?.load("sys_exit", &btf).with_context(|| format!("load {ALL}"))?;
        let mut floor = Self { ebpf };
        floor.check()?;
        Ok(floor)
    }

    /// Attaches the empty program to the ends of some calls, until the links are dropped.
    pub(crate) fn on_exits(&mut self, tracepoints: &[&str]) -> Result<Vec<TracePointLink>> {
        let program = exit_program(&mut self.ebpf)?;
        let attach = |name: &&str| {
            let id = program.attach("syscalls", name).with_context(|| format!("attach {EXIT} to {name}"))?;
            Ok(program.take_link(id)?)
        };
        tracepoints.iter().map(attach).collect()
    }

    /// Attaches the empty program to the ends of all calls, until the link is dropped.
    pub(crate) fn on_all_calls(&mut self) -> Result<BtfTracePointLink> {
        let program = all_program(&mut self.ebpf)?;
        let id = program.attach().with_context(|| format!("attach {ALL}"))?;
        Ok(program.take_link(id)?)
    }

    /// Both programs must run when a call ends; the kernel counts that while it is asked to.
    fn check(&mut self) -> Result<()> {
        const CALLS: u64 = 1000;
        let Ok(_counting) = aya::sys::enable_stats(Stats::RunTime) else { return Ok(()) };
        let exits = self.on_exits(&["sys_exit_getppid"])?;
        let all = self.on_all_calls()?;
        for _ in 0..CALLS {
            // SAFETY: takes nothing.
            unsafe { libc::syscall(libc::SYS_getppid) };
        }
        drop((exits, all));
        let infos =
            [(EXIT, exit_program(&mut self.ebpf)?.info()), (ALL, all_program(&mut self.ebpf)?.info())];
        for (name, info) in infos {
            let runs = runs(&info.context("ask for a program")?)?;
            if runs < CALLS {
                bail!("{name} was attached and ran {runs} times in {CALLS} calls");
            }
        }
        Ok(())
    }
}

fn exit_program(ebpf: &mut Ebpf) -> Result<&mut TracePoint> {
    let program = ebpf.program_mut(EXIT).with_context(|| format!("zc's object has no {EXIT}"))?;
    Ok(program.try_into()?)
}

fn all_program(ebpf: &mut Ebpf) -> Result<&mut BtfTracePoint> {
    let program = ebpf.program_mut(ALL).with_context(|| format!("zc's object has no {ALL}"))?;
    Ok(program.try_into()?)
}

/// How often a program ran while the kernel counted.
fn runs(info: &ProgramInfo) -> Result<u64> {
    let program = info.fd().context("open a program")?;
    let path = format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd());
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let count = text.lines().find_map(|line| line.strip_prefix("run_cnt:"));
    count.context("the kernel does not count the runs of programs")?.trim().parse().context("run_cnt")
}

/// Programs of others that are loaded, which would be taken for nothing.
///
/// What was attached by the measurement before goes away a moment after its process.
pub(crate) fn foreign_programs() -> Option<String> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let start = Instant::now();
    loop {
        let names = tracing_programs();
        if names.is_empty() {
            return None;
        }
        if start.elapsed() > PATIENCE {
            let names = names.join(", ");
            return Some(format!("programs of others were loaded while nothing was to be attached: {names}"));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The names of all loaded programs that trace, but for ours.
fn tracing_programs() -> Vec<String> {
    // `enum bpf_prog_type`: kprobe, tracepoint, raw tracepoint, tracing.
    const KINDS: [u32; 4] = [2, 5, 17, 26];
    // One may go away between being listed and being opened.
    let loaded = loaded_programs().flatten().filter(|info| KINDS.contains(&(info.program_type() as u32)));
    let mut names: Vec<String> = loaded.map(|info| info.name_as_str().unwrap_or("?").to_owned()).collect();
    names.retain(|name| !name.starts_with("zc_floor"));
    names.sort();
    names.dedup();
    names
}
