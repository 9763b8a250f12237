//! Facts about this machine and this process that decide what can be traced. Reading is separate from
//! understanding, so that the latter is tested without the machine.

use std::{fs, path::Path};

use super::{OBJECT, btf};

/// A fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is about.
    pub name: &'static str,
    /// What was found.
    pub value: String,
    /// How it matters.
    pub state: State,
}

/// How a fact matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Good,
    /// Something is lost by it; what, and what to do.
    Limits(String),
    /// Nothing can be traced; why, and what to do.
    Prevents(String),
}

/// Everything that is asked about a machine, in the order in which it is shown.
pub fn gather() -> Vec<Fact> {
    vec![
        kernel(),
        programs(OBJECT.len()),
        privileges(&read("/proc/self/status").unwrap_or_default()),
        types(Path::new(btf::VMLINUX)),
        tracefs(&read("/proc/self/mounts").unwrap_or_default()),
        lockdown(read("/sys/kernel/security/lockdown").as_deref()),
        jit(read("/proc/sys/net/core/bpf_jit_enable").as_deref()),
    ]
}

/// What keeps this process from loading programs, in words, or `None`.
pub fn missing_privileges() -> Option<String> {
    match privileges(&read("/proc/self/status").unwrap_or_default()).state {
        State::Prevents(reason) => Some(reason),
        _ => None,
    }
}

/// What to do when perf events are refused for a reason that the kernel does not tell, or `None` when that is not it.
pub fn perf_events_advice() -> Option<String> {
    perf_events_left_to_root(&read("/proc/sys/kernel/perf_event_paranoid")?)
}

/// Kernels of Debian and Ubuntu have levels above 2, at which `CAP_PERFMON` does not count.
fn perf_events_left_to_root(level: &str) -> Option<String> {
    let level: i32 = level.trim().parse().ok()?;
    (level > 2).then(|| {
        format!(
            "kernel.perf_event_paranoid is {level}, at which some kernels leave perf events to CAP_SYS_ADMIN; set it to 2, \
             or count calls of every kind (`count_calls = true`, no `--no-count-calls`), for which none are needed"
        )
    })
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn kernel() -> Fact {
    let name = nix::sys::utsname::uname();
    let text = |value: &std::ffi::OsStr| value.to_string_lossy().into_owned();
    let (release, machine) =
        name.map_or_else(|_| Default::default(), |name| (text(name.release()), text(name.machine())));
    let state = if machine == "x86_64" {
        State::Good
    } else {
        State::Prevents(format!("zc knows the system calls of x86_64 only, not those of {machine}"))
    };
    Fact { name: "kernel", value: format!("Linux {release} {machine}"), state }
}

fn programs(len: usize) -> Fact {
    let (value, state) = if len == 0 {
        let advice = "this zc was built without its eBPF programs; build it with `cargo xtask build`";
        ("none".to_owned(), State::Prevents(advice.to_owned()))
    } else {
        (format!("{} KiB", len / 1024), State::Good)
    };
    Fact { name: "programs", value, state }
}

/// From `CapEff` of `proc_pid_status(5)`.
fn privileges(status: &str) -> Fact {
    const CAP_SYS_ADMIN: u32 = 21;
    const CAP_PERFMON: u32 = 38;
    const CAP_BPF: u32 = 39;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let has = |capability: u32| effective >> capability & 1 != 0;
    let missing: Vec<&str> = [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter(|&(capability, _)| !has(capability) && !has(CAP_SYS_ADMIN))
        .map(|(_, name)| name)
        .collect();
    let (value, state) = if missing.is_empty() {
        let value = if has(CAP_SYS_ADMIN) { "CAP_SYS_ADMIN" } else { "CAP_BPF, CAP_PERFMON" };
        (value.to_owned(), State::Good)
    } else {
        let missing = missing.join(" and ");
        let advice = format!("loading programs into the kernel needs {missing}; run zc as root (sudo)");
        (format!("no {missing}"), State::Prevents(advice))
    };
    Fact { name: "privileges", value, state }
}

fn types(path: &Path) -> Fact {
    let (value, state) = match btf::read_layout(path) {
        Ok(_) => (path.display().to_string(), State::Good),
        Err(error) => ("unusable".to_owned(), State::Prevents(error.to_string())),
    };
    Fact { name: "BTF", value, state }
}

/// From `proc_pid_mounts(5)`.
fn tracefs(mounts: &str) -> Fact {
    let mounted = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_device, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "tracefs").then_some(place)
    });
    let (value, state) = match mounted {
        Some(place) => (place.to_owned(), State::Good),
        None => (
            "not mounted".to_owned(),
            State::Limits(
                "`--no-count-calls` needs it; `mount -t tracefs tracefs /sys/kernel/tracing`".to_owned(),
            ),
        ),
    };
    Fact { name: "tracefs", value, state }
}

