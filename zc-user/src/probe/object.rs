//! Putting into the programs what only the running kernel can say.

use zc_common::config::{ALONE_MARK, CAST_MARK, SHARED_MARK};

use super::btf::Layout;

/// `BPF_JMP | BPF_CALL`
const CALL: u8 = 0x85;
/// Says that the number of a call is that of a kernel function (`BPF_PSEUDO_KFUNC_CALL`): the source register, above
/// the destination register.
const KERNEL_FUNCTION: u8 = 2 << 4;
/// `BPF_ALU64 | BPF_MOV`, of a number.
const MOVE: u8 = 0xB7;
/// `BPF_JMP | BPF_JA`, which goes to the next instruction: the kernel takes it out (`opt_remove_nops`).
const NOTHING: u8 = 0x05;

/// The object with its marks replaced by calls of kernel functions, or by what does nothing where they are not called:
/// the programs do not come to a read without a helper then, but the verifier wants an instruction.
pub(super) fn for_this_kernel(object: &[u8], layout: &Layout) -> Vec<u8> {
    let cast = layout.cast.map(|cast| cast.function);
    let (alone, shared) = layout.preemption.map(|it| (it.disable, it.enable)).unzip();
    let nothing = instruction(NOTHING, 0, 0);
    let marks = [
        (CAST_MARK, cast, instruction(MOVE, 0, 0)),
        (ALONE_MARK, alone, nothing),
        (SHARED_MARK, shared, nothing),
    ]
    .map(|(mark, function, without)| {
        let call = function.map_or(without, |function| instruction(CALL, KERNEL_FUNCTION, function));
        (instruction(CALL, 0, mark.cast_unsigned()), call)
    });
    let mut object = object.to_vec();
    // Sections of instructions begin at multiples of eight bytes.
    for place in object.chunks_exact_mut(8) {
        if let Some((_, call)) = marks.iter().find(|(mark, _)| *place == *mark) {
            place.copy_from_slice(call);
        }
    }
    object
}

/// An instruction without an offset (`struct bpf_insn`).
fn instruction(code: u8, registers: u8, number: u32) -> [u8; 8] {
    let [a, b, c, d] = number.to_le_bytes();
    [code, registers, 0, 0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{
        OBJECT,
        btf::{Cast, Preemption},
    };

    const MARKS: [i32; 3] = [CAST_MARK, ALONE_MARK, SHARED_MARK];

    fn layout() -> Layout {
        Layout {
            cast: Some(Cast { function: 0x0001_0203, word_type: 7, pointed: [0; 4] }),
            preemption: Some(Preemption { disable: 4, enable: 5 }),
            ..Layout::default()
        }
    }

    fn call(mark: i32) -> [u8; 8] {
        instruction(CALL, 0, mark.cast_unsigned())
    }

    #[test]
    fn a_mark_becomes_a_call_of_its_function() {
        let object = [[9; 8], call(CAST_MARK), call(ALONE_MARK), call(SHARED_MARK), [8; 8]].concat();
        let known = [
            [9; 8],
            [0x85, 0x20, 0, 0, 3, 2, 1, 0],
            [0x85, 0x20, 0, 0, 4, 0, 0, 0],
            [0x85, 0x20, 0, 0, 5, 0, 0, 0],
            [8; 8],
        ]
        .concat();
        assert_eq!(for_this_kernel(&object, &layout()), known);
        let nothing = [0x05, 0, 0, 0, 0, 0, 0, 0];
        let unknown = [[9; 8], [0xB7, 0, 0, 0, 0, 0, 0, 0], nothing, nothing, [8; 8]].concat();
        assert_eq!(for_this_kernel(&object, &Layout::default()), unknown);
    }

    #[test]
    fn no_mark_is_left_in_the_object_wherever_its_sections_begin() {
        for mark in MARKS {
            let bytes = mark.to_le_bytes();
            let marks = |object: &[u8]| object.windows(4).filter(|window| *window == bytes).count();
            let before = OBJECT.chunks_exact(8).filter(|place| *place == call(mark)).count();
            assert_eq!(marks(OBJECT), before, "each is an instruction of its own");
            assert_eq!(marks(&for_this_kernel(OBJECT, &layout())), 0);
            assert_eq!(marks(&for_this_kernel(OBJECT, &Layout::default())), 0);
            // Built without its programs, zc has an empty object.
            assert_eq!(before == 0, OBJECT.is_empty());
        }
    }
}
