//! Offsets of structure members, from the running kernel's BTF.

mod types;

use std::path::Path;

use zc_common::config::Offsets;

use self::types::{Types, Wanted};
use super::plan;

/// Where the kernel shows its own types (`CONFIG_DEBUG_INFO_BTF`, Linux 5.4).
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Why offsets could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file is not there or cannot be read.
    #[error(
        "cannot read {path}: {source}; zc takes the layout of kernel structures from there, so it needs a \
         kernel built with CONFIG_DEBUG_INFO_BTF=y (every major distribution since 2020)"
    )]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not BTF.
    #[error("{path} is not BTF that zc understands: {message}; please report this")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong with it.
        message: &'static str,
    },
    /// A structure or a member that zc needs is not in this kernel.
    #[error(
        "this kernel has no member `{member}` in `struct {structure}`: it is newer or older than what zc \
         knows; please report this with the output of `uname -r`"
    )]
    NoMember {
        /// The structure.
        structure: &'static str,
        /// The member, by its path of names.
        member: &'static str,
    },
}

/// What the kernel's types say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Where members are.
    pub offsets: Offsets,
    /// How many arguments the tracepoint `io_uring_complete` has; 0 when there is none.
    pub ring_arguments: u32,
    /// Whether the tracepoint `io_uring_submit_req` is there by its name before Linux 6.4, with the request as its first
    /// argument.
    pub has_submit_sqe: bool,
    /// How to read kernel memory without a helper, where this kernel allows it.
    pub cast: Option<Cast>,
    /// How programs keep other threads off their CPU, where this kernel does not do so by itself.
    pub preemption: Option<Preemption>,
    /// Which of [`plan::functions`] this kernel has, in their order, from the lowest bit on.
    pub functions: u32,
}

impl Layout {
    /// Whether the kernel has a function, if it is one of [`plan::functions`].
    pub fn has_function(&self, name: &str) -> bool {
        let index = plan::functions().position(|function| function == name);
        index.is_some_and(|index| self.functions >> index & 1 != 0)
    }

    /// The same, with exactly these functions.
    #[cfg(test)]
    pub(crate) fn with_functions(self, names: &[&str]) -> Self {
        Self { functions: bits(|function| names.contains(&function)), ..self }
    }
}

/// A bit for each function that is there.
fn bits(is_there: impl Fn(&str) -> bool) -> u32 {
    plan::functions().enumerate().map(|(index, function)| u32::from(is_there(function)) << index).sum()
}

/// `bpf_rdonly_cast` (Linux 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    /// The BTF id of the function.
    pub function: u32,
    /// That of a structure that begins with a number as wide as a register.
    pub word_type: u32,
    /// Those of `task_struct`, `mm_struct`, `files_struct` and `fs_struct`.
    pub pointed: [u32; 4],
}

/// `bpf_preempt_disable` and `bpf_preempt_enable` (Linux 6.10), by their BTF ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preemption {
    /// Of the first.
    pub disable: u32,
    /// Of the second.
    pub enable: u32,
}

const PREEMPT_DISABLE: &str = "bpf_preempt_disable";
const PREEMPT_ENABLE: &str = "bpf_preempt_enable";

/// What the kernel waits for before it frees a tracepoint's list. It has this member since tracepoints leave preemption on
/// (Linux 7.0, `tracepoint_srcu`).
const PREEMPTIBLE: (&str, &str) = ("tp_transition_snapshot", "srcu_gp");

const CAST: &str = "bpf_rdonly_cast";

/// [`Cast::pointed`]
const POINTED: [&str; 4] = ["task_struct", "mm_struct", "files_struct", "fs_struct"];

/// An array of `unsigned long`, of at least one (`include/linux/cpumask_types.h`).
const WORD: &str = "cpumask";

/// The type of what is called at the tracepoint `io_uring_complete`.
const RING_COMPLETE: &str = "btf_trace_io_uring_complete";

/// That of `io_uring_submit_sqe(struct io_kiocb *req, bool force_nonblock)`. It had more arguments at first.
const RING_SUBMIT: &str = "btf_trace_io_uring_submit_sqe";
const RING_SUBMIT_ARGUMENTS: u32 = 2;

