//! Loading the kernel programs and attaching them.

use std::{
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::Path,
    thread,
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, MapError},
    programs::Program,
    sys::Stats,
};
use zc_common::{
    config::{CONFIG, COUNT_CALLS, Config, FOLLOW, OFFSETS, WITNESS},
    maps::{
        EVENTS, FLOWS_DEFAULT, OBJECTS, OBJECTS_DEFAULT, PAIR_SETS_DEFAULT, PAIRS, PROCESSES,
        RING_BYTES_DEFAULT, ROWS, ROWS_DEFAULT, SESSION, THREADS, THREADS_DEFAULT,
    },
    session::Session as SessionValue,
    transmission::{LEFT_OUT, STREAMS_MAX},
};

use super::{
    OBJECT,
    btf::{self, BtfError, Layout},
    facts,
    hook::{HOOKS, Hook, Method, When},
    load::{Loaded, chain, load_programs, refusal},
    object,
    plan::{Step, Wishes, sees_transmissions, step},
    prime::prime,
    size::Size,
};
use crate::model::report::{self, HookStatus};

/// How to trace.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "switches, each independent of the others")]
pub struct Options {
    /// Trace the children of traced processes.
    pub follow: bool,
    /// Count calls of every kind, not only those that move bytes.
    pub count_calls: bool,
    /// Count page faults.
    pub count_faults: bool,
    /// Trace this process from its next exec on; 0 for none. In the PID namespace of the caller.
    pub root_pid: u32,
    /// Be able to trace processes that run already, see [`Session::attach`].
    pub attaches: bool,
    /// Time the kernel programs, which makes each run of them dearer.
    pub self_stats: bool,
    /// See what devices are given of one in so many connections, chosen at random.
    pub connections_one_in: u32,
    /// Sizes of what is kept in the kernel.
    pub sizes: Sizes,
}

/// Sizes of what is kept in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Rows.
    pub rows: u32,
    /// Files and sockets with a name.
    pub objects: u32,
    /// Threads.
    pub threads: u32,
    /// Bytes of the ring buffer; a power of two, at least a page.
    pub ring_bytes: u32,
    /// Sets of memory intervals; a power of two.
    pub pair_sets: u32,
    /// Named flows of a process.
    pub flows: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            rows: ROWS_DEFAULT,
            objects: OBJECTS_DEFAULT,
            threads: THREADS_DEFAULT,
            ring_bytes: RING_BYTES_DEFAULT,
            pair_sets: PAIR_SETS_DEFAULT,
            flows: FLOWS_DEFAULT,
        }
    }
}

/// Why nothing can be traced.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The binary has no kernel programs in it.
    #[error(
        "this zc was built without its kernel programs and cannot trace; build it with `cargo xtask build`, \
         which installs the eBPF toolchain that it needs"
    )]
    NoObject,
    /// The layout of the kernel's structures is not known.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The caller may not load programs.
    #[error("{0}")]
    NotPermitted(String),
    /// The kernel refused the object.
    #[error("cannot load zc's programs: {message}")]
    Load {
        /// What went wrong.
        message: String,
    },
    /// A program that is needed could not be attached.
    #[error("cannot attach `{hook}`, which zc needs for {purpose}: {reason}")]
    Hook {
        /// Which.
        hook: &'static str,
        /// What it is for.
        purpose: &'static str,
        /// Why not.
        reason: String,
    },
}

/// What became of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookState {
    /// Which.
    pub hook: &'static str,
    /// How it would be, or is, attached.
    pub method: Method,
    /// What came of it.
    pub status: Status,
}

impl HookState {
    /// What a report says of it.
    pub fn report(&self) -> report::Hook {
        let (status, reason) = match &self.status {
            Status::Attached => (HookStatus::Attached, None),
            Status::Unavailable(reason) => (HookStatus::Unavailable, Some(reason.clone())),
            Status::Disabled(reason) => (HookStatus::Disabled, Some(reason.clone())),
        };
        let method = (status == HookStatus::Attached).then(|| self.method.name().to_owned());
        report::Hook { name: self.hook.to_owned(), method, status, reason }
    }
}

/// What came of trying a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Whether it can be attached.
    pub state: HookState,
    /// What the kernel made of its program.
    pub size: Size,
}

/// What came of attaching a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It works.
    Attached,
    /// It does not, for this reason.
    Unavailable(String),
    /// It was not wanted, or another one sees the same, for this reason.
    Disabled(String),
}

/// Loaded and attached programs; dropping it takes them away.
pub struct Session {
    /// The maps and programs.
    pub ebpf: Ebpf,
    /// What became of each hook.
    pub hooks: Vec<HookState>,
    /// While it is open, the kernel times programs.
    stats: Option<OwnedFd>,
}

