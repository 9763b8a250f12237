//! What `/proc` says of a process that ran before it was traced, and of which no record tells who it is.

use std::fs;

use zc_common::record::ARGS_BYTES;

use super::state::{split_arguments, until_nul};
use crate::{model::samples::ProcessSample, probe::attach::Attached};

/// Who the process is; what cannot be read is not known. Its own end may come before this.
pub(super) fn describe(process: &Attached) -> ProcessSample {
    let Attached { pid, tgid, start_ns, .. } = *process;
    let file = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let text = |name: &str| String::from_utf8_lossy(&file(name)).into_owned();
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok();
    ProcessSample {
        pid: tgid,
        // Ids in another PID namespace than the initial one are none that reports have.
        ppid: parent(&text("status")).filter(|_| pid == tgid),
        start_ns,
        comm: until_nul(text("comm").trim_end_matches('\n').as_bytes()),
        exe: exe.map(|path| path.to_string_lossy().into_owned()),
        cmdline: command_line(&file("cmdline")),
        cgroup: cgroup(&text("cgroup")),
        container: None,
        exit_code: None,
        alive: true,
    }
}

/// From `proc_pid_cmdline(5)`, as long as records have it.
fn command_line(bytes: &[u8]) -> Vec<String> {
    split_arguments(&bytes[..bytes.len().min(ARGS_BYTES)], bytes.len())
}

/// From `proc_pid_cgroup(5)`: the path in the hierarchy version 2, when it is within what zc sees of that.
pub(crate) fn cgroup(text: &str) -> Option<String> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    (path.starts_with('/') && !path.starts_with("/..")).then(|| path.to_owned())
}

/// From `proc_pid_status(5)`.
fn parent(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok().filter(|&parent| parent != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_are_those_of_the_second_hierarchy_and_within_sight() {
        assert_eq!(cgroup("4:memory:/a\n0::/b/c\n").as_deref(), Some("/b/c"));
        assert_eq!(cgroup("0::/../../other\n"), None);
        assert_eq!(cgroup(""), None);
    }

    #[test]
    fn the_first_process_has_no_parent() {
        assert_eq!(parent("Name:\tx\nPPid:\t7\n"), Some(7));
        assert_eq!(parent("PPid:\t0\n"), None);
    }

    #[test]
    fn a_command_line_is_as_long_as_in_records() {
        assert_eq!(command_line(b"cat\0-\0"), ["cat", "-"]);
        assert_eq!(command_line(b""), [""; 0]);
        let cut = command_line(&[b'x'; ARGS_BYTES + 1]);
        assert_eq!((cut.len(), cut[0].len()), (1, ARGS_BYTES + "…".len()));
    }

    #[test]
    fn this_process_is_described() {
        let pid = std::process::id();
        let own = describe(&Attached { pid, tgid: pid, start_ns: 5, threads: 1 });
        assert_eq!((own.pid, own.start_ns, own.alive), (pid, 5, true));
        assert!(
            own.exe.is_some_and(|exe| exe.starts_with('/')) && !own.cmdline.is_empty() && own.ppid.is_some()
        );
        let nobody = describe(&Attached { pid: u32::MAX, tgid: 7, start_ns: 5, threads: 1 });
        assert_eq!((nobody.comm.as_str(), nobody.exe, nobody.ppid), ("", None, None));
    }
}
