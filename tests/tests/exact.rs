//! Every fixture under zc: rows, flows, conservation, faults and switches of each of its processes.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use zc_tests::{
    compare::assert_exact_but,
    fixture,
    fixtures::all,
    session::{self, Session},
    zc::Zc,
};

/// Runs a fixture under zc and compares all that is known of it; `allowed` losses do not fail the test.
fn traced_exactly(name: &'static str, allowed: &'static [&'static str]) {
    let Some(zc) = Zc::with(&[]) else { return };
    if session::is_wanted() {
        let company = Company::of(name);
        let session = session_of(&zc, allowed, company);
        let allowed = [allowed, company.losses()].concat();
        assert_exact_but(name, session.traced(), &session.work(name).expectation(), &allowed);
        return;
    }
    let work = fixture!(name);
    let traced = zc.run_json(&[], &work.command());
    assert!(traced.done.status.success(), "{name} failed: {}", traced.done.stderr);
    assert_exact_but(name, &traced, &work.expectation(), allowed);
}

/// With which others a fixture shares a zc, where they do: what one of them loses is said of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Company {
    /// Those of which the same may be lost.
    Usual,
    /// Those that use rings, of which older kernels tell less.
    Rings,
    /// Those whose threads meet.
    Threads,
    /// Those whose sends are reported on: how the kernel joins its reports is its own affair.
    Zerocopy,
}

/// Fixtures whose threads meet.
const THREADS: [&str; 9] = [
    "messages-pool",
    "pairs-handover",
    "pairs-late-thread",
    "pairs-quarters",
    "splice-handover",
    "threads",
    "brief-threads",
    "thread-exec",
    "ping-pong",
];

impl Company {
    fn of(fixture: &'static str) -> Self {
        if fixture.starts_with("ring-") {
            Self::Rings
        } else if fixture.starts_with("zerocopy-") {
            Self::Zerocopy
        } else if THREADS.contains(&fixture) {
            Self::Threads
        } else {
            Self::Usual
        }
    }

    /// What may be declared of these on an emulated machine: a thread that changes mappings loses the CPU there for longer
    /// than others wait for its lock. The rows are still those that they should be.
    const fn losses(self) -> &'static [&'static str] {
        match self {
            Self::Usual | Self::Rings | Self::Zerocopy => &[],
            Self::Threads => &["mappings_unread"],
        }
    }
}

/// One zc for all fixtures of a company of which the same may be lost.
fn session_of(zc: &Zc, allowed: &'static [&'static str], company: Company) -> &'static Session {
    type Sessions = BTreeMap<(Company, &'static [&'static str]), &'static Result<Session, String>>;
    static SESSIONS: Mutex<Sessions> = Mutex::new(BTreeMap::new());
    // A test that failed with the lock taken has added nothing.
    let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let session = sessions.entry((company, allowed)).or_insert_with(|| {
        let cases = CASES.iter().filter(|case| (case.1, Company::of(case.0)) == (allowed, company));
        Box::leak(Box::new(Session::run(zc, cases.map(|(name, _)| fixture!(name)).collect())))
    });
    session.as_ref().unwrap_or_else(|error| panic!("{company:?} with {allowed:?}: {error}"))
}

/// Fixtures that have their tests elsewhere: in storm.rs, in losses.rs, and those that begin so in bait.rs.
const ELSEWHERE: [&str; 6] =
    ["storm", "pairs-many", "ring-unseen", "ring-splice-unseen", "aio-unread", "splice-race"];

