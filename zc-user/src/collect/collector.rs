//! Reading the kernel's maps. Thin: what is read is made sense of in [`super::state`].

use std::{
    collections::{BTreeMap, HashSet},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, RawFd},
    time::{Duration, Instant},
};

use aya::{
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, RingBuf},
    programs::Program,
};
use jiff::Timestamp;
use zc_common::{
    loss::Loss,
    maps::{EVENTS, LOST, ROWS, SESSION, THREADS},
    row::{Costs, RowKey, VALUE_CALLS_COUNTED, VALUE_FAULTS_COUNTED, VALUE_STORAGE_COUNTED},
    session::Session as SessionValue,
    thread::Thread,
    transmission::{STREAMS, Stream, WITNESSED, Witnessed},
    zerocopy::{REPORTED, Reported, SENDS, Send, SendKey},
};

use super::{
    attached, batch, live,
    record::row_of,
    state::{ProcessKey, State},
    sweep::Ages,
};
use crate::{
    model::{
        report::{Host, Sampling, SelfCost, Window},
        samples::{Counted, Samples, ThreadTotals},
    },
    probe::{
        attach::{AttachError, Attached, Running},
        session::{HookState, Options, Session},
    },
    resolve::{cgroup::Cgroups, container},
};

/// How often it is looked at the end whether what is under way has arrived, and how long it is waited in between.
const ROUNDS: u32 = 20;
/// As above.
const PAUSE: Duration = Duration::from_millis(5);

/// Reads what a session sees.
pub struct Collector {
    pub(super) session: Session,
    pub(super) state: State,
    options: Options,
    counted: Counted,
    pub(super) ages: Ages,
    pub(super) epoch: u64,
    ring: RingBuf<MapData>,
    start: Timestamp,
    since: Instant,
}

impl AsFd for Collector {
    /// Readable when the ring buffer fills up.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl Collector {
    /// Begins to read.
    pub fn new(mut session: Session, options: Options) -> Result<Self, MapError> {
        let ring = session.ebpf.take_map(EVENTS).ok_or_else(|| no_map(EVENTS))?;
        let counted = Counted {
            switches: session.has("sched_switch"),
            faults: session.has("page_fault_kernel"),
            storage: session.has("block_bio_queue"),
            received: session.has("skb_copy_datagram_iovec") && session.has("sched_switch"),
        };
        Ok(Self {
            session,
            state: State::default(),
            options,
            counted,
            ages: Ages::default(),
            epoch: 0,
            ring: RingBuf::try_from(ring)?,
            start: Timestamp::now(),
            since: Instant::now(),
        })
    }

    /// Traces processes that run already, from now on; see [`Session::attach`]. May be called at any time, and again.
    pub fn attach(
        &mut self,
        processes: &[Running],
    ) -> Result<Vec<Result<Attached, AttachError>>, AttachError> {
        let attached = self.session.attach(processes)?;
        for process in attached.iter().flatten() {
            let key = (process.tgid, process.start_ns);
            if !self.state.processes.contains_key(&key) {
                self.state.attached(attached::describe(process));
            }
        }
        Ok(attached)
    }

    /// Whether a process has not ended, as far as is known.
    pub fn is_alive(&self, process: &Attached) -> bool {
        let key: ProcessKey = (process.tgid, process.start_ns);
        self.state.is_alive(&key)
    }

    /// Takes in what the ring buffer holds.
    pub fn drain(&mut self) {
        while let Some(item) = self.ring.next() {
            self.state.record(&item);
        }
    }

    /// The same; says which rows came with it.
    pub(super) fn drain_noting_rows(&mut self) -> HashSet<RowKey> {
        let mut rows = HashSet::new();
        while let Some(item) = self.ring.next() {
            rows.extend(row_of(&item));
            self.state.record(&item);
        }
        rows
    }

    /// Processes that have not ended, as far as is known.
    pub fn alive_keys(&self) -> impl Iterator<Item = &ProcessKey> {
        self.state.alive()
    }

    /// Processes that have ended and were not forgotten.
    pub fn ended(&self) -> impl Iterator<Item = &ProcessKey> {
        self.state.ended()
    }

    /// How many traced processes still live.
    pub fn alive(&mut self) -> usize {
        self.state.alive().count()
    }

    /// Drops processes from the living whose end was not seen.
    pub fn look_for_the_living(&mut self) {
        let gone: Vec<_> = self.state.alive().filter(|key| !live::exists(key.0)).copied().collect();
        for key in gone {
            self.state.gone(&key);
        }
    }

    /// Detaches everything and returns what was seen.
    pub fn finish(mut self) -> Result<Samples, MapError> {
        self.wait_for_transmissions()?;
        self.drain();
        self.wait_for_threads()?;
        let bpf = BpfCost::read(&self.session);
        let seconds = self.since.elapsed();
        // What ends from here on is not seen any more, and nothing that was seen is seen twice.
        self.session.detach();
        self.drain();
        self.read_rows()?;
        let live_totals = self.live_totals()?;
        let lost = self.lost(&bpf)?;
        let state = std::mem::take(&mut self.state);
        let mut samples = self.samples(state, live_totals, lost, &bpf, false);
        samples.window.seconds = seconds.as_secs_f64();
        Ok(samples)
    }