/// Reads everything that the kernel programs need to know from the BTF file at `path`.
pub fn read_layout(path: &Path) -> Result<Layout, BtfError> {
    let name = || path.display().to_string();
    let file = std::fs::read(path).map_err(|source| BtfError::Unreadable { path: name(), source })?;
    let mut structures: Vec<&str> =
        MEMBERS.iter().chain(OPTIONAL).map(|&(structure, ..)| structure).collect();
    structures.extend([WORD, PREEMPTIBLE.0]);
    let enumerations: Vec<&str> = ENUMERATORS.iter().map(|&(enumeration, ..)| enumeration).collect();
    let functions: Vec<&str> =
        [CAST, PREEMPT_DISABLE, PREEMPT_ENABLE].into_iter().chain(plan::functions()).collect();
    let wanted = Wanted {
        structures: &structures,
        typedefs: &[RING_COMPLETE, RING_SUBMIT],
        functions: &functions,
        enumerations: &enumerations,
    };
    let types =
        Types::new(&file, &wanted).map_err(|message| BtfError::Malformed { path: name(), message })?;
    let mut offsets = Offsets::default();
    for &(structure, member, ref field) in MEMBERS {
        let missing = || BtfError::NoMember { structure, member };
        *field(&mut offsets) = types.offset_of(structure, member).ok_or_else(missing)?;
    }
    for &(structure, member, ref field) in OPTIONAL {
        let newer = RENAMED.iter().find(|&&(of, old, _)| (of, old) == (structure, member));
        let by_newer = || newer.and_then(|&(of, _, new)| types.offset_of(of, new));
        *field(&mut offsets) = types.offset_of(structure, member).or_else(by_newer).unwrap_or(0);
    }
    for &(enumeration, enumerator, ref field) in ENUMERATORS {
        *field(&mut offsets) = types.value_of(enumeration, enumerator).unwrap_or(u32::MAX);
    }
    // The first is the program's own.
    let arguments = |typedef| types.arguments_of(typedef).unwrap_or(0).saturating_sub(1);
    let ring_arguments = arguments(RING_COMPLETE);
    let has_submit_sqe = arguments(RING_SUBMIT) == RING_SUBMIT_ARGUMENTS;
    let cast = types.function(CAST).zip(types.structure(WORD));
    let pointed = POINTED.map(|structure| types.structure(structure).unwrap_or(0));
    let cast = cast.map(|(function, word_type)| Cast { function, word_type, pointed });
    let is_preemptible = types.offset_of(PREEMPTIBLE.0, PREEMPTIBLE.1).is_some();
    let preemption = types.function(PREEMPT_DISABLE).zip(types.function(PREEMPT_ENABLE));
    let preemption =
        preemption.filter(|_| is_preemptible).map(|(disable, enable)| Preemption { disable, enable });
    let functions = bits(|function| types.function(function).is_some());
    Ok(Layout { offsets, ring_arguments, has_submit_sqe, cast, preemption, functions })
}

type Field = fn(&mut Offsets) -> &mut u32;

macro_rules! members {
    ($($structure:literal . $member:literal => $field:ident),* $(,)?) => {
        &[$(($structure, $member, (|offsets| &mut offsets.$field) as Field)),*]
    };
}

