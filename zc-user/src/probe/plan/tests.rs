use proptest::prelude::*;

use super::*;
use crate::probe::btf::Preemption;

/// The functions that kernels have, of those that are asked for: seen in the types of these versions.
const ALL: [&str; 6] = [
    "generic_perform_write",
    "iomap_file_buffered_write",
    "filemap_read",
    "shmem_file_read_iter",
    "skb_append_pagefrags",
    "generic_remap_file_range_prep",
];
const SINCE_6_5: [&str; 3] = ["filemap_splice_read", "shmem_file_splice_read", "skb_splice_from_iter"];

fn layout(functions: &[&str]) -> Layout {
    let mut layout = Layout::default().with_functions(functions);
    layout.offsets.iterator_pipe = 3;
    layout
}

fn named(name: &str) -> &'static Hook {
    HOOKS.iter().find(|hook| hook.name == name).expect("a hook")
}

fn tried(layout: &Layout) -> Vec<&'static str> {
    let functions = HOOKS.iter().filter(|hook| hook.method == Method::Fexit);
    functions.filter(|hook| step(hook, None, layout) == Step::Try).map(|hook| hook.name).collect()
}

fn reason(name: &str, layout: &Layout) -> String {
    match step(named(name), None, layout) {
        Step::Try => String::new(),
        Step::Leave(reason) => format!("left: {reason}"),
        Step::Cannot(reason) => format!("cannot: {reason}"),
    }
}

#[test]
fn functions_of_each_time_are_seen() {
    let newer: Vec<&str> = ALL.into_iter().chain(SINCE_6_5).collect();
    assert_eq!(
        tried(&layout(&newer)),
        [
            "generic_perform_write",
            "iomap_file_buffered_write",
            "filemap_splice_read",
            "shmem_file_splice_read",
            "skb_splice_from_iter",
            "generic_remap_file_range_prep"
        ]
    );
    // Linux 6.1
    assert_eq!(
        tried(&layout(&ALL)),
        [
            "generic_perform_write",
            "iomap_file_buffered_write",
            "filemap_read",
            "shmem_file_read_iter",
            "skb_append_pagefrags",
            "generic_remap_file_range_prep"
        ]
    );
}

#[test]
fn what_is_not_tried_says_why() {
    let older = layout(&ALL);
    assert!(
        reason("filemap_splice_read", &older)
            .starts_with("left: this kernel has no such function; `filemap_read`")
    );
    assert!(reason("iomap_file_buffered_write", &layout(&["filemap_read"])).starts_with("cannot: "));
    let newer: Vec<&str> = ALL.into_iter().chain(SINCE_6_5).collect();
    assert_eq!(reason("filemap_read", &layout(&newer)), "left: `filemap_splice_read` does it on this kernel");
    // Neither of the two: it is said once for each that something is missing.
    let neither = layout(&[]);
    assert!(reason("filemap_splice_read", &neither).starts_with("cannot: "));
    assert!(reason("filemap_read", &neither).starts_with("cannot: "));
}

#[test]
fn a_read_of_which_it_is_not_known_what_it_is_for_is_not_looked_at() {
    let mut older = layout(&ALL);
    older.offsets.iterator_pipe = u32::MAX;
    for name in ["filemap_read", "shmem_file_read_iter"] {
        assert!(reason(name, &older).starts_with("cannot: this kernel's types"), "{name}");
    }
}

#[test]
fn wishes_are_followed() {
    let none = Some(Wishes { count_calls: false, count_faults: false, attaches: false });
    assert!(matches!(step(named("sys_exit"), none, &layout(&[])), Step::Leave(_)));
    assert_eq!(step(named("syscalls:sys_exit_*"), none, &layout(&[])), Step::Try);
    assert!(matches!(step(named("page_fault_user"), none, &layout(&[])), Step::Leave(_)));
    assert_eq!(step(named("page_fault_user"), None, &layout(&[])), Step::Try);
}

#[test]
fn a_hook_that_could_be_preempted_leaves_its_place_to_another() {
    let preemption = Some(Preemption { disable: 1, enable: 2 });
    let layout = Layout { preemption, ..layout(&[]) };
    assert!(matches!(step(named("sys_exit"), None, &layout), Step::Leave(_)));
    assert_eq!(step(named("raw_syscalls:sys_exit"), None, &layout), Step::Try);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_two_that_do_the_same_one_is_tried_and_only_what_is_there(there in prop::collection::vec(any::<bool>(), 9)) {
        let functions: Vec<_> =
            functions().zip(&there).filter(|(_, there)| **there).map(|(function, _)| function).collect();
        let layout = layout(&functions);
        let tried = tried(&layout);
        prop_assert!(tried.iter().all(|name| functions.contains(name)));
        for hook in HOOKS {
            if let On::With(other) = hook.on {
                let both = [hook.name, other];
                let count = both.iter().filter(|name| tried.contains(name)).count();
                prop_assert_eq!(count, usize::from(both.iter().any(|name| functions.contains(name))));
            }
        }
    }
}