impl Session {
    /// Loads and attaches what `options` ask for.
    pub fn start(options: &Options) -> Result<Self, SessionError> {
        let (mut ebpf, btf, layout) = load(options)?;
        let mut hooks = Vec::with_capacity(HOOKS.len());
        let Options { count_calls, count_faults, attaches, .. } = *options;
        let step = |hook: &Hook| step(hook, Some(Wishes { count_calls, count_faults, attaches }), &layout);
        let mut loaded = load_programs(&mut ebpf, &btf, &layout, |hook| step(hook) == Step::Try);
        prime(&mut ebpf);
        for hook in HOOKS {
            let status = match step(hook) {
                Step::Leave(reason) => Status::Disabled(reason.into_owned()),
                Step::Cannot(reason) => Status::Unavailable(reason.into_owned()),
                Step::Try => attach(&mut loaded, &mut ebpf, hook)?,
            };
            if options.attaches
                && hook.when == When::Attaching
                && let Status::Unavailable(reason) = status
            {
                return Err(SessionError::Hook { hook: hook.name, purpose: hook.purpose, reason });
            }
            hooks.push(HookState { hook: hook.name, method: hook.method, status });
        }
        let stats = if options.self_stats { aya::sys::enable_stats(Stats::RunTime).ok() } else { None };
        let mut this = Self { ebpf, hooks, stats };
        this.tell_kernel_side().map_err(|error| SessionError::Load { message: chain(&error) })?;
        drop(btf);
        give_memory_back();
        Ok(this)
    }

    /// Says what is attached, where a program depends on it.
    fn tell_kernel_side(&mut self) -> Result<(), MapError> {
        let sees_last_switch = u64::from(self.has("sched_switch"));
        let sees_user_faults = u64::from(self.has("page_fault_user"));
        let missing = || MapError::InvalidName { name: SESSION.to_owned() };
        let map = self.ebpf.map_mut(SESSION).ok_or_else(missing)?;
        let value = SessionValue { sees_last_switch, sees_user_faults, ..SessionValue::default() };
        Array::<_, SessionValue>::try_from(map)?.set(0, value, 0)
    }

    /// Takes the programs out of the kernel, and returns when none of them runs any more; the maps stay
    /// readable.
    pub fn detach(&mut self) {
        // Ends before beginnings, as when attaching: an end that is seen without its beginning would count a
        // process as ended that still lives.
        for hook in HOOKS {
            let unloaded = match self.ebpf.program_mut(hook.program) {
                Some(Program::BtfTracePoint(program)) => program.unload(),
                Some(Program::TracePoint(program)) => program.unload(),
                Some(Program::FExit(program)) => program.unload(),
                Some(Program::Iter(program)) => program.unload(),
                _ => Ok(()),
            };
            // What was never loaded cannot be unloaded, and that is all that can go wrong.
            drop(unloaded);
        }
        // A program may still be under way on another CPU. This waits for all of them (`synchronize_rcu`).
        // SAFETY: takes no pointers.
        unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    }

    /// Whether the kernel times the programs (Linux 5.8, and only for `CAP_SYS_ADMIN`).
    pub fn is_timed(&self) -> bool {
        self.stats.is_some()
    }

    /// Whether a hook is attached.
    pub fn has(&self, name: &str) -> bool {
        self.hooks.iter().any(|state| state.hook == name && state.status == Status::Attached)
    }
}

/// Tries every hook, whether it would be used or not, and takes it away again.
pub fn try_all() -> Vec<Trial> {
    let options = Options {
        follow: true,
        count_calls: true,
        count_faults: true,
        // No process has it; 0 would spare the verifier what it goes through for a command.
        root_pid: u32::MAX,
        attaches: true,
        self_stats: false,
        connections_one_in: 1,
        sizes: Sizes::default(),
    };
    let loaded = load(&options);
    let (mut programs, refused) = match loaded {
        Ok((mut ebpf, btf, layout)) => {
            let loaded =
                load_programs(&mut ebpf, &btf, &layout, |hook| step(hook, None, &layout) == Step::Try);
            (Some((ebpf, loaded, layout)), String::new())
        }
        Err(error) => (None, error.to_string()),
    };
    let try_one = |hook: &Hook| {
        let status = match &mut programs {
            None => Status::Unavailable(refused.clone()),
            Some((ebpf, loaded, layout)) => match step(hook, None, layout) {
                Step::Leave(reason) => Status::Disabled(reason.into_owned()),
                Step::Cannot(reason) => Status::Unavailable(reason.into_owned()),
                Step::Try => match loaded.attach(ebpf, hook) {
                    Ok(()) => Status::Attached,
                    Err(error) => Status::Unavailable(refusal(&error)),
                },
            },
        };
        // Hooks may have a program in common.
        let is_loaded = !matches!(status, Status::Disabled(_));
        let size = programs.as_ref().filter(|_| is_loaded);
        let size = size.map_or_else(Size::default, |(ebpf, ..)| Size::of(ebpf, hook));
        Trial { state: HookState { hook: hook.name, method: hook.method, status }, size }
    };
    HOOKS.iter().map(try_one).collect()
}

