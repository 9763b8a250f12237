//! The list of hooks: one entry for each kernel program, with what it is for and how it is attached.

/// How a program hangs on the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A typed raw tracepoint (`tp_btf`, Linux 5.5).
    TpBtf,
    /// Stable tracepoints through perf events.
    Tracepoint,
}

impl Method {
    /// The name that the report uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::Tracepoint => "tracepoint",
        }
    }
}

/// When a hook is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// When calls of every kind are counted.
    CountingCalls,
    /// When only the calls that move bytes are seen.
    DataCallsOnly,
    /// When page faults are counted.
    CountingFaults,
}

/// On which kernels a hook is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// On all that have it.
    All,
    /// Where no other thread can come to the CPU while its program runs. Elsewhere the hook of this name takes its place.
    Unpreempted(&'static str),
    /// Where programs of the other methods could be preempted (Linux 7.0).
    Preempted,
}

/// One hook.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// The name in reports: that of the tracepoint, or of a family of them.
    pub name: &'static str,
    /// The kernel program, by its name in the object.
    pub program: &'static str,
    /// How it is attached.
    pub method: Method,
    /// Where it is attached: one tracepoint, by its name and by the one that it had before; stable ones, each after its
    /// category when that is not `syscalls`.
    pub targets: &'static [&'static str],
    /// When.
    pub when: When,
    /// On which kernels.
    pub on: On,
    /// Without it there is nothing to report.
    pub required: bool,
    /// What is missing from the report without it.
    pub purpose: &'static str,
}

/// Calls that move bytes, by their tracepoints of the category `syscalls`.
const DATA_CALLS: &[&str] = &[
    "sys_exit_read",
    "sys_exit_pread64",
    "sys_exit_readv",
    "sys_exit_preadv",
    "sys_exit_preadv2",
    "sys_exit_write",
    "sys_exit_pwrite64",
    "sys_exit_writev",
    "sys_exit_pwritev",
    "sys_exit_pwritev2",
    "sys_exit_sendfile64",
    "sys_exit_copy_file_range",
    "sys_exit_splice",
    "sys_exit_tee",
    "sys_exit_vmsplice",
    "sys_exit_ioctl",      // clones
    "sys_exit_getsockopt", // TCP_ZEROCOPY_RECEIVE
    "sys_exit_io_submit",
    "sys_exit_io_getevents",
    "sys_exit_io_pgetevents",
    "sys_exit_sendto",
    "sys_exit_recvfrom",
    "sys_exit_sendmsg",
    "sys_exit_recvmsg",
    "sys_exit_sendmmsg",
    "sys_exit_recvmmsg",
    "sys_exit_process_vm_readv",
    "sys_exit_process_vm_writev",
    // They change what is mapped, and so what later writes come from.
    "sys_exit_mmap",
    "sys_exit_mprotect",
    "sys_exit_munmap",
    "sys_exit_mremap",
    "sys_exit_shmat",
    "sys_exit_shmdt",
    "sys_exit_remap_file_pages",
    "sys_exit_pkey_mprotect",
];

