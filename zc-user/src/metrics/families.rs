//! Every family, in the order in which they are written. `docs/metrics.md` says more of each.

use super::exposition::{Family, Kind};

const BYTES: Option<&str> = Some("bytes");
const SECONDS: Option<&str> = Some("seconds");
/// A row of the report, without the process.
const ROW: &[&str] = &["path", "via", "source", "destination"];

macro_rules! families {
    ($($constant:ident: $kind:ident $name:literal, $unit:expr, $labels:expr, $help:literal;)+) => {
        $(
            #[doc = $help]
            pub static $constant: Family =
                Family { name: $name, kind: Kind::$kind, unit: $unit, labels: $labels, help: $help };
        )+
        /// All of them.
        pub static ALL: &[&Family] = &[$(&$constant),+];
    };
}

families! {
    BUILD_INFO: Info "zc_build_info", None, &["version", "commit"],
        "The version of zc, and the commit that it was built from.";
    START: Gauge "zc_start_timestamp_seconds", SECONDS, &[],
        "When counting began, in Unix time.";
    LAST_LOOK: Gauge "zc_last_look_timestamp_seconds", SECONDS, &[],
        "When the kernel's numbers were last looked at, in Unix time.";
    LOOK_INTERVAL: Gauge "zc_look_interval_seconds", SECONDS, &[],
        "Time between the last look and the one before it.";
    LOOKS: Counter "zc_looks_total", None, &[],
        "Looks at the kernel's numbers.";

    PAYLOAD_BYTES: Counter "zc_payload_bytes_total", BYTES, &[],
        "Payload moved on all paths, each byte once.";
    COPIED_BYTES: Counter "zc_copied_bytes_total", BYTES, &[],
        "Bytes copied by the processor, as far as known; bytes that are copied twice count twice.";
    BY_REFERENCE_BYTES: Counter "zc_by_reference_bytes_total", BYTES, &[],
        "Bytes handed on without a copy, as far as known.";
    UNKNOWN_BYTES: Gauge "zc_unknown_bytes", BYTES, &[],
        "Payload since the start of which it is not known, or not yet, whether it was copied.";
    KNOWN_BYTES: Counter "zc_known_bytes_total", BYTES, &["evidence"],
        "Payload of which it is known whether it was copied, by how it is known.";

    TRANSFER_BYTES: Counter "zc_transfer_bytes_total", BYTES, ROW,
        "Payload by path.";
    TRANSFERS: Counter "zc_transfers_total", None, ROW,
        "Transfers of at least one byte by path.";
    TRANSFER_SYSCALLS: Counter "zc_transfer_syscalls_total", None, ROW,
        "System calls by path, also those that moved nothing.";
    TRANSFER_COPIED_BYTES: Counter "zc_transfer_copied_bytes_total", BYTES, ROW,
        "Bytes copied by the processor by path, as far as known.";
    TRANSFER_BY_REFERENCE_BYTES: Counter "zc_transfer_by_reference_bytes_total", BYTES, ROW,
        "Bytes handed on without a copy by path, as far as known.";
    TRANSFER_UNKNOWN_BYTES: Gauge "zc_transfer_unknown_bytes", BYTES, ROW,
        "Payload since the start by path of which it is not known, or not yet, whether it was copied.";

    REASON_COPIED_BYTES: Counter "zc_reason_copied_bytes_total", BYTES, &["reason"],
        "Bytes copied by the processor, by the reason of their path row.";
    FALLBACK_COPIED_BYTES: Counter "zc_fallback_copied_bytes_total", BYTES, &["path", "reason"],
        "Bytes copied though the program had asked for a path that can do without, by reason.";

    SERVICE_TRANSFER_BYTES: Counter "zc_service_transfer_bytes_total", BYTES, &["service", "path"],
        "Payload of a service by path.";
    SERVICE_PAYLOAD_BYTES: Counter "zc_service_payload_bytes_total", BYTES, &["service"],
        "Payload of a service on all paths, each byte once.";
    SERVICE_COPIED_BYTES: Counter "zc_service_copied_bytes_total", BYTES, &["service"],
        "Bytes copied by the processor for a service, as far as known.";
    SERVICE_BY_REFERENCE_BYTES: Counter "zc_service_by_reference_bytes_total", BYTES, &["service"],
        "Bytes handed on without a copy for a service, as far as known.";
    SERVICE_UNKNOWN_BYTES: Gauge "zc_service_unknown_bytes", BYTES, &["service"],
        "Payload of a service since the start of which it is not known, or not yet, whether it was copied.";
    SERVICE_FALLBACK_COPIED_BYTES: Counter "zc_service_fallback_copied_bytes_total", BYTES, &["service", "reason"],
        "Bytes copied for a service though it had asked for a path that can do without, by reason.";
    SERVICES: Gauge "zc_services", None, &[],
        "Services that have series of their own.";
    SERVICES_MAX: Gauge "zc_services_max", None, &[],
        "Services that can have series of their own; later ones are added to the service other.";

    SYSCALLS: Counter "zc_syscalls_total", None, &[],
        "System calls of every kind of traced processes.";
    MODE_SWITCHES: Counter "zc_mode_switches_total", None, &["type"],
        "Crossings between user and kernel mode, both ways, by system calls and by page faults.";
    CONTEXT_SWITCHES: Counter "zc_context_switches_total", None, &["type"],
        "Times that a thread of a traced process blocked or was preempted.";
    PAGE_FAULTS: Counter "zc_page_faults_total", None, &["type"],
        "Page faults of traced processes without storage I/O and with it.";
    DEVICE_READ_BYTES: Counter "zc_device_read_bytes_total", BYTES, &[],
        "Bytes that storage had to deliver for traced processes.";
    PROCESSES: Gauge "zc_processes", None, &[],
        "Traced processes that have not ended.";
    PROCESSES_ENDED: Counter "zc_processes_ended_total", None, &[],
        "Traced processes whose end was seen.";

    EVENTS_LOST: Counter "zc_events_lost_total", None, &["reason"],
        "What could not be counted or told apart, by reason.";
    HOOK_ATTACHED: Gauge "zc_hook_attached", None, &["hook", "method"],
        "Whether a place in the kernel that zc wants to watch is watched.";
    BPF_RUNS: Counter "zc_bpf_runs_total", None, &[],
        "Runs of zc's kernel programs.";
    BPF_RUN_TIME: Counter "zc_bpf_run_time_seconds_total", SECONDS, &[],
        "Time in zc's kernel programs.";
    SELF_CPU: Counter "zc_self_cpu_seconds_total", SECONDS, &[],
        "Processor time of zc's own process.";
    SELF_RESIDENT_MEMORY: Gauge "zc_self_resident_memory_bytes", BYTES, &[],
        "Memory of zc's own process.";
}
