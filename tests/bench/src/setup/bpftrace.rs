//! bpftrace, as somebody would use it for the same question.

use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::{
    bench::Bench,
    process::Running,
    subject::{Measured, Pace},
    work::{READY, Work},
};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Script {
    /// Calls and bytes by process and descriptor: the descriptor is known at the beginning of a call, the
    /// bytes at its end.
    Sums,
    /// Calls and bytes by process: the cheapest that bpftrace can do.
    ExitOnly,
}

impl Script {
    const fn text(self) -> &'static str {
        match self {
            Self::Sums => {
                "tracepoint:syscalls:sys_enter_read, tracepoint:syscalls:sys_enter_pread64,
                 tracepoint:syscalls:sys_enter_pwrite64 { @fd[tid] = args->fd + 1; }
                 tracepoint:syscalls:sys_enter_sendfile64 { @fd[tid] = args->out_fd + 1; }
                 tracepoint:syscalls:sys_exit_read, tracepoint:syscalls:sys_exit_pread64,
                 tracepoint:syscalls:sys_exit_pwrite64, tracepoint:syscalls:sys_exit_sendfile64 /@fd[tid]/ {
                     @calls[pid, @fd[tid]] = count();
                     if (args->ret > 0) { @bytes[pid, @fd[tid]] = sum(args->ret); }
                     delete(@fd[tid]);
                 }
                 END { clear(@fd); }"
            }
            Self::ExitOnly => {
                "tracepoint:syscalls:sys_exit_read, tracepoint:syscalls:sys_exit_pread64,
                 tracepoint:syscalls:sys_exit_pwrite64, tracepoint:syscalls:sys_exit_sendfile64 {
                     @calls[pid] = count();
                     if (args->ret > 0) { @bytes[pid] = sum(args->ret); }
                 }"
            }
        }
    }

    /// The bytes of one sum when the work is done once.
    const fn bytes_of(self, work: Work) -> u64 {
        match (self, work) {
            // Reads and writes of one process, in one sum.
            (Self::ExitOnly, Work::Relay) => 2 * work.bytes(),
            _ => work.bytes(),
        }
    }
}

/// More than a process reads until its `main` begins.
const LOADER_BYTES: u64 = 256 << 10;

/// Measures processes while bpftrace watches all of them.
///
/// bpftrace starts the command that it is given when everything is attached, and ends with it; so the command
/// is one that waits.
pub(super) fn measure(bench: &Bench, script: Script, works: &[Work]) -> Result<Vec<(Work, Measured)>> {
    let mut command = Command::new("bpftrace");
    let waits = format!("{} work wait", bench.own_program().display());
    command.args(["-f", "json", "-e", script.text(), "-c", &waits]);
    let mut running = Running::start(command, true)?;
    running.wait_for_line(READY)?;
    let values = super::each(works, |work| bench.measure(&[], work, Pace::Usual))?;
    let sums = sums(&running.finish()?, "@bytes");
    for &(work, Measured { times, .. }) in &values {
        let bytes = times * script.bytes_of(work);
        // The process also read its libraries.
        ensure!(
            bytes == 0 || sums.iter().any(|sum| (bytes..bytes + LOADER_BYTES).contains(sum)),
            "bpftrace did not see the {bytes} bytes of {}; its sums are {sums:?}",
            work.name()
        );
    }
    Ok(values)
}

/// The values of a map that bpftrace printed.
fn sums(output: &str, map: &str) -> Vec<u64> {
    let maps = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut values = Vec::new();
    for data in maps.filter(|value| value["type"] == "map") {
        let entries = data["data"][map].as_object();
        values.extend(entries.into_iter().flat_map(|entries| entries.values().filter_map(Value::as_u64)));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::sums;

    #[test]
    fn the_values_of_one_map_are_found_among_other_lines() {
        let output = "ready\n{\"type\": \"attached_probes\", \"data\": {\"probes\": 9}}\n\
                      {\"type\": \"map\", \"data\": {\"@bytes\": {\"1,3\": 4, \"2,5\": 7}}}\n\
                      {\"type\": \"map\", \"data\": {\"@calls\": {\"1,3\": 1}}}\n";
        let mut bytes = sums(output, "@bytes");
        bytes.sort_unstable();
        assert_eq!(bytes, [4, 7]);
        assert_eq!(sums(output, "@none"), [0; 0]);
    }
}
