//! Third parties that saw the same calls: strace, and perf's counters.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{
    job::{Job, Running},
    machine,
};

/// Calls whose results are bytes that the kernel adds to `rchar` alone.
pub const READS: [&str; 5] = ["read", "pread64", "readv", "preadv", "preadv2"];
/// Calls whose results are bytes that the kernel adds to `wchar` alone.
pub const WRITES: [&str; 5] = ["write", "pwrite64", "writev", "pwritev", "pwritev2"];
/// Calls whose results are in both.
pub const BOTH: [&str; 2] = ["sendfile", "copy_file_range"];

/// Calls whose results are in neither.
pub const NEITHER: [&str; 3] = ["splice", "tee", "vmsplice"];
/// Calls whose results are bytes that came in and that the kernel does not add to `rchar`; of `recvmmsg` they are in
/// its messages.
pub const RECEIVES: [&str; 4] = ["recvfrom", "recvmsg", "recvmmsg", "process_vm_readv"];
/// Calls whose results are bytes that went out, as above.
pub const SENDS: [&str; 4] = ["sendto", "sendmsg", "sendmmsg", "process_vm_writev"];

/// One call of one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Thread id.
    pub tid: u32,
    /// The call's name.
    pub name: String,
    /// Its result; none when it failed or did not return.
    pub bytes: Option<u64>,
    /// What follows the name, as far as strace had printed it when the call began.
    pub arguments: String,
}

/// Every call that strace saw.
#[derive(Clone, Debug)]
pub struct Strace {
    /// In the order of their beginning.
    pub calls: Vec<Call>,
}

impl Strace {
    /// Runs a command under strace, following its children, and keeps its data calls.
    pub fn data_calls<S: AsRef<str>>(command: &[S]) -> Self {
        Self::run(&["-e", &Self::data_filter()], command)
    }

    /// The same, with the names of what their descriptors are open to, for [`Self::on`].
    pub fn named_data_calls<S: AsRef<str>>(command: &[S]) -> Self {
        Self::run(&["-y", "-e", &Self::data_filter()], command)
    }

    /// Runs a command under strace, following its children, and keeps all calls.
    pub fn all_calls<S: AsRef<str>>(command: &[S]) -> Self {
        Self::run(&[], command)
    }

    fn data_filter() -> String {
        let calls = [READS.as_slice(), &WRITES, &BOTH, &NEITHER, &RECEIVES, &SENDS].concat();
        format!("trace={}", calls.join(","))
    }

    /// The same of a command that goes on until the other side of it, which is told of it, has done its work.
    pub fn named_data_calls_with<S: AsRef<str>>(
        command: &[S],
        other_side: impl FnOnce(&mut Running),
    ) -> Self {
        Self::run_with(&["-y", "-e", &Self::data_filter()], command, other_side)
    }

    fn run<S: AsRef<str>>(options: &[&str], command: &[S]) -> Self {
        Self::run_with(options, command, |_| ())
    }

    fn run_with<S: AsRef<str>>(
        options: &[&str],
        command: &[S],
        other_side: impl FnOnce(&mut Running),
    ) -> Self {
        let dir = machine::temp_dir();
        let log = dir.path().join("strace");
        let mut words = vec!["strace", "-f", "-qq", "-s0", "-e", "abbrev=none", "-e", "signal=none"];
        words.extend(options);
        words.push("-o");
        words.push(log.to_str().expect("a UTF-8 path"));
        words.push("--");
        words.extend(command.iter().map(AsRef::as_ref));
        let mut running = Job::new(&words).start();
        other_side(&mut running);
        let done = running.finish();
        assert!(done.status.success(), "under strace: {}", done.stderr);
        Self { calls: parse(&fs::read_to_string(log).expect("strace's output")) }
    }

    /// The thread that ran the command itself.
    pub fn first_tid(&self) -> u32 {
        self.calls.first().expect("a call").tid
    }

    /// Number of calls and their bytes, of these names and of the threads that are wanted.
    pub fn sum(&self, names: &[&str], wanted: impl Fn(u32) -> bool) -> (u64, u64) {
        let of_these = |call: &&Call| names.contains(&call.name.as_str()) && wanted(call.tid);
        let calls = self.calls.iter().filter(of_these);
        calls.fold((0, 0), |(count, bytes), call| (count + 1, bytes + call.bytes.unwrap_or(0)))
    }

    /// Number of calls and their bytes, of these names, on descriptors that are open to `path`.
    pub fn on(&self, path: &str, names: &[&str]) -> (u64, u64) {
        let shown = format!("<{path}>");
        let of_these = |call: &&Call| names.contains(&call.name.as_str()) && call.arguments.contains(&shown);
        let calls = self.calls.iter().filter(of_these);
        calls.fold((0, 0), |(count, bytes), call| (count + 1, bytes + call.bytes.unwrap_or(0)))
    }

    /// Number of calls of one thread, of every name.
    pub fn count(&self, tid: u32) -> u64 {
        self.calls.iter().filter(|call| call.tid == tid).count() as u64
    }
}