/// Loads the object's maps, with the programs ready to be loaded one by one.
fn load(options: &Options) -> Result<(Ebpf, Btf, Layout), SessionError> {
    if OBJECT.is_empty() {
        return Err(SessionError::NoObject);
    }
    if let Some(missing) = facts::missing_privileges() {
        return Err(SessionError::NotPermitted(missing));
    }
    // The same file three times over: for our offsets, for the types of tracepoints, and by aya for itself. It takes
    // as long as all the rest here, so they are read at the same time.
    let (layout, btf, mut loader) = thread::scope(|scope| {
        let layout = scope.spawn(|| btf::read_layout(Path::new(btf::VMLINUX)));
        let btf = scope.spawn(Btf::from_sys_fs);
        let loader = EbpfLoader::new();
        (layout.join(), btf.join(), loader)
    });
    let layout = layout.map_err(|_| panicked())??;
    let btf = btf.map_err(|_| panicked())?;
    let btf = btf.map_err(|error| SessionError::Load { message: error.to_string() })?;
    let Sizes { rows, objects, threads, ring_bytes, pair_sets, flows } = options.sizes;
    let (pid_ns_device, pid_ns_inode) = pid_namespace()?;
    let flag = |wanted, flag| if wanted { flag } else { 0 };
    let [task_type, mm_type, files_type, fs_type] = layout.cast.map_or([0; 4], |cast| cast.pointed);
    let config = Config {
        pid_ns_device,
        pid_ns_inode,
        root_pid: options.root_pid,
        flows_max: flows,
        pair_set_mask: pair_sets - 1,
        flags: flag(options.follow, FOLLOW)
            | flag(options.count_calls, COUNT_CALLS)
            | flag(sees_transmissions(&layout), WITNESS),
        ring_bytes: ring_bytes.into(),
        ring_arguments: layout.ring_arguments,
        word_type: layout.cast.map_or(0, |cast| cast.word_type),
        witness_one_in: options.connections_one_in,
        task_type,
        mm_type,
        files_type,
        fs_type,
        reserved: 0,
    };
    let ebpf = loader
        .btf(Some(&btf))
        .override_global(CONFIG, &config, true)
        .override_global(OFFSETS, &layout.offsets, true)
        .map_max_entries(ROWS, rows)
        .map_max_entries(OBJECTS, objects)
        .map_max_entries(THREADS, threads)
        .map_max_entries(PROCESSES, threads)
        .map_max_entries(PAIRS, pair_sets)
        .map_max_entries(EVENTS, ring_bytes)
        .map_max_entries(LEFT_OUT, if options.connections_one_in > 1 { STREAMS_MAX } else { 1 })
        .load(&object::for_this_kernel(OBJECT, &layout))
        .map_err(|error| SessionError::Load { message: chain(&error) })?;
    Ok((ebpf, btf, layout))
}

/// What the kernel's types took while they were read, most of all that zc ever has, is not needed any more.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// With `panic = "abort"` nobody sees this.
fn panicked() -> SessionError {
    SessionError::Load { message: format!("reading {} failed", btf::VMLINUX) }
}

/// Attaches a hook; the error is that of one without which there is nothing to report.
fn attach(loaded: &mut Loaded, ebpf: &mut Ebpf, hook: &Hook) -> Result<Status, SessionError> {
    match loaded.attach(ebpf, hook) {
        Ok(()) => Ok(Status::Attached),
        Err(error) if hook.required => {
            let advice = facts::perf_events_advice().filter(|_| hook.method == Method::Tracepoint);
            let advice = advice.map(|advice| format!("; {advice}")).unwrap_or_default();
            let reason = refusal(&error) + &advice;
            Err(SessionError::Hook { hook: hook.name, purpose: hook.purpose, reason })
        }
        Err(error) => Ok(Status::Unavailable(refusal(&error))),
    }
}

/// The PID namespace of this process, as `bpf_get_ns_current_pid_tgid` wants it named.
fn pid_namespace() -> Result<(u64, u64), SessionError> {
    const FILE: &str = "/proc/self/ns/pid";
    let metadata = std::fs::metadata(FILE).map_err(|error| SessionError::Load {
        message: format!("cannot tell which processes are meant, as {FILE} cannot be read: {error}"),
    })?;
    Ok((metadata.dev(), metadata.ino()))
}