    /// What is known of the session, with this state of its rows.
    pub(super) fn samples(
        &self,
        state: State,
        live_totals: Vec<ThreadTotals>,
        lost: BTreeMap<String, u64>,
        bpf: &BpfCost,
        goes_on: bool,
    ) -> Samples {
        let connections_one_in = self.options.connections_one_in;
        Samples {
            host: host(),
            window: Window { start: self.start, seconds: self.since.elapsed().as_secs_f64() },
            hooks: self.session.hooks.iter().map(HookState::report).collect(),
            sampling: (connections_one_in > 1).then_some(Sampling { connections_one_in }),
            goes_on,
            lost,
            self_cost: bpf.self_cost(),
            counted: self.counted,
            objects: state.objects.clone(),
            processes: processes(&state),
            rows: state.into_rows(),
            live_totals,
        }
    }

    /// Rows of threads that live, with what they have at hand, and those that found no room in the ring.
    fn read_rows(&mut self) -> Result<(), MapError> {
        for (key, value) in batch::entries(&self.session.ebpf, ROWS)? {
            self.state.row(key, &value);
        }
        for (tid, thread) in batch::entries::<u32, Thread>(&self.session.ebpf, THREADS)? {
            for (key, value) in thread.recent.iter().filter_map(|recent| recent.pending(&thread, tid)) {
                self.state.row(key, &value);
            }
        }
        for (key, value) in batch::entries::<_, Reported>(&self.session.ebpf, REPORTED)? {
            self.state.reported(&key, value);
        }
        if self.sees_transmissions() {
            for (key, value) in batch::entries::<_, Witnessed>(&self.session.ebpf, WITNESSED)? {
                self.state.seen(&key, &value.into());
            }
        }
        Ok(())
    }

    /// Whether what devices are given to send is seen. Without the ends of connections, one would be taken for another.
    pub(super) fn sees_transmissions(&self) -> bool {
        self.session.has("net_dev_start_xmit") && self.session.has("inet_sock_set_state")
    }