/// Where each field of [`Offsets`] comes from. Members of the registers are those of x86-64.
const MEMBERS: &[(&str, &str, Field)] = members![
    "task_struct"."thread_info.status" => task_thread_info_status,
    "task_struct"."flags" => task_flags,
    "task_struct"."pid" => task_pid,
    "task_struct"."tgid" => task_tgid,
    "task_struct"."group_leader" => task_group_leader,
    "task_struct"."real_parent" => task_real_parent,
    "task_struct"."start_boottime" => task_start_boottime,
    "task_struct"."nvcsw" => task_nvcsw,
    "task_struct"."nivcsw" => task_nivcsw,
    "task_struct"."min_flt" => task_min_flt,
    "task_struct"."maj_flt" => task_maj_flt,
    "task_struct"."files" => task_files,
    "task_struct"."fs" => task_fs,
    "task_struct"."mm" => task_mm,
    "task_struct"."comm" => task_comm,
    "task_struct"."exit_code" => task_exit_code,
    "task_struct"."self_exec_id" => task_self_exec_id,
    "files_struct"."fdt" => files_fdt,
    "fdtable"."max_fds" => fdtable_max_fds,
    "fdtable"."fd" => fdtable_fd,
    "file"."f_inode" => file_f_inode,
    "file"."f_flags" => file_f_flags,
    "file"."f_path.mnt" => file_f_path_mnt,
    "file"."f_path.dentry" => file_f_path_dentry,
    "file"."private_data" => file_private_data,
    "inode"."i_mode" => inode_i_mode,
    "inode"."i_sb" => inode_i_sb,
    "inode"."i_ino" => inode_i_ino,
    "inode"."i_rdev" => inode_i_rdev,
    "inode"."i_generation" => inode_i_generation,
    "inode"."i_pipe" => inode_i_pipe,
    "pipe_inode_info"."head" => pipe_head,
    "pipe_inode_info"."tail" => pipe_tail,
    "pipe_inode_info"."ring_size" => pipe_ring_size,
    "pipe_inode_info"."bufs" => pipe_bufs,
    "pipe_buffer"."len" => pipe_buffer_len,
    "pipe_buffer"."private" => pipe_buffer_private,
    "inode"."i_size" => inode_i_size,
    "super_block"."s_dev" => super_s_dev,
    "address_space"."host" => mapping_host,
    "super_block"."s_magic" => super_s_magic,
    "dentry"."d_parent" => dentry_d_parent,
    "dentry"."d_name.name" => dentry_d_name_name,
    "dentry"."d_hash.pprev" => dentry_d_hash_pprev,
    "vfsmount"."mnt_root" => vfsmount_mnt_root,
    "mount"."mnt" => mount_mnt,
    "mount"."mnt_parent" => mount_mnt_parent,
    "mount"."mnt_mountpoint" => mount_mnt_mountpoint,
    "fs_struct"."root.mnt" => fs_root_mnt,
    "fs_struct"."root.dentry" => fs_root_dentry,
    "mm_struct"."arg_start" => mm_arg_start,
    "mm_struct"."arg_end" => mm_arg_end,
    "mm_struct"."exe_file" => mm_exe_file,
    "mm_struct"."pgd" => mm_pgd,
    "mm_struct"."mm_mt.ma_root" => mm_mt_root,
    "maple_range_64"."pivot" => node_range_pivot,
    "maple_range_64"."slot" => node_range_slot,
    "maple_arange_64"."pivot" => node_allocation_pivot,
    "maple_arange_64"."slot" => node_allocation_slot,
    "vm_area_struct"."vm_start" => vma_vm_start,
    "vm_area_struct"."vm_end" => vma_vm_end,
    "vm_area_struct"."vm_flags" => vma_vm_flags,
    "vm_area_struct"."vm_file" => vma_vm_file,
    "vm_area_struct"."anon_vma" => vma_anon_vma,
    "socket"."sk" => socket_sk,
    "sock"."sk_type" => sock_sk_type,
    "sock"."sk_protocol" => sock_sk_protocol,
    "sock"."__sk_common.skc_family" => sock_skc_family,
    "sock"."__sk_common.skc_flags" => sock_skc_flags,
    "sock"."__sk_common.skc_daddr" => sock_skc_daddr,
    "sock"."__sk_common.skc_rcv_saddr" => sock_skc_rcv_saddr,
    "sock"."__sk_common.skc_dport" => sock_skc_dport,
    "sock"."__sk_common.skc_num" => sock_skc_num,
    "sock"."__sk_common.skc_v6_daddr" => sock_skc_v6_daddr,
    "sock"."__sk_common.skc_v6_rcv_saddr" => sock_skc_v6_rcv_saddr,
    "pt_regs"."orig_ax" => regs_number,
    "pt_regs"."ax" => regs_result,
    "pt_regs"."ip" => regs_ip,
    "pt_regs"."sp" => regs_sp,
    "pt_regs"."di" => regs_arg0,
    "pt_regs"."si" => regs_arg1,
    "pt_regs"."dx" => regs_arg2,
    "pt_regs"."r10" => regs_arg3,
    "pt_regs"."r8" => regs_arg4,
    "pt_regs"."r9" => regs_arg5,
];

