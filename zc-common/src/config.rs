//! What user space tells the kernel programs before they are loaded.
//!
//! Both structures are read-only globals: frozen `.rodata` is a constant to the verifier, so a branch
//! on a flag that is off is not even loaded, and a typed pointer plus an offset from here may be
//! dereferenced directly.

use crate::{assert_layout, pod};

/// Name of the [`Config`] global.
pub const CONFIG: &str = "CONFIG";
/// Name of the [`Offsets`] global.
pub const OFFSETS: &str = "OFFSETS";

/// How this session traces.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// Device of the PID namespace in which `root_pid` counts, as `stat` of `/proc/self/ns/pid` gives it.
    pub pid_ns_device: u64,
    /// Inode of that namespace.
    pub pid_ns_inode: u64,
    /// The process that is traced from its next exec on; 0 for none.
    pub root_pid: u32,
    /// How many named flows a process may have.
    pub flows_max: u32,
    /// Number of sets in `PAIRS` less one; the number is a power of two.
    pub pair_set_mask: u32,
    /// `FOLLOW`, `COUNT_CALLS`, `WITNESS`.
    pub flags: u32,
    /// Size of the ring, for waking user space before it is full.
    pub ring_bytes: u64,
    /// How many arguments `io_uring_complete` has, see [`crate::ring::Form`].
    pub ring_arguments: u32,
    /// The BTF id of a structure that begins with a number as wide as a register, for reading kernel memory through
    /// `bpf_rdonly_cast`; 0 when this kernel does not have it (it came with Linux 6.2).
    pub word_type: u32,
    /// What devices are given is seen of one in so many connections, chosen at random; at least 1.
    pub witness_one_in: u32,
    /// The BTF id of `task_struct`, for `bpf_rdonly_cast`; as `word_type`.
    pub task_type: u32,
    /// The same of `mm_struct`.
    pub mm_type: u32,
    /// The same of `files_struct`.
    pub files_type: u32,
    /// The same of `fs_struct`.
    pub fs_type: u32,
    /// Always zero.
    pub reserved: u32,
}

/// Stands in the object for a call of `bpf_rdonly_cast`, whose number every kernel has to be asked for: user space puts
/// that in before the load. No helper has this number.
pub const CAST_MARK: i32 = 0x7A63_0001;

/// Stands for a call of `bpf_preempt_disable`, where programs could be preempted.
pub const ALONE_MARK: i32 = 0x7A63_0002;
/// Stands for one of `bpf_preempt_enable`.
pub const SHARED_MARK: i32 = 0x7A63_0003;

/// Children of traced processes are traced.
pub const FOLLOW: u32 = 1;
/// Calls of every kind are counted: the one program on `sys_exit` sees them all.
pub const COUNT_CALLS: u32 = 2;
/// What devices are given to send is seen.
pub const WITNESS: u32 = 4;