    /// Waits, not for long, until devices were given what connections have to send.
    fn wait_for_transmissions(&self) -> Result<(), MapError> {
        if !self.sees_transmissions() {
            return Ok(());
        }
        let map = self.session.ebpf.map(STREAMS).ok_or_else(|| no_map(STREAMS))?;
        let streams: HashMap<_, u64, Stream> = HashMap::try_from(map)?;
        for _ in 0..ROUNDS {
            if !streams.iter().flatten().any(|(_, stream)| stream.is_waiting()) {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Threads that the kernel made in a process (workers of rings) may take their last steps when it has ended already:
    /// `io_wq_exit_workers` waits until they leave, not until they are gone.
    fn wait_for_threads(&mut self) -> Result<(), MapError> {
        for _ in 0..ROUNDS {
            let map = self.session.ebpf.map(THREADS).ok_or_else(|| no_map(THREADS))?;
            let threads: HashMap<_, u32, Thread> = HashMap::try_from(map)?;
            let is_left = |thread: &Thread| !self.state.is_alive(&(thread.tgid, thread.process_start_ns));
            if !threads.iter().flatten().any(|(_, thread)| is_left(&thread)) {
                break;
            }
            std::thread::sleep(PAUSE);
            self.drain();
        }
        Ok(())
    }

    /// Zero-copy sends that were forgotten before they were reported on.
    fn forgotten_sends(&self) -> Result<u64, MapError> {
        let map = self.session.ebpf.map(SESSION).ok_or_else(|| no_map(SESSION))?;
        let waiting = Array::<_, SessionValue>::try_from(map)?.get(&0, 0)?.sends_waiting;
        let map = self.session.ebpf.map(SENDS).ok_or_else(|| no_map(SENDS))?;
        let sends: HashMap<_, SendKey, Send> = HashMap::try_from(map)?;
        Ok(waiting.saturating_sub(sends.keys().flatten().count() as u64))
    }

    pub(super) fn live_totals(&self) -> Result<Vec<ThreadTotals>, MapError> {
        let map = self.session.ebpf.map(THREADS).ok_or_else(|| no_map(THREADS))?;
        let threads: HashMap<_, u32, Thread> = HashMap::try_from(map)?;
        let mut flags = 0;
        if self.options.count_calls {
            flags |= VALUE_CALLS_COUNTED;
        }
        if self.session.has("page_fault_user") {
            flags |= VALUE_FAULTS_COUNTED;
        }
        let mut totals = Vec::new();
        for &(tgid, process_start_ns) in self.state.alive() {
            for tid in live::threads(tgid) {
                let Some(mut own) = live::thread_costs(tgid, tid) else { continue };
                let thread = threads.get(&tid, 0).ok();
                let thread = thread.filter(|thread| thread.process_start_ns == process_start_ns);
                // What it has done before it was traced is not of the session.
                if thread.is_none() && self.state.is_attached(&(tgid, process_start_ns)) {
                    continue;
                }
                own.subtract(&thread.map_or_else(Costs::default, |thread| thread.base));
                own.calls = thread.map_or(0, |thread| thread.calls);
                let storage = live::read_bytes(tgid, tid);
                let before = thread.map_or(0, |thread| thread.base.device_read_bytes);
                own.device_read_bytes = storage.map_or(0, |bytes| bytes.saturating_sub(before));
                totals.push(ThreadTotals {
                    tid,
                    thread_start_ns: thread.map_or(0, |thread| thread.start_ns),
                    tgid,
                    process_start_ns,
                    flags: flags | storage.map_or(0, |_| VALUE_STORAGE_COUNTED),
                    own,
                    user_faults: thread.map_or(0, |thread| thread.user_faults),
                });
            }
        }
        Ok(totals)
    }

    pub(super) fn lost(&self, bpf: &BpfCost) -> Result<BTreeMap<String, u64>, MapError> {
        let map = self.session.ebpf.map(LOST).ok_or_else(|| no_map(LOST))?;
        let counters: PerCpuArray<_, u64> = PerCpuArray::try_from(map)?;
        let mut lost = BTreeMap::new();
        for loss in Loss::ALL {
            let count = counters.get(&(loss as u32), 0)?.iter().sum();
            lost.insert(loss.name().to_owned(), count);
        }
        *lost.entry(Loss::ZerocopyUnmatched.name().to_owned()).or_default() += self.forgotten_sends()?;
        lost.insert("missed_runs".to_owned(), bpf.missed);
        lost.insert("malformed_records".to_owned(), self.state.malformed);
        Ok(lost)
    }
}

/// What the kernel knows of the runs of our programs.
#[derive(Default)]
pub(super) struct BpfCost {
    runs: Option<u64>,
    ns: Option<u64>,
    /// Runs that did not take place because the program was already running on that CPU.
    missed: u64,
}

impl BpfCost {
    pub(super) fn read(session: &Session) -> Self {
        let timed = session.is_timed();
        let mut cost = Self { runs: timed.then_some(0), ns: timed.then_some(0), missed: 0 };
        for (_, program) in session.ebpf.programs() {
            let Ok(fd) = fd_of(program) else { continue };
            cost.missed += missed_runs(fd).unwrap_or(0);
            if timed && let Ok(info) = program.info() {
                let ns = u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX);
                cost.runs = cost.runs.map(|runs| runs + info.run_count());
                cost.ns = cost.ns.map(|sum| sum + ns);
            }
        }
        cost
    }

    fn self_cost(&self) -> SelfCost {
        SelfCost { bpf_runs: self.runs, bpf_ns: self.ns, cpu_seconds: cpu_seconds(), rss_bytes: rss_bytes() }
    }
}

fn fd_of(program: &Program) -> Result<RawFd, aya::programs::ProgramError> {
    Ok(program.fd()?.as_fd().as_raw_fd())
}

/// `recursion_misses` of a program (Linux 5.12).
fn missed_runs(fd: RawFd) -> Option<u64> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    info.lines().find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
}

fn cpu_seconds() -> Option<f64> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Some(seconds(usage.user_time()) + seconds(usage.system_time()))
}

fn rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

pub(super) fn no_map(name: &str) -> MapError {
    MapError::InvalidName { name: name.to_owned() }
}

fn processes(state: &State) -> Vec<crate::model::samples::ProcessSample> {
    let mut cgroups = Cgroups::new();
    let name = |id: u32| state.objects.get(&id).and_then(|object| object.name.clone());
    let complete = |process: &super::state::Tracked| {
        let cgroup =
            (process.cgroup_id != 0).then(|| cgroups.path(process.cgroup_id).map(str::to_owned)).flatten();
        let cgroup = cgroup.or_else(|| process.sample.cgroup.clone());
        let container = cgroup.as_deref().and_then(container::of_cgroup).map(str::to_owned);
        crate::model::samples::ProcessSample {
            exe: name(process.exe).or_else(|| process.sample.exe.clone()),
            cgroup,
            container,
            ..process.sample.clone()
        }
    };
    state.processes.values().map(complete).collect()
}

fn host() -> Host {
    let name = nix::sys::utsname::uname().ok();
    let text = |value: Option<&std::ffi::OsStr>| {
        value.map_or_else(String::new, |value| value.to_string_lossy().into_owned())
    };
    Host {
        kernel: text(name.as_ref().map(nix::sys::utsname::UtsName::release)),
        arch: text(name.as_ref().map(nix::sys::utsname::UtsName::machine)),
        hostname: text(name.as_ref().map(nix::sys::utsname::UtsName::nodename)),
        cpus: std::thread::available_parallelism()
            .map_or(0, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
    }
}