/// Members that some kernels do not have. None of them is the first of its structure where it matters, so 0 says that
/// it is missing.
const OPTIONAL: &[(&str, &str, Field)] = members![
    // CONFIG_TASK_IO_ACCOUNTING
    "task_struct"."ioac.read_bytes" => task_ioac_read_bytes,
    "task_struct"."bio_list" => task_bio_list,
    // How a process is called in a PID namespace.
    "task_struct"."thread_pid" => task_thread_pid,
    "pid"."level" => pid_level,
    "pid"."numbers" => pid_numbers,
    "upid"."ns" => upid_ns,
    // Together since Linux 5.12.
    "bio"."bi_bdev" => bio_bi_bdev,
    "bio"."bi_opf" => bio_bi_opf,
    "bio"."bi_flags" => bio_bi_flags,
    "bio"."bi_iter.bi_size" => bio_bi_size,
    "bio"."bi_io_vec" => bio_bi_io_vec,
    // CONFIG_BLK_INLINE_ENCRYPTION
    "bio"."bi_crypt_context" => bio_bi_crypt_context,
    "block_device"."bd_disk" => bdev_bd_disk,
    "block_device"."bd_device.parent" => bdev_parent,
    "gendisk"."part0" => gendisk_part0,
    "gendisk"."fops" => gendisk_fops,
    "page"."compound_head" => page_compound_head,
    "page"."mapping" => page_mapping,
    // What is spliced out of a socket and had to be copied, is here.
    "task_struct"."task_frag" => task_task_frag,
    "sock"."sk_frag" => sock_sk_frag,
    // What is given to devices to send.
    "sock"."__sk_common.skc_state" => sock_skc_state,
    "sock"."sk_lock.owned" => sock_sk_lock_owned,
    "tcp_sock"."write_seq" => tcp_write_seq,
    // TLS in the kernel.
    "inet_connection_sock"."icsk_ulp_ops" => icsk_ulp_ops,
    "inet_connection_sock"."icsk_ulp_data" => icsk_ulp_data,
    "tcp_ulp_ops"."name" => ulp_name,
    // In one byte with `rx_conf`, since Linux 4.19.
    "tls_context"."tx_conf" => tls_conf,
    "sk_buff"."len" => skb_len,
    "sk_buff"."data_len" => skb_data_len,
    "sk_buff"."data" => skb_data,
    "sk_buff"."transport_header" => skb_transport_header,
    "skb_shared_info"."nr_frags" => skb_shared_nr_frags,
    "skb_shared_info"."frags" => skb_shared_frags,
    "net_device"."features" => device_features,
    "net_device"."ptype_all" => device_ptype_all,
    "net_device"."rtnl_link_ops" => device_rtnl_link_ops,
    "rtnl_link_ops"."kind" => link_kind,
    // Bounce buffers: CONFIG_SWIOTLB; the second pair since Linux 5.17.
    "net_device"."dev.parent" => device_dev_parent,
    "device"."parent" => device_parent,
    "device"."bus" => device_bus,
    "device"."dma_io_tlb_mem" => device_io_tlb_mem,
    "io_tlb_mem"."force_bounce" => io_tlb_force_bounce,
    "bus_type"."name" => bus_name,
    "pci_dev"."dev" => pci_dev_dev,
    "pci_dev"."class" => pci_dev_class,
    // What zero-copy sends are numbered and reported by; together since Linux 6.0.
    "sock"."sk_zckey" => sock_sk_zckey,
    "sock"."sk_socket" => sock_sk_socket,
    "sock"."sk_error_queue" => sock_sk_error_queue,
    "sock"."sk_write_queue" => sock_sk_write_queue,
    "sk_buff_head"."prev" => queue_prev,
    "socket_alloc"."vfs_inode" => socket_alloc_inode,
    "sk_buff"."sk" => skb_sk,
    "sk_buff"."cb" => skb_cb,
    "sk_buff"."head" => skb_head,
    "sk_buff"."end" => skb_end,
    "skb_shared_info"."destructor_arg" => skb_shared_destructor_arg,
    "sock_exterr_skb"."ee" => skb_error_ee,
    "sk_buff"."tcp_tsorted_anchor" => skb_tsorted_anchor,
    "tcp_sock"."tsorted_sent_queue" => tcp_tsorted_sent_queue,
    "ubuf_info_msgzc"."id" => ubuf_id,
    "ubuf_info_msgzc"."len" => ubuf_len,
    // CONFIG_IO_URING
    "io_kiocb"."opcode" => io_kiocb_opcode,
    "io_kiocb"."flags" => io_kiocb_flags,
    "io_kiocb"."ctx" => io_kiocb_ctx,
    "io_kiocb"."cqe.user_data" => io_kiocb_cqe_user_data,
    "io_kiocb"."cqe.fd" => io_kiocb_cqe_fd,
    "io_kiocb"."async_data" => io_kiocb_async_data,
    "io_ring_ctx"."submit_state.link.head" => io_ring_ctx_submit_state_link_head,
    // Linux 6.13
    "io_ring_ctx"."file_table.data.nodes" => io_ring_ctx_file_table_data_nodes,
    "io_ring_ctx"."file_table.data.nr" => io_ring_ctx_file_table_data_nr,
    "io_rsrc_node"."file_ptr" => io_rsrc_node_file_ptr,
    "io_splice"."rsrc_node" => io_splice_rsrc_node,
    // Before.
    "io_ring_ctx"."file_table.files" => io_ring_ctx_file_table_files,
    "io_ring_ctx"."nr_user_files" => io_ring_ctx_nr_user_files,
    // Types of files of the kernel's own that other files do not know.
    "io_splice"."splice_fd_in" => io_splice_splice_fd_in,
    "io_splice"."flags" => io_splice_flags,
    "io_rw"."addr" => io_rw_addr,
    "io_sr_msg"."buf" => io_sr_msg_buf,
    "io_sr_msg"."done_io" => io_sr_msg_done_io,
    "io_sr_msg"."len" => io_sr_msg_len,
    "io_sr_msg"."flags" => io_sr_msg_flags,
    "iov_iter"."iter_type" => iterator_type,
    "io_async_msghdr"."msg.msg_iter.iter_type" => io_async_msghdr_msg_msg_iter_iter_type,
    "io_async_msghdr"."msg.msg_iter.ubuf" => io_async_msghdr_msg_msg_iter_ubuf,
];

