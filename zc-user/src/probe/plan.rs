//! Which hooks are tried on a kernel, by pure functions over what is known of it before anything is attached.

use std::borrow::Cow;

use zc_common::ring::Form;

use super::{
    btf::Layout,
    hook::{HOOKS, Hook, Method, On, When},
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wishes {
    /// Calls of every kind are counted.
    pub(super) count_calls: bool,
    /// Page faults are counted.
    pub(super) count_faults: bool,
    /// Processes that run already are traced.
    pub(super) attaches: bool,
}

/// What is done about a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is tried.
    Try,
    /// It is not, and nothing is missing without it, for this reason.
    Leave(Cow<'static, str>),
    /// It cannot be, for this reason.
    Cannot(Cow<'static, str>),
}

/// The functions that programs are attached to, and that others depend on.
pub(super) fn functions() -> impl Iterator<Item = &'static str> {
    HOOKS.iter().filter(|hook| hook.method == Method::Fexit).map(|hook| hook.name)
}

/// What is done about `hook` on a kernel of this layout. Without wishes everything that it has is tried.
pub(super) fn step(hook: &Hook, wishes: Option<Wishes>, layout: &Layout) -> Step {
    if let Some(reason) = elsewhere(hook, layout) {
        return Step::Leave(reason);
    }
    if let Some(reason) = wishes.and_then(|wishes| unwanted(hook, wishes)) {
        return Step::Leave(reason.into());
    }
    match useless(hook, layout) {
        Some(reason) => Step::Cannot(reason),
        None => Step::Try,
    }
}

/// Why another hook sees the same on this kernel, when it does.
fn elsewhere(hook: &Hook, layout: &Layout) -> Option<Cow<'static, str>> {
    match hook.on {
        On::Unpreempted(_) if layout.preemption.is_some() => {
            Some("its program could be preempted on this kernel; another hook sees the same".into())
        }
        On::Preempted if layout.preemption.is_none() => Some("this kernel preempts no programs".into()),
        On::With(other) if !layout.has_function(hook.name) && layout.has_function(other) => {
            Some(format!("this kernel has no such function; `{other}` is seen in its place").into())
        }
        On::Without(other) if layout.has_function(other) => {
            Some(format!("`{other}` does it on this kernel").into())
        }
        _ => None,
    }
}

/// Why a hook is left out, when it is.
fn unwanted(hook: &Hook, wishes: Wishes) -> Option<&'static str> {
    match hook.when {
        When::CountingCalls if !wishes.count_calls => Some("calls of every kind are not counted"),
        When::DataCallsOnly if wishes.count_calls => Some("sys_exit sees all calls"),
        When::CountingFaults if !wishes.count_faults => Some("page faults are not counted"),
        When::Attaching if !wishes.attaches => Some("only a command is traced, from its beginning"),
        _ => None,
    }
}

/// Why this kernel gives a hook nothing to look at, when it does not.
fn useless(hook: &Hook, layout: &Layout) -> Option<Cow<'static, str>> {
    let Layout { offsets, ring_arguments, .. } = layout;
    let reason = match hook.name {
        name if hook.method == Method::Fexit && !layout.has_function(name) => {
            "this kernel has no function of this name"
        }
        "filemap_read" | "shmem_file_read_iter" if offsets.iterator_pipe == u32::MAX => {
            "this kernel's types do not tell when a read is for a pipe"
        }
        "block_bio_queue" if offsets.task_ioac_read_bytes == 0 => {
            "this kernel does not count what storage delivers for a task; it was built without CONFIG_TASK_IO_ACCOUNTING"
        }
        "inet_sk_error_report" if offsets.sock_sk_zckey == 0 || offsets.ubuf_id == 0 => {
            "this kernel's types do not tell how sends with MSG_ZEROCOPY are numbered; Linux 6.0 and newer do"
        }
        "net_dev_start_xmit" | "inet_sock_set_state" if !sees_transmissions(layout) => {
            "this kernel's types do not tell what is in the buffers that devices are given; please report this"
        }
        "task"
            if [offsets.task_thread_pid, offsets.pid_level, offsets.pid_numbers, offsets.upid_ns]
                .contains(&0) =>
        {
            "this kernel's types do not tell how processes are called in a PID namespace; please report this"
        }
        name if name.starts_with("io_uring") && offsets.io_kiocb_opcode == 0 => {
            "this kernel has no io_uring; it was built without CONFIG_IO_URING"
        }
        "io_uring_complete" if Form::of(*ring_arguments).is_none() => {
            "this kernel passes completions in a form that zc does not know; please report this"
        }
        _ => return None,
    };
    Some(reason.into())
}

/// Whether everything is known that it takes to tell what devices are given.
pub(super) fn sees_transmissions(layout: &Layout) -> bool {
    let at = &layout.offsets;
    let members = [
        at.sock_skc_state,
        at.sock_sk_lock_owned,
        at.tcp_write_seq,
        at.skb_sk,
        at.skb_head,
        at.skb_end,
        at.skb_len,
        at.skb_data_len,
        at.skb_data,
        at.skb_transport_header,
        at.skb_shared_nr_frags,
        at.skb_shared_frags,
        at.device_features,
        at.device_ptype_all,
        at.device_rtnl_link_ops,
        at.link_kind,
        at.page_compound_head,
        at.page_mapping,
    ];
    members.iter().all(|&offset| offset != 0)
}

#[cfg(test)]
mod tests;
