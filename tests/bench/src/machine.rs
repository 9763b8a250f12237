//! What the numbers depend on.

use std::{fs, mem::MaybeUninit, path::Path, process::Command};

use serde::Serialize;

use crate::process;

/// The machine, the tools, and how busy others kept it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Machine {
    pub(crate) time: String,
    pub(crate) kernel: String,
    pub(crate) arch: &'static str,
    pub(crate) processor: String,
    pub(crate) cpus: usize,
    pub(crate) is_virtual: bool,
    /// Versions of zc and of what it is compared with; `null` when not installed.
    pub(crate) zc: Option<String>,
    pub(crate) bpftrace: Option<String>,
    pub(crate) perf: Option<String>,
    pub(crate) strace: Option<String>,
    /// Tasks that could run, on average over a minute, before and after.
    pub(crate) load_before: Option<f64>,
    pub(crate) load_after: Option<f64>,
    /// Share of the processors' time that the hypervisor gave to others.
    pub(crate) stolen_share: Option<f64>,
    /// How many processors other processes kept busy, on average.
    pub(crate) others_busy: Option<f64>,
    #[serde(skip)]
    ticks: Option<Ticks>,
}

/// Times since the start, in seconds.
#[derive(Clone, Copy, Debug)]
struct Ticks {
    all: f64,
    stolen: f64,
    busy: f64,
    /// Of `busy`, what the benchmark and the processes that it has started used.
    own: f64,
}

impl Machine {
    /// Looks around.
    pub(crate) fn look(zc: &Path) -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = info.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
        };
        Self {
            time: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            arch: std::env::consts::ARCH,
            processor: field("model name").to_owned(),
            cpus: std::thread::available_parallelism().map_or(0, Into::into),
            is_virtual: field("flags").split_whitespace().any(|flag| flag == "hypervisor"),
            zc: version(zc),
            bpftrace: version(Path::new("bpftrace")),
            perf: version(Path::new("perf")),
            strace: version(Path::new("strace")),
            load_before: load(),
            load_after: None,
            stolen_share: None,
            others_busy: None,
            ticks: ticks(),
        }
    }

    /// Looks at what has changed meanwhile.
    pub(crate) fn look_again(&mut self) {
        self.load_after = load();
        let (Some(before), Some(after)) = (self.ticks, ticks()) else { return };
        let share = |seconds: f64| seconds / (after.all - before.all).max(1.0);
        let others = (after.busy - before.busy) - (after.own - before.own);
        self.stolen_share = Some(share(after.stolen - before.stolen));
        self.others_busy = Some((share(others) * self.cpus as f64).max(0.0));
    }

    /// Why the numbers cannot be trusted, if so. What else runs shares the caches, and often the core, with what
    /// is measured: that does not make everything slower by the same factor.
    pub(crate) fn disturbance(&self) -> Option<String> {
        const BUSY: f64 = 0.2;
        const STOLEN: f64 = 0.05;
        let busy = self.others_busy.filter(|&busy| busy > BUSY);
        let stolen = self.stolen_share.filter(|&share| share > STOLEN);
        let busy = busy.map(|busy| format!("other processes kept {busy:.1} processors busy"));
        let stolen = stolen.map(|share| format!("{:.0} % of the time was stolen", share * 100.0));
        busy.or(stolen)
    }
}

/// The first line that a program prints about its version.
fn version(program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version");
    let output = process::output(command).ok()?;
    output.lines().next().map(|line| line.trim().to_owned())
}

fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

fn ticks() -> Option<Ticks> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let fields: Vec<f64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
    // SAFETY: has no preconditions.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    let seconds = fields.iter().map(|ticks| ticks / per_second).collect::<Vec<_>>();
    // The two that follow are parts of the first two.
    let [user, nice, system, idle, wait, irq, soft_irq, stolen, ..] = seconds[..] else { return None };
    let busy = user + nice + system + irq + soft_irq;
    let own = used(libc::RUSAGE_SELF)? + used(libc::RUSAGE_CHILDREN)?;
    Some(Ticks { all: busy + idle + wait + stolen, stolen, busy, own })
}

/// Processor time of this process, or of its children that have ended and been waited for.
fn used(who: libc::c_int) -> Option<f64> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the structure has room for the answer, and is valid when it is all zeroes.
    let usage = unsafe {
        let status = libc::getrusage(who, usage.as_mut_ptr());
        (status == 0).then(|| usage.assume_init())
    }?;
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Some(seconds(usage.ru_utime) + seconds(usage.ru_stime))
}
