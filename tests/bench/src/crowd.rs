//! Many processes: what zc needs while they do nothing, and whether a call costs the same beside them.

use std::{collections::BTreeMap, fs, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::{
    bench::Bench,
    process::Running,
    results::{Results, Series},
    subject::Pace,
    work::{READY, Work},
};

/// How many processes there are at rest.
const PROCESSES: u32 = 10_000;
/// For how long they are looked at.
const LOOK: Duration = Duration::from_secs(3);

/// Something about many processes or descriptors that has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scale {
    /// Processor time of zc in a second, in milliseconds, with 10 000 processes that do nothing.
    CpuMs,
    /// Memory of zc then, in MiB: its own, and that of the kernel's maps.
    MemoryMib,
    /// Nanoseconds for a traced read with one process.
    ReadAlone,
    /// The same beside 100 processes.
    ReadBeside100,
    /// The same beside 10 000.
    ReadBeside10000,
    /// The same with 100 000 descriptors open, or as many as there may be.
    ReadDescriptors,
}

impl Scale {
    pub(crate) const ALL: [Self; 6] = [
        Self::CpuMs,
        Self::MemoryMib,
        Self::ReadAlone,
        Self::ReadBeside100,
        Self::ReadBeside10000,
        Self::ReadDescriptors,
    ];

    /// Its name in file formats.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CpuMs => "rest/cpu-ms",
            Self::MemoryMib => "rest/memory-mib",
            Self::ReadAlone => "scale/read",
            Self::ReadBeside100 => "scale/read-100-processes",
            Self::ReadBeside10000 => "scale/read-10000-processes",
            Self::ReadDescriptors => "scale/read-100000-descriptors",
        }
    }

    /// What it is, with its unit.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::CpuMs => "zc, 10 000 traced processes at rest: ms of CPU in a second",
            Self::MemoryMib => "… MiB of its own and of the kernel's maps",
            Self::ReadAlone => "traced read: ns",
            Self::ReadBeside100 => "… beside 100 traced processes: ns",
            Self::ReadBeside10000 => "… beside 10 000: ns",
            Self::ReadDescriptors => "… with 100 000 open descriptors, or as many as are allowed: ns",
        }
    }

    /// Children and descriptors of the process that reads.
    const fn of_read(self) -> Option<[u32; 2]> {
        match self {
            Self::CpuMs | Self::MemoryMib => None,
            Self::ReadAlone => Some([0, 10]),
            Self::ReadBeside100 => Some([100, 10]),
            Self::ReadBeside10000 => Some([PROCESSES, 10]),
            Self::ReadDescriptors => Some([0, 100_000]),
        }
    }
}

/// Measures all of it.
pub(crate) fn measure(bench: &Bench, results: &mut Results, round: u32) -> Result<()> {
    let zc = bench.zc().to_string_lossy().into_owned();
    for scale in Scale::ALL {
        if let Some([children, descriptors]) = scale.of_read() {
            let [children, descriptors] = [children, descriptors].map(|count| count.to_string());
            let more = ["--children", &children, "--descriptors", &descriptors];
            let prefix = [&*zc, "run", "-q", "-o", "/dev/null", "--"];
            let measured = bench.measure_with(&prefix, Work::Read, Pace::Usual, &more)?;
            results.note(Series::Scale(scale), round, measured.quiet_ns);
        }
    }
    let mut command = Command::new(&zc);
    command.args(["run", "-q", "-o", "/dev/null", "--"]).arg(bench.own_program());
    command.args(["work", "wait", "--children", &PROCESSES.to_string()]);
    let mut running = Running::start(command, true)?;
    running.wait_for_line(READY)?;
    // What their beginnings have left to do.
    thread::sleep(Duration::from_secs(1));
    let before = cpu_ms(running.id())?;
    thread::sleep(LOOK);
    let used = (cpu_ms(running.id())? - before) / LOOK.as_secs_f64();
    let memory = memory_mib(running.id())?;
    running.finish()?;
    results.note(Series::Scale(Scale::CpuMs), round, used);
    results.note(Series::Scale(Scale::MemoryMib), round, memory);
    Ok(())
}

/// Processor time of all threads of a process so far, in milliseconds.
fn cpu_ms(pid: u32) -> Result<f64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).context("the threads of zc")?;
    let mut ns = 0.0;
    for task in tasks {
        let text = fs::read_to_string(task?.path().join("schedstat")).context("a thread's schedstat")?;
        ns += text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(ns / 1e6)
}

/// The memory that is a process's own, and what the kernel says that its BPF maps take. What is mapped of files is not in
/// it: the program, which is shared, and the ring, which is one of the maps.
fn memory_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the status of zc")?;
    let own = number(&status, "RssAnon:").context("its resident memory")?;
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).context("the descriptors of zc")? {
        // One that was closed meanwhile is none.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        // A map can have several descriptors.
        if let (Some(id), Some(bytes)) = (number(&text, "map_id:"), number(&text, "memlock:")) {
            maps.insert(id, bytes);
        }
    }
    ensure!(!maps.is_empty(), "the kernel says nothing of the memory of BPF maps");
    let bytes = own * 1024 + maps.values().sum::<u64>();
    Ok(bytes as f64 / (1024.0 * 1024.0))
}

/// The number of a line of a file of `/proc`.
fn number(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}
