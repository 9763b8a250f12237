//! Putting into the programs what only the running kernel can say.

use zc_common::config::CAST_MARK;

use super::btf::Cast;

/// `BPF_JMP | BPF_CALL`
const CALL: u8 = 0x85;
/// Says that the number of a call is that of a kernel function (`BPF_PSEUDO_KFUNC_CALL`): the source register, above
/// the destination register.
const KERNEL_FUNCTION: u8 = 2 << 4;
/// `BPF_ALU64 | BPF_MOV`, of a number.
const MOVE: u8 = 0xB7;

/// The object with its marks replaced by calls of `bpf_rdonly_cast`, or by nothing where there is no such function: the
/// programs do not come there then, but the verifier wants an instruction.
pub(super) fn for_this_kernel(object: &[u8], cast: Option<Cast>) -> Vec<u8> {
    let mark = instruction(CALL, 0, CAST_MARK.cast_unsigned());
    let call = match cast {
        Some(Cast { function, .. }) => instruction(CALL, KERNEL_FUNCTION, function),
        None => instruction(MOVE, 0, 0),
    };
    let mut object = object.to_vec();
    // Sections of instructions begin at multiples of eight bytes.
    for place in object.chunks_exact_mut(mark.len()).filter(|place| *place == mark) {
        place.copy_from_slice(&call);
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
    use crate::probe::OBJECT;

    const CAST: Option<Cast> = Some(Cast { function: 0x0001_0203, word_type: 7 });

    fn count(object: &[u8], wanted: [u8; 8]) -> usize {
        object.chunks_exact(8).filter(|place| *place == wanted).count()
    }

    #[test]
    fn a_mark_becomes_a_call_of_the_function() {
        let object = [[9; 8], instruction(CALL, 0, CAST_MARK.cast_unsigned()), [8; 8]].concat();
        let known = [[9; 8], [0x85, 0x20, 0, 0, 3, 2, 1, 0], [8; 8]].concat();
        assert_eq!(for_this_kernel(&object, CAST), known);
        let unknown = [[9; 8], [0xB7, 0, 0, 0, 0, 0, 0, 0], [8; 8]].concat();
        assert_eq!(for_this_kernel(&object, None), unknown);
    }

    #[test]
    fn no_mark_is_left_in_the_object_wherever_its_sections_begin() {
        let bytes = CAST_MARK.to_le_bytes();
        let marks = |object: &[u8]| object.windows(4).filter(|window| *window == bytes).count();
        let before = count(OBJECT, instruction(CALL, 0, CAST_MARK.cast_unsigned()));
        assert_eq!(marks(OBJECT), before, "each is an instruction of its own");
        assert_eq!(marks(&for_this_kernel(OBJECT, CAST)), 0);
        // Built without its programs, zc has an empty object.
        assert_eq!(before == 0, OBJECT.is_empty());
    }
}