/// Structures, members of [`OPTIONAL`], and what newer kernels call them.
const RENAMED: &[(&str, &str, &str)] = &[
    // Linux 7.1; what is in it is another thing, too: see `zc_common::folio`.
    ("page", "compound_head", "compound_info"),
];

/// Values of enumerations; all ones where the kernel does not have it.
const ENUMERATORS: &[(&str, &str, Field)] = members![
    "sock_flags"."SOCK_ZEROCOPY" => sock_zerocopy_bit,
    "iter_type"."ITER_PIPE" => iterator_pipe,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_member() {
        assert_eq!(
            (MEMBERS.len() + OPTIONAL.len() + ENUMERATORS.len()) * size_of::<u32>(),
            size_of::<Offsets>()
        );
    }

    #[test]
    fn no_field_is_filled_twice() {
        let mut offsets = Offsets::default();
        for (.., field) in MEMBERS.iter().chain(OPTIONAL).chain(ENUMERATORS) {
            *field(&mut offsets) += 1;
        }
        for (structure, member, field) in MEMBERS.iter().chain(OPTIONAL).chain(ENUMERATORS) {
            assert_eq!(*field(&mut offsets), 1, "{structure}.{member}");
        }
    }

    /// The lines of the table of members that are about a structure; lines without a name go on with the
    /// structures above them.
    fn documented(structure: &str) -> String {
        const TEXT: &str = include_str!("../../../docs/hooks.md");
        let (_, table) = TEXT.split_once("## Kernel fields").expect("the section on members");
        let mut about = false;
        let mut lines = String::new();
        for line in table.lines().filter_map(|line| line.strip_prefix('|')) {
            let (structures, members) = line.split_once('|').expect("more than one cell");
            if !structures.trim().is_empty() {
                about = structures.contains(&format!("`{structure}`"));
            }
            if about {
                lines.push_str(members);
            }
        }
        lines
    }

    #[test]
    fn every_member_is_documented_with_its_structure() {
        for (structure, member, _) in MEMBERS.iter().chain(OPTIONAL).chain(ENUMERATORS) {
            let lines = documented(structure);
            let last = member.rsplit('.').next().unwrap_or(member);
            let named = [format!("`{last}`"), format!(".{last}`")].iter().any(|name| lines.contains(name));
            assert!(named, "docs/hooks.md does not name {structure}.{member}");
        }
    }

    #[test]
    fn every_newer_name_is_that_of_a_member_and_documented() {
        for (structure, old, new) in RENAMED {
            assert!(
                OPTIONAL.iter().any(|(of, member, _)| (of, member) == (structure, old)),
                "{structure}.{old}"
            );
            assert!(documented(structure).contains(&format!("`{new}`")), "docs/hooks.md does not name {new}");
        }
    }

    #[test]
    fn a_missing_file_is_a_sentence_that_says_what_to_do() {
        let error = read_layout(Path::new("/nonexistent/btf")).expect_err("there is no such file");
        assert!(error.to_string().contains("CONFIG_DEBUG_INFO_BTF"), "{error}");
    }

    #[test]
    fn rubbish_is_malformed_and_nothing_worse() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        for bytes in [&b""[..], b"\x9f\xeb\x01\0", &[0xFF; 64]] {
            std::fs::write(file.path(), bytes).expect("written");
            assert!(matches!(read_layout(file.path()), Err(BtfError::Malformed { .. })));
        }
    }
}
