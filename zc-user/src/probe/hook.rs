//! The list of hooks: one entry for each kernel program, with what it is for and how it is attached.

/// How a program hangs on the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A typed raw tracepoint (`tp_btf`, Linux 5.5).
    TpBtf,
    /// Stable tracepoints through perf events.
    Tracepoint,
    /// A function of the kernel, when it has returned (Linux 5.5).
    Fexit,
    /// An iterator, run over what there is when it is asked for (Linux 5.8).
    Iterator,
}

impl Method {
    /// The name that the report uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::Tracepoint => "tracepoint",
            Self::Fexit => "fexit",
            Self::Iterator => "iterator",
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
    /// When processes that run already are to be traced.
    Attaching,
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
    /// Where the kernel has the function. Elsewhere the hook of this name takes its place.
    With(&'static str),
    /// Where the kernel does not have this function, as it did the same in another way then.
    Without(&'static str),
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
    /// category when that is not `syscalls`; one function; what an iterator goes over.
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
        name: "swiotlb_bounced",
        program: "zc_bounce",
        method: Method::TpBtf,
        targets: &["swiotlb_bounced"],
        when: When::Always,
        on: On::All,
        required: false,
        purpose: "what drivers copy for devices that do not reach it (bounce buffers)",
    },
    Hook {
        name: "skb_copy_datagram_iovec",
        program: "zc_received",
        method: Method::TpBtf,
        targets: &["skb_copy_datagram_iovec"],
        when: When::Always,
        on: On::All,
        required: false,
        purpose: "what is copied to who reads from sockets",
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
        name: "generic_perform_write",
        program: "zc_written",
        method: Method::Fexit,
        targets: &["generic_perform_write"],
        when: When::Always,
        on: On::All,
        required: false,
        purpose: "copies to files by sendfile, splice and copy_file_range",
    },
    Hook {
        name: "iomap_file_buffered_write",
        program: "zc_written_iomap",
        method: Method::Fexit,
        targets: &["iomap_file_buffered_write"],
        when: When::Always,
        on: On::All,
        required: false,
        purpose: "the same on file systems such as XFS",
    },
    Hook {
        name: "filemap_splice_read",
        program: "zc_came_file",
        method: Method::Fexit,
        targets: &["filemap_splice_read"],
        when: When::Always,
        on: On::With("filemap_read"),
        required: false,
        purpose: "pages of files that such calls take by reference",
    },
    Hook {
        name: "filemap_read",
        program: "zc_came_iterator",
        method: Method::Fexit,
        targets: &["filemap_read"],
        when: When::Always,
        on: On::Without("filemap_splice_read"),
        required: false,
        purpose: "pages of files that such calls take by reference",
    },
    Hook {
        name: "shmem_file_splice_read",
        program: "zc_came_shmem",
        method: Method::Fexit,
        targets: &["shmem_file_splice_read"],
        when: When::Always,
        on: On::With("shmem_file_read_iter"),
        required: false,
        purpose: "the same on tmpfs",
    },
    Hook {
        name: "shmem_file_read_iter",
        program: "zc_came_shmem_iterator",
        method: Method::Fexit,
        targets: &["shmem_file_read_iter"],
        when: When::Always,
        on: On::Without("shmem_file_splice_read"),
        required: false,
        purpose: "the same on tmpfs",
    },
    Hook {
        name: "skb_splice_from_iter",
        program: "zc_handed",
        method: Method::Fexit,
        targets: &["skb_splice_from_iter"],
        when: When::Always,
        on: On::With("skb_append_pagefrags"),
        required: false,
        purpose: "pages that Unix sockets take by reference",
    },
    Hook {
        name: "skb_append_pagefrags",
        program: "zc_handed_page",
        method: Method::Fexit,
        targets: &["skb_append_pagefrags"],
        when: When::Always,
        on: On::Without("skb_splice_from_iter"),
        required: false,
        purpose: "pages that Unix sockets take by reference",
    },
    Hook {
        name: "generic_remap_file_range_prep",
        program: "zc_shared",
        method: Method::Fexit,
        targets: &["generic_remap_file_range_prep"],
        when: When::Always,
        on: On::All,
        required: false,
        purpose: "extents that copy_file_range shares (reflinks)",
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
    Hook {
        name: "task",
        program: "zc_attach",
        method: Method::Iterator,
        targets: &["task"],
        when: When::Attaching,
        on: On::All,
        // `zc run` can do without; whoever attaches cannot.
        required: false,
        purpose: "processes that run already",
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
    fn a_function_has_another_in_its_place_exactly_where_it_is_missing() {
        let named = |name: &str| HOOKS.iter().find(|hook| hook.name == name).expect("a hook");
        for hook in HOOKS {
            if let On::With(other) = hook.on {
                assert_eq!((named(other).on, named(other).purpose), (On::Without(hook.name), hook.purpose));
            }
            if let On::Without(other) = hook.on {
                assert_eq!(named(other).on, On::With(hook.name));
            }
            if hook.method == Method::Fexit {
                assert_eq!((hook.targets, hook.required), (&[hook.name][..], false), "{}", hook.name);
            }
        }
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