/// Every hook, in the order in which they are attached: what ends things before what begins them, so that
/// nothing begins whose end would not be seen.
pub const HOOKS: &[Hook] = &[
    Hook {
        name: "sched_process_exit",
        program: "zc_exit",
        method: Method::TpBtf,
        targets: &["sched_process_exit"],
        when: When::Always,
        on: On::Unpreempted("sched:sched_process_exit"),
        required: true,
        purpose: "processes that end",
    },
    Hook {
        name: "sched:sched_process_exit",
        program: "zc_exit_unpreempted",
        method: Method::Tracepoint,
        targets: &["sched:sched_process_exit"],
        when: When::Always,
        on: On::Preempted,
        required: true,
        purpose: "processes that end",
    },
    Hook {
        name: "sys_exit",
        program: "zc_sys_exit",
        method: Method::TpBtf,
        targets: &["sys_exit"],
        when: When::CountingCalls,
        on: On::Unpreempted("raw_syscalls:sys_exit"),
        required: true,
        purpose: "the ends of all calls: transfers, and the number of calls",
    },
    Hook {
        name: "syscalls:sys_exit_*",
        program: "zc_exit_data",
        method: Method::Tracepoint,
        targets: DATA_CALLS,
        when: When::DataCallsOnly,
        on: On::Unpreempted("raw_syscalls:sys_exit"),
        required: true,
        purpose: "the ends of the calls that move bytes: transfers",
    },
    Hook {
        name: "raw_syscalls:sys_exit",
        program: "zc_exit_data",
        method: Method::Tracepoint,
        targets: &["raw_syscalls:sys_exit"],
        when: When::Always,
        on: On::Preempted,
        required: true,
        purpose: "the ends of all calls, by a program that is not preempted",
    },
    Hook {
        name: "sched_switch",
        program: "zc_sched_switch",
        method: Method::TpBtf,
        targets: &["sched_switch"],
        when: When::Always,
        on: On::All,
        required: false,
        purpose: "the context switches within the calls of a path",
    },
    Hook {
        name: "page_fault_kernel",
        program: "zc_fault_kernel",
        method: Method::TpBtf,
        targets: &["page_fault_kernel"],
        when: When::CountingFaults,
        on: On::All,
        required: false,
        purpose: "the page faults within the calls of a path",
    },
    Hook {
        name: "page_fault_user",
        program: "zc_fault_user",
        method: Method::TpBtf,
        targets: &["page_fault_user"],
        when: When::CountingFaults,
        on: On::All,
        required: false,
        purpose: "the mode switches by page faults",
    },
    Hook {
        name: "block_bio_queue",
        program: "zc_storage",
        method: Method::TpBtf,
        targets: &["block_bio_queue"],
        when: When::Always,
        on: On::All,
        required: false,
        purpose: "what storage had to deliver for the calls of a path",
    },
    Hook {
        name: "inet_sk_error_report",
        program: "zc_zerocopy_report",
        method: Method::TpBtf,
        targets: &["inet_sk_error_report"],
        when: When::Always,
        on: On::All,
        required: false,
        purpose: "what the kernel reports on sends with MSG_ZEROCOPY",
    },
    Hook {
        name: "inet_sock_set_state",
        program: "zc_connection",
        method: Method::TpBtf,
        targets: &["inet_sock_set_state"],
        when: When::Always,
        on: On::All,
        required: false,
        purpose: "the ends of connections, for what leaves on them",
    },
    Hook {
        name: "net_dev_start_xmit",
        program: "zc_transmission",
        method: Method::TpBtf,
        targets: &["net_dev_start_xmit"],
        when: When::Always,
        on: On::All,
        required: false,
        purpose: "what memory devices are given to send: copies or pages by reference",
    },
    Hook {
        name: "io_uring_complete",
        program: "zc_ring_complete",
        method: Method::TpBtf,
        targets: &["io_uring_complete"],
        when: When::Always,
        on: On::All,
        required: false,
        purpose: "what requests in rings (io_uring) moved",
    },
    Hook {
        name: "io_uring_submit_req",
        program: "zc_ring_submit",
        method: Method::TpBtf,
        targets: &["io_uring_submit_req", "io_uring_submit_sqe"],
        when: When::Always,
        on: On::All,
        required: false,
        purpose: "what requests in rings move that go on after a completion",
    },
    Hook {
        name: "io_uring_cqe_overflow",
        program: "zc_ring_overflow",
        method: Method::TpBtf,
        targets: &["io_uring_cqe_overflow"],
        when: When::Always,
        on: On::All,
        required: false,
        purpose: "knowing that a ring was too small for its completions",
    },
    Hook {
        name: "mm_filemap_map_pages",
        program: "zc_map_pages",
        method: Method::TpBtf,
        targets: &["mm_filemap_map_pages"],
        when: When::CountingFaults,
        on: On::Unpreempted("filemap:mm_filemap_map_pages"),
        required: false,
        purpose: "pages of files that are mapped around a touched one",
    },
    Hook {
        name: "filemap:mm_filemap_map_pages",
        program: "zc_map_pages_unpreempted",
        method: Method::Tracepoint,
        targets: &["filemap:mm_filemap_map_pages"],
        when: When::CountingFaults,
        on: On::Preempted,
        required: false,
        purpose: "pages of files that are mapped around a touched one",
    },
    Hook {
        name: "sched_process_exec",
        program: "zc_exec",
        method: Method::TpBtf,
        targets: &["sched_process_exec"],
        when: When::Always,
        on: On::All,
        required: true,
        purpose: "the beginning of the command, and programs that processes run",
    },
    Hook {
        name: "sched_process_fork",
        program: "zc_fork",
        method: Method::TpBtf,
        targets: &["sched_process_fork"],
        when: When::Always,
        on: On::All,
        required: true,
        purpose: "children",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_hook_sees_the_ends_of_calls_whichever_way_is_chosen() {
        let ends: Vec<&Hook> = HOOKS.iter().filter(|hook| hook.name.contains("sys_exit")).collect();
        for when in [When::CountingCalls, When::DataCallsOnly] {
            assert_eq!(ends.iter().filter(|hook| hook.when == when).count(), 1);
        }
        assert_eq!(ends.iter().filter(|hook| hook.on == On::Preempted).count(), 1);
    }

    #[test]
    fn what_takes_the_place_of_another_hook_is_there_when_that_is_not() {
        for hook in HOOKS {
            if let On::Unpreempted(other) = hook.on {
                let other = HOOKS.iter().find(|hook| hook.name == other).expect("a hook");
                assert_eq!((other.on, other.required), (On::Preempted, hook.required));
            }
        }
    }

    #[test]
    fn every_hook_is_documented_with_its_program_and_its_targets() {
        const TEXT: &str = include_str!("../../../docs/hooks.md");
        for Hook { name, program, method, targets, .. } in HOOKS {
            let start = format!("| `{name}` | `{program}` | {} |", method.name());
            assert!(TEXT.lines().any(|line| line.starts_with(&start)), "no line of the table: {start}");
            for target in *targets {
                // Of a family, the document names the members by what differs.
                let member = name.split_once(':').map_or("", |(_, family)| family.trim_end_matches('*'));
                let target = target.strip_prefix(member).unwrap_or(target);
                assert!(TEXT.contains(&format!("`{target}`")), "{target} of {name}");
            }
        }
    }

    #[test]
    fn counters_that_user_space_adds_are_documented() {
        const TEXT: &str = include_str!("../../../docs/output.md");
        for counter in ["missed_runs", "malformed_records"] {
            let start = format!("| `{counter}` |");
            assert!(TEXT.lines().any(|line| line.starts_with(&start)), "no line of the table: {start}");
        }
    }
}