macro_rules! exactly {
    ($($test:ident: $fixture:literal $(except $($allowed:literal),+)?;)*) => {
        $(#[test] fn $test() { traced_exactly($fixture, &[$($($allowed),+)?]); })*

        /// Each fixture, with what may be lost of it.
        const CASES: &[(&str, &[&str])] = &[$(($fixture, &[$($($allowed),+)?])),*];

        #[test]
        fn every_fixture_is_traced_by_a_test_of_its_own() {
            let here = [$($fixture),*];
            let forgotten: Vec<_> = all()
                .into_iter()
                .map(|fixture| fixture.name)
                .filter(|name| !here.contains(name) && !ELSEWHERE.contains(name) && !name.starts_with("bait-"))
                .collect();
            assert_eq!(forgotten, Vec::<&str>::new());
        }
    };
}

exactly! {
    reads_are_counted_by_call_and_byte: "reads";
    writes_are_counted_by_call_and_byte: "writes";
    short_reads_count_what_they_returned: "short-reads";
    positional_and_vectored_calls_count_like_read_and_write: "positional";
    empty_vectors_and_zero_lengths_are_calls_without_bytes: "empty-vectors";
    // Nothing is written from where it was read, so an unread tail of a long vector costs no byte.
    long_vectors_count_by_their_result: "wide-vectors" except "pairs_truncated";
    calls_that_would_block_are_calls_without_bytes: "would-block";
    interrupted_calls_are_calls_without_bytes: "interrupted";
    // What starts the worker reads /proc into its heap all the while, and writes its plan from there.
    restarted_calls_count_each_time_they_are_entered: "restarted" except "pairs_evicted";
    a_bad_address_counts_what_was_copied_before_it: "bad-address";
    a_bad_descriptor_is_of_unknown_kind: "bad-descriptor";
    a_reused_descriptor_number_is_another_file: "reused-descriptors" except "flows_overflow";
    a_reused_inode_number_is_another_file: "reused-inodes";
    duplicated_descriptors_are_one_file: "duplicates";
    // How many flows a process may have is zc's choice; beyond it they must be declared.
    many_open_files_are_told_apart: "many-files" except "flows_overflow";
    every_kind_of_descriptor_is_recognised: "kinds";
    sendfile_between_files_is_of_unknown_cost: "sendfile-file";
    sendfile_to_a_connection_names_its_peer: "sendfile-tcp";
    sendfile_to_each_of_many_connections_is_counted: "sendfile-connections";
    sendfile_to_pipes_and_unix_sockets_is_told_apart: "sendfile-local";
    sendfile_counts_its_result_and_its_failures: "sendfile-limits";
    copy_file_range_is_counted_like_sendfile: "copy-file-range";
    sends_and_receives_are_counted_by_call_and_byte: "messages";
    messages_without_bytes_and_failures_are_calls: "messages-none";
    messages_count_by_what_was_sent_and_received: "messages-some";
    what_is_looked_at_is_copied_and_not_moved: "messages-peeked";
    what_had_no_room_did_not_reach_memory: "messages-truncated";
    reads_that_are_sent_and_messages_that_are_written_pair: "messages-relayed";
    messages_that_are_sent_on_pair_one_by_one_and_many_at_once: "messages-forwarded";
    a_header_sent_with_a_body_is_a_leg_and_the_body_pairs: "messages-header";
    a_proxy_between_connections_pairs: "messages-proxy";
    // One flow for each connection, and one more for what it answers.
    an_event_loop_pairs_on_each_of_its_connections: "messages-loop" except "flows_overflow";
    buffers_that_a_pool_of_threads_sends_pair: "messages-pool";
    zerocopy_that_is_not_set_on_the_socket_is_a_copy: "zerocopy-unset";
    pages_that_are_received_are_mapped_and_the_rest_is_copied: "recv-zerocopy";
    what_loopback_copies_is_reported_as_copied: "zerocopy-tcp";
    reports_that_nobody_reads_are_told_apart: "zerocopy-joined";
    sends_that_share_a_report_are_counted_each: "zerocopy-shared";
    datagrams_are_copied_or_not_one_by_one: "zerocopy-udp";
    reports_with_the_answer_of_another_are_told_apart: "zerocopy-udp-joined";
    what_is_not_reported_stays_unknown: "zerocopy-closed";
    memory_of_other_processes_is_copied_once: "process-memory";
    requests_of_linux_aio_are_counted_when_they_are_reaped: "aio";
    a_relay_is_one_row_that_was_copied_twice: "pairs-relay";
    a_buffer_written_twice_pairs_once: "pairs-written-twice";
    only_the_newest_read_of_a_buffer_pairs: "pairs-read-again";
    vectors_pair_whatever_their_order: "pairs-positional";
    a_relay_between_connections_pairs: "pairs-tcp";
    the_same_address_in_a_child_does_not_pair: "pairs-forked";
    one_read_pairs_with_several_writes: "pairs-one-read";
    several_reads_pair_with_one_write: "pairs-one-write";
    the_middle_of_a_buffer_pairs_and_then_its_rest: "pairs-middle";
    a_read_over_part_of_an_older_one_splits_it: "pairs-overlap";
    the_unwritten_rest_of_a_read_stays_a_leg: "pairs-unfinished";
    a_write_beyond_what_was_read_is_a_leg_for_the_rest: "pairs-beyond";
    a_header_before_a_body_is_a_leg_and_the_body_pairs: "pairs-header";
    a_vector_of_one_entry_pairs_as_a_buffer: "pairs-vector-of-one";
    buffers_handed_to_another_thread_pair: "pairs-handover";
    buffers_handed_to_a_new_thread_pair: "pairs-late-thread";
    threads_that_write_parts_of_one_read_pair: "pairs-quarters";
    writes_from_a_mapped_file_come_from_the_file: "mapped-writes";
    a_large_write_from_a_mapping_is_one_transfer: "mapped-large";
    a_header_before_a_mapped_body_is_a_leg: "mapped-header";
    memory_that_may_differ_from_its_file_is_memory: "mapped-memory";
    a_write_across_mappings_is_told_apart_by_the_byte: "mapped-spans";
    what_was_read_into_a_mapping_pairs_before_its_file_does: "mapped-filled";
    mappings_in_the_same_place_are_told_apart: "mapped-anew";
    a_file_spliced_to_a_connection_is_one_transfer: "splice-tcp";
    a_splicing_proxy_is_one_transfer_between_its_connections: "splice-proxy";
    what_is_spliced_to_a_file_is_copied_once: "splice-file";
    one_splice_in_joins_with_several_out_and_leaves_a_rest: "splice-parts";
    splices_that_move_nothing_are_calls_without_bytes: "splice-limits";
    written_and_sent_bytes_keep_their_place_in_a_pipe: "splice-mixed";
    bytes_that_were_in_a_pipe_before_stay_a_leg: "splice-former";
    what_comes_from_a_pipe_comes_from_there: "splice-pipes";
    a_pipe_with_the_number_of_another_is_another: "splice-reused" except "flows_overflow", "pipes_unmatched";
    sources_in_one_pipe_are_told_apart: "splice-many";
    teed_bytes_come_from_their_pipe_and_are_taken_once: "tee";
    memory_spliced_through_a_pipe_comes_from_memory: "vmsplice";
    large_pipes_are_followed_to_their_last_slot: "splice-large";
    a_pipe_between_two_threads_joins: "splice-handover";
    a_pipe_between_processes_does_not_join: "splice-forked";
    a_pipeline_has_nothing_to_join_and_loses_nothing: "splice-pipeline";
    pages_of_mapped_files_are_counted_as_they_are_mapped: "map-read";
    pages_that_storage_delivers_are_counted_once: "map-cold";
    pages_that_are_copied_on_write_are_copies: "map-copy";
    pages_that_are_made_writable_are_written_to_their_file: "map-write";
    mappings_keep_their_pages_when_they_move: "map-move";
    two_threads_do_not_count_a_page_twice: "map-threads";
    a_child_maps_its_own_pages_of_a_shared_file: "map-fork";
    pages_mapped_within_calls_are_counted_with_their_file: "map-calls";
    threads_add_up_to_their_process: "threads";
    threads_of_a_process_share_its_flows: "brief-threads";
    calls_before_a_threads_exec_are_the_processs: "thread-exec";
    a_thread_that_the_kernel_made_does_not_end_its_process: "ring-poller";
    requests_in_a_ring_are_counted_like_calls: "ring-files";
    requests_that_fail_or_end_short_count_what_they_moved: "ring-failures";
    results_that_are_no_bytes_are_in_no_row: "ring-no-bytes";
    messages_by_a_ring_are_counted_like_reads_and_writes: "ring-sockets";
    requests_that_workers_do_are_their_processs: "ring-workers";
    requests_that_a_poller_does_are_its_processs: "ring-polled";
    completions_that_wait_to_be_asked_for_are_counted: "ring-deferred";
    requests_in_a_ring_pair_with_requests_and_with_calls: "ring-relay";
    what_a_poller_has_read_pairs_with_a_write: "ring-relay-polled";
    vectors_and_registered_buffers_of_a_ring_pair: "ring-parts";
    chains_of_requests_pair_as_far_as_they_go: "ring-linked";
    requests_that_end_in_any_order_pair: "ring-together";
    buffers_that_the_kernel_chose_pair: "ring-chosen";
    requests_that_go_on_are_counted_each_time: "ring-multishot";
    the_header_of_a_received_message_is_no_payload: "ring-multishot-message";
    zerocopy_sends_by_a_ring_count_their_bytes_once: "ring-zerocopy";
    a_file_spliced_by_a_ring_is_one_transfer: "ring-splice";
    splices_that_a_poller_submits_are_its_processs: "ring-splice-polled";
    splices_that_wait_to_be_asked_for_are_joined: "ring-splice-deferred";
    splices_by_a_ring_join_with_calls: "ring-splice-mixed";
    splices_by_a_ring_count_what_they_moved: "ring-splice-failures";
    splices_by_a_ring_join_whichever_ends_first: "ring-splice-together";
    what_was_in_a_pipe_before_a_request_stays_a_leg: "ring-splice-former";
    bytes_teed_by_a_ring_come_from_their_pipe: "ring-tee";
    requests_without_an_order_are_legs_and_declared: "ring-splice-unordered" except "pipes_unmatched";
    notifications_of_a_ring_tell_what_was_copied: "ring-zerocopy-reported";
    calls_by_the_32_bit_entry_are_calls_without_rows: "compat-reads" except "compat_calls";
    children_of_every_sort_are_followed_from_birth: "children";
    a_daemon_is_followed_after_its_parents_have_gone: "daemon";
    anonymous_faults_are_counted_to_the_page: "anonymous-pages";
    faults_within_reads_belong_to_the_read_row: "fresh-buffers";
    switches_within_calls_belong_to_their_rows: "ping-pong";
    cold_reads_count_what_storage_delivers_and_warm_ones_nothing: "cold-reads";
    what_storage_delivers_for_a_read_goes_with_its_pair: "cold-relay";
    cold_sendfiles_and_copies_count_what_storage_delivers: "cold-copies";
    direct_reads_and_writes_are_copied_by_nobody: "direct";
    a_pair_with_a_direct_end_has_the_copies_of_the_other_end: "direct-relays";
    a_direct_read_where_no_device_is_stays_unknown: "direct-in-memory";
    clones_that_fail_are_calls_without_bytes_and_other_ioctls_are_no_rows: "clones";
}