fn parse(log: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: BTreeMap<u32, usize> = BTreeMap::new();
    for line in log.lines() {
        let (tid, rest) = line.split_once(char::is_whitespace).expect("a thread id");
        let (tid, rest) = (tid.parse().expect("a thread id"), rest.trim_start());
        let bytes = rest.rsplit_once(" = ").and_then(|(_, result)| result.split(' ').next()?.parse().ok());
        let bytes = if rest.contains("mmsg") { bytes.map(|_| message_bytes(rest)) } else { bytes };
        // What was looked at stays where it was.
        let bytes = if rest.contains("MSG_PEEK") { None } else { bytes };
        if rest.starts_with("<... ") {
            let index = open.remove(&tid).expect("the beginning of a resumed call");
            calls[index].bytes = bytes;
            continue;
        }
        let Some((name, arguments)) = rest.split_once('(') else { continue };
        if rest.ends_with("<unfinished ...>") {
            open.insert(tid, calls.len());
        }
        calls.push(Call { tid, name: name.into(), bytes, arguments: arguments.into() });
    }
    calls
}

/// Bytes of the messages of a sendmmsg or recvmmsg, each of which says how many it has.
fn message_bytes(text: &str) -> u64 {
    let length = |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok();
    text.split("msg_len=").skip(1).filter_map(length).sum()
}

/// What perf's software and tracepoint counters say of a command, from its exec to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerfStat {
    /// Calls entered.
    pub syscalls: u64,
    /// Switches of both sorts.
    pub context_switches: u64,
    /// Minor faults.
    pub minor_faults: u64,
}

impl PerfStat {
    /// The words that make perf count a command into a file.
    pub fn command<S: AsRef<str>>(output: &Path, command: &[S]) -> Vec<String> {
        let output = output.to_str().expect("a UTF-8 path");
        let events = "raw_syscalls:sys_enter,context-switches,minor-faults";
        let words = ["perf", "stat", "-x", ",", "-o", output, "-e", events, "--"];
        words.into_iter().chain(command.iter().map(AsRef::as_ref)).map(Into::into).collect()
    }

    /// Reads perf's file.
    pub fn read(output: &Path) -> Self {
        parse_perf(&fs::read_to_string(output).expect("perf's output"))
    }
}

fn parse_perf(text: &str) -> PerfStat {
    let value = |event: &str| -> u64 {
        let line = text.lines().find(|line| line.split(',').nth(2) == Some(event));
        let count = line.and_then(|line| line.split(',').next()?.parse().ok());
        count.unwrap_or_else(|| panic!("no {event} in {text}"))
    };
    PerfStat {
        syscalls: value("raw_syscalls:sys_enter"),
        context_switches: value("context-switches"),
        minor_faults: value("minor-faults"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resumed_calls_are_one_call_with_the_result_of_their_end() {
        let log = "7 read(3,  <unfinished ...>\n\
                   8 write(4, \"\"..., 11) = 11\n\
                   7 <... read resumed>\"\"..., 4096) = 13\n\
                   7 read(3, 0x1, 4) = -1 EFAULT (Bad address)\n\
                   7 read(3, \"\", 4) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)\n";
        let trace = Strace { calls: parse(log) };
        assert_eq!(trace.sum(&["read"], |_| true), (3, 13));
        assert_eq!(trace.sum(&["write"], |tid| tid == 8), (1, 11));
        assert_eq!((trace.first_tid(), trace.count(7)), (7, 3));
    }

    #[test]
    fn calls_are_found_by_what_their_descriptors_are_open_to() {
        let log = "7 read(3</a>,  <unfinished ...>\n\
                   7 <... read resumed>\"\"..., 9) = 5\n\
                   7 read(3</a/b>, \"\"..., 9) = 9\n\
                   7 sendfile(4</b>, 3</a>, [0] => [7], 9) = 7\n";
        let trace = Strace { calls: parse(log) };
        assert_eq!(trace.on("/a", &["read"]), (1, 5));
        assert_eq!(trace.on("/b", &["read", "sendfile"]), (1, 7));
    }

    #[test]
    fn bytes_of_messages_are_in_the_messages() {
        let log = "7 sendmmsg(3, [{msg_hdr={msg_namelen=0}, msg_len=101}, {msg_hdr={}, msg_len=7}], 2, 0) = 2\n\
                   7 recvmmsg(3,  <unfinished ...>\n\
                   7 <... recvmmsg resumed>[{msg_hdr={}, msg_len=11}], 2, 0, NULL) = 1 (left {tv_sec=0})\n\
                   7 recvmmsg(3, 0x7f, 2, 0, NULL) = -1 EAGAIN (Resource temporarily unavailable)\n\
                   7 recvfrom(3, \"\"..., 11, MSG_PEEK, NULL, NULL) = 11\n\
                   7 recvfrom(3, \"\"..., 11, 0, NULL, NULL) = 5\n";
        let trace = Strace { calls: parse(log) };
        assert_eq!(trace.sum(&SENDS, |_| true), (1, 108));
        assert_eq!(trace.sum(&RECEIVES, |_| true), (4, 16));
    }

    #[test]
    fn perf_counts_are_found_by_event() {
        let text = "# started\n\n29,,raw_syscalls:sys_enter,44,100.00,,\n1,,context-switches,44,100.00,,\n50,,minor-faults,4,100.00,,\n";
        assert_eq!(parse_perf(text), PerfStat { syscalls: 29, context_switches: 1, minor_faults: 50 });
    }
}