/// Byte offsets of kernel structure members, from the running kernel's BTF. Each field is named after
/// the structure and the member. One that not every kernel has is 0 where it is missing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name is the structure and the member whose offset it is")]
pub struct Offsets {
    pub task_thread_info_status: u32,
    pub task_flags: u32,
    pub task_pid: u32,
    pub task_tgid: u32,
    pub task_group_leader: u32,
    pub task_real_parent: u32,
    pub task_start_boottime: u32,
    pub task_nvcsw: u32,
    pub task_nivcsw: u32,
    pub task_min_flt: u32,
    pub task_maj_flt: u32,
    pub task_files: u32,
    pub task_fs: u32,
    pub task_mm: u32,
    pub task_comm: u32,
    pub task_exit_code: u32,
    pub task_ioac_read_bytes: u32,
    pub task_bio_list: u32,
    pub task_thread_pid: u32,
    pub pid_level: u32,
    /// A `struct upid` for each namespace that the process is in, from the initial one on.
    pub pid_numbers: u32,
    pub upid_ns: u32,
    pub bio_bi_bdev: u32,
    pub bio_bi_opf: u32,
    pub bio_bi_flags: u32,
    pub bio_bi_size: u32,
    pub bio_bi_io_vec: u32,
    pub bio_bi_crypt_context: u32,
    pub bdev_bd_disk: u32,
    pub bdev_parent: u32,
    pub gendisk_part0: u32,
    pub gendisk_fops: u32,
    pub page_compound_head: u32,
    pub page_mapping: u32,
    pub mapping_host: u32,
    pub task_self_exec_id: u32,
    pub files_fdt: u32,
    pub fdtable_max_fds: u32,
    pub fdtable_fd: u32,
    pub file_f_inode: u32,
    pub file_f_flags: u32,
    pub file_f_path_mnt: u32,
    pub file_f_path_dentry: u32,
    pub file_private_data: u32,
    pub inode_i_mode: u32,
    pub inode_i_sb: u32,
    pub inode_i_ino: u32,
    pub inode_i_rdev: u32,
    pub inode_i_generation: u32,
    pub inode_i_pipe: u32,
    pub pipe_head: u32,
    pub pipe_tail: u32,
    pub pipe_ring_size: u32,
    pub pipe_bufs: u32,
    pub pipe_buffer_len: u32,
    /// The last member, of 8 bytes: where a buffer ends.
    pub pipe_buffer_private: u32,
    pub inode_i_size: u32,
    pub super_s_dev: u32,
    pub super_s_magic: u32,
    pub dentry_d_parent: u32,
    pub dentry_d_name_name: u32,
    pub dentry_d_hash_pprev: u32,
    pub vfsmount_mnt_root: u32,
    pub mount_mnt: u32,
    pub mount_mnt_parent: u32,
    pub mount_mnt_mountpoint: u32,
    pub fs_root_mnt: u32,
    pub fs_root_dentry: u32,
    pub mm_arg_start: u32,
    pub mm_arg_end: u32,
    pub mm_exe_file: u32,
    pub mm_pgd: u32,
    pub mm_mt_root: u32,
    pub node_range_pivot: u32,
    pub node_range_slot: u32,
    pub node_allocation_pivot: u32,
    pub node_allocation_slot: u32,
    pub vma_vm_start: u32,
    pub vma_vm_end: u32,
    pub vma_vm_flags: u32,
    pub vma_vm_file: u32,
    pub vma_anon_vma: u32,
    pub socket_sk: u32,
    pub sock_sk_type: u32,
    pub sock_sk_protocol: u32,
    pub sock_skc_family: u32,
    pub sock_skc_flags: u32,
    pub sock_skc_daddr: u32,
    pub sock_skc_rcv_saddr: u32,
    pub sock_skc_dport: u32,
    pub sock_skc_num: u32,
    pub sock_skc_v6_daddr: u32,
    pub sock_skc_v6_rcv_saddr: u32,
    /// `SOCK_ZEROCOPY`, a bit of `sk_flags`; all ones when it is not known.
    pub sock_zerocopy_bit: u32,
    pub task_task_frag: u32,
    pub sock_sk_frag: u32,
    pub sock_skc_state: u32,
    pub sock_sk_lock_owned: u32,
    pub tcp_write_seq: u32,
    pub icsk_ulp_ops: u32,
    pub icsk_ulp_data: u32,
    pub ulp_name: u32,
    /// `tx_conf` and `rx_conf`, of three bits each in one byte, the first lowest.
    pub tls_conf: u32,
    pub skb_len: u32,
    pub skb_data_len: u32,
    pub skb_data: u32,
    pub skb_transport_header: u32,
    pub skb_shared_nr_frags: u32,
    pub skb_shared_frags: u32,
    pub device_features: u32,
    pub device_ptype_all: u32,
    pub device_rtnl_link_ops: u32,
    pub link_kind: u32,
    pub device_dev_parent: u32,
    pub device_parent: u32,
    pub device_bus: u32,
    pub device_io_tlb_mem: u32,
    pub io_tlb_force_bounce: u32,
    pub bus_name: u32,
    pub pci_dev_dev: u32,
    pub pci_dev_class: u32,
    pub sock_sk_zckey: u32,
    pub sock_sk_socket: u32,
    pub sock_sk_error_queue: u32,
    pub sock_sk_write_queue: u32,
    /// The second pointer of a queue: the last of it.
    pub queue_prev: u32,
    pub socket_alloc_inode: u32,
    pub skb_sk: u32,
    pub skb_cb: u32,
    pub skb_head: u32,
    pub skb_end: u32,
    pub skb_shared_destructor_arg: u32,
    pub skb_error_ee: u32,
    pub skb_tsorted_anchor: u32,
    pub tcp_tsorted_sent_queue: u32,
    pub ubuf_id: u32,
    pub ubuf_len: u32,
    pub io_kiocb_opcode: u32,
    pub io_kiocb_flags: u32,
    pub io_kiocb_ctx: u32,
    pub io_kiocb_cqe_user_data: u32,
    pub io_kiocb_cqe_fd: u32,
    pub io_kiocb_async_data: u32,
    pub io_ring_ctx_submit_state_link_head: u32,
    pub io_ring_ctx_file_table_data_nodes: u32,
    pub io_ring_ctx_file_table_data_nr: u32,
    pub io_ring_ctx_file_table_files: u32,
    pub io_ring_ctx_nr_user_files: u32,
    pub io_rsrc_node_file_ptr: u32,
    pub io_splice_splice_fd_in: u32,
    pub io_splice_flags: u32,
    pub io_splice_rsrc_node: u32,
    pub io_rw_addr: u32,
    pub io_sr_msg_buf: u32,
    pub io_sr_msg_done_io: u32,
    pub io_sr_msg_len: u32,
    pub io_sr_msg_flags: u32,
    pub io_async_msghdr_msg_msg_iter_iter_type: u32,
    pub io_async_msghdr_msg_msg_iter_ubuf: u32,
    pub iterator_type: u32,
    /// `ITER_PIPE`, a value of `iterator_type`; all ones where there is none (since Linux 6.5).
    pub iterator_pipe: u32,
    /// `pt_regs.orig_ax` on x86-64: the number of the call, -1 outside of calls.
    pub regs_number: u32,
    /// `pt_regs.ax` on x86-64: the result; -ENOSYS while the call is in progress.
    pub regs_result: u32,
    /// `pt_regs.ip` and `.sp` on x86-64: where the thread was in user mode. Both are 0 when it never was there.
    pub regs_ip: u32,
    pub regs_sp: u32,
    pub regs_arg0: u32,
    pub regs_arg1: u32,
    pub regs_arg2: u32,
    pub regs_arg3: u32,
    pub regs_arg4: u32,
    pub regs_arg5: u32,
}

assert_layout!(Config, 72, [u64, u64, [u32; 4], u64, [u32; 8]]);
pod!(Config, Offsets);
