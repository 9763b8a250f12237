//! perf trace and strace: tools that stop or record each call.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::{
    bench::Bench,
    subject::{Measured, Pace},
    work::Work,
};

/// A tool, as it is called.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tool {
    /// `perf trace -s`
    Perf,
    /// `strace -c`
    StraceAll,
    /// `strace -c -e trace=…`
    StraceSome,
    /// `strace -c -f --seccomp-bpf -e trace=…`
    StraceSeccomp,
}

/// Measures one process that the tool starts, and makes sure that it counted the calls.
pub(super) fn measure(bench: &Bench, tool: Tool, work: Work) -> Result<Measured> {
    let path = bench.dir().join("summary");
    let file = path.to_string_lossy().into_owned();
    // A tracer that looks at reads, beside which this call is another.
    let watched = if work == Work::Getppid { Work::Read.calls() } else { work.calls() };
    let only = format!("trace={}", watched.join(","));
    let words: &[&str] = match tool {
        Tool::Perf => &["perf", "trace", "-s", "-o", &file, "--"],
        Tool::StraceAll => &["strace", "-c", "-o", &file],
        Tool::StraceSome => &["strace", "-c", "-o", &file, "-e", &only],
        Tool::StraceSeccomp => &["strace", "-c", "-o", &file, "-f", "--seccomp-bpf", "-e", &only],
    };
    let measured = bench.measure(words, work, Pace::Slow)?;
    let summary = fs::read_to_string(&path).with_context(|| format!("read the summary of {}", words[0]))?;
    fs::remove_file(&path)?;
    // A tool that looks at reads alone has not seen the bystander's calls.
    let is_seen = work != Work::Getppid || matches!(tool, Tool::Perf | Tool::StraceAll);
    for &call in work.calls().iter().filter(|_| is_seen) {
        let (counted, times) = (counted(&summary, call), measured.times);
        ensure!(counted >= times, "{} counted {counted} of {times} calls of {call}", words[0]);
    }
    Ok(measured)
}

/// The number of calls in a line that names the call: perf has it right after the name, strace in the fourth
/// column with the name at the end.
fn counted(summary: &str, call: &str) -> u64 {
    let number = |word: Option<&&str>| word.and_then(|word| word.parse().ok());
    let of_line = |line: &str| -> Option<u64> {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first() == Some(&call) {
            number(words.get(1))
        } else if words.last() == Some(&call) {
            number(words.get(3))
        } else {
            None
        }
    };
    summary.lines().filter_map(of_line).sum()
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn strace_and_perf_write_their_counts_in_different_columns() {
        let strace = "% time     seconds  usecs/call     calls    errors syscall\n\
                      ------ ----------- ----------- --------- --------- ----------------\n \
                      99.00    0.010000           2      5001         1 read\n  \
                      1.00    0.000100           2        17           openat\n";
        assert_eq!((counted(strace, "read"), counted(strace, "openat")), (5001, 17));
        let perf = " zc-bench (1234), 1300 events, 99.0%\n\n   \
                    syscall            calls  errors  total       min       avg       max       stddev\n   \
                    read                 650      0     1.234     0.001     0.002     0.020      3.00%\n";
        assert_eq!((counted(perf, "read"), counted(perf, "write")), (650, 0));
    }
}
