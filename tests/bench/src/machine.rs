//! What the numbers depend on.

use std::{fs, path::Path, process::Command};

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
    #[serde(skip)]
    ticks: Option<Ticks>,
}

#[derive(Clone, Copy, Debug)]
struct Ticks {
    all: f64,
    stolen: f64,
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
            ticks: ticks(),
        }
    }

    /// Looks at what has changed meanwhile.
    pub(crate) fn look_again(&mut self) {
        self.load_after = load();
        if let (Some(before), Some(after)) = (self.ticks, ticks()) {
            let all = after.all - before.all;
            self.stolen_share = (all > 0.0).then(|| (after.stolen - before.stolen) / all);
        }
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
    const STOLEN: usize = 7;
    // The last two are parts of the first two.
    const FIELDS: usize = 8;
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let fields: Vec<f64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(Ticks { all: fields.iter().take(FIELDS).sum(), stolen: *fields.get(STOLEN)? })
}