/// From `/sys/kernel/security/lockdown`: all modes, the present one in brackets.
fn lockdown(modes: Option<&str>) -> Fact {
    let mode = modes.and_then(|modes| Some(modes.split_once('[')?.1.split_once(']')?.0));
    let state = if mode == Some("confidentiality") {
        State::Prevents(
            "lockdown in the mode `confidentiality` keeps programs from reading the kernel's memory; boot with \
             lockdown=integrity or none"
                .to_owned(),
        )
    } else {
        State::Good
    };
    Fact { name: "lockdown", value: mode.unwrap_or("not in this kernel").to_owned(), state }
}

fn jit(value: Option<&str>) -> Fact {
    let (value, state) = match value.map(str::trim) {
        Some("0") => (
            "off",
            State::Limits(
                "programs are interpreted, which makes them several times dearer; `sysctl net.core.bpf_jit_enable=1`"
                    .to_owned(),
            ),
        ),
        Some(_) => ("on", State::Good),
        None => ("not known", State::Good),
    };
    Fact { name: "JIT", value: value.to_owned(), state }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_perf_events_that_debian_adds_are_told() {
        assert!(perf_events_left_to_root("3\n").is_some_and(|advice| advice.contains("is 3, at")));
        assert_eq!(perf_events_left_to_root("2\n"), None);
        assert_eq!(perf_events_left_to_root("-1\n"), None);
        assert_eq!(perf_events_left_to_root("x"), None);
    }

    #[test]
    fn root_and_the_two_capabilities_suffice() {
        for mask in ["000001ffffffffff", "000000c000000000", "0000000000200000"] {
            assert_eq!(privileges(&format!("Name:\tzc\nCapEff:\t{mask}\n")).state, State::Good, "{mask}");
        }
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let State::Prevents(advice) = privileges("CapEff:\t0000008000000000\n").state else { panic!() };
        assert!(advice.contains("CAP_PERFMON") && advice.contains("sudo") && !advice.contains("CAP_BPF"));
        assert!(matches!(privileges("").state, State::Prevents(_)));
    }

    #[test]
    fn tracefs_is_found_wherever_it_is_mounted() {
        let mounts = "proc /proc proc rw 0 0\ntracefs /sys/kernel/debug/tracing tracefs rw 0 0\n";
        assert_eq!(tracefs(mounts).value, "/sys/kernel/debug/tracing");
        assert!(matches!(tracefs("proc /proc proc rw 0 0\n").state, State::Limits(_)));
    }

    #[test]
    fn only_the_strictest_lockdown_prevents_tracing() {
        assert_eq!(lockdown(None).state, State::Good);
        assert_eq!(lockdown(Some("none [integrity] confidentiality\n")).state, State::Good);
        assert!(matches!(lockdown(Some("none integrity [confidentiality]\n")).state, State::Prevents(_)));
    }

    #[test]
    fn a_build_without_programs_says_how_to_get_them() {
        let State::Prevents(advice) = programs(0).state else { panic!() };
        assert!(advice.contains("cargo xtask build"));
    }

    #[test]
    fn no_btf_is_a_reason_not_to_run() {
        assert!(matches!(types(Path::new("/nonexistent")).state, State::Prevents(_)));
    }

    #[test]
    fn an_interpreter_is_a_reason_to_complain() {
        assert!(matches!(jit(Some("0\n")).state, State::Limits(_)));
        assert_eq!(jit(Some("1\n")).state, State::Good);
    }
}
