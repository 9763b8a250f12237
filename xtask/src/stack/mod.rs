//! Whether every chain of calls in the object fits on the stack that the kernel gives it.
//!
//! The verifier of the kernel that builds may be content with a chain that another one refuses: Linux 6.1 rounds each frame
//! up to 32 bytes, newer ones to 16 (`round_up_stack_depth`). So the object is judged by the strictest rule, without loading it.

mod chains;
mod frames;
mod object;

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};

use self::chains::{Chain, Function};

/// What the frames of a chain may take together (`MAX_BPF_STACK`).
const BYTES_MAX: u32 = 512;

/// How many frames a chain may have (`MAX_CALL_FRAMES`).
const FRAMES_MAX: usize = 8;

/// An error that names every program with a chain that does not fit; else the line to say about the deepest one.
pub(crate) fn check(object: &[u8]) -> Result<String> {
    judge(&object::functions(object).context("read the calls in the object")?)
}

fn judge(functions: &[Function]) -> Result<String> {
    let mut deepest = Chain::default();
    let mut refused = String::new();
    for (entry, program) in functions.iter().enumerate().filter(|(_, function)| function.is_program) {
        let chains = chains::worst(functions, entry)?;
        for chain in [&chains.most_bytes, &chains.most_frames] {
            if chain.bytes <= BYTES_MAX && chain.frames.len() <= FRAMES_MAX {
                continue;
            }
            let line = format!("\n  {}: {}", program.name, shown(functions, chain));
            if !refused.contains(&line) {
                refused.push_str(&line);
            }
        }
        if chains.most_bytes.bytes > deepest.bytes {
            deepest = chains.most_bytes;
        }
    }
    if !refused.is_empty() {
        bail!(
            "kernels refuse calls whose frames take more than {BYTES_MAX} bytes of stack, or of which there are more than \
             {FRAMES_MAX}; give the functions less to keep on the stack, or let fewer of them call each other:{refused}"
        );
    }
    Ok(format!("the deepest calls take {}", shown(functions, &deepest)))
}

/// `448 bytes of stack in 3 frames: zc_exec (280) > zc_resolve (128) > zc_ebpf::object::name::step (32)`.
fn shown(functions: &[Function], chain: &Chain) -> String {
    let mut text = format!("{} bytes of stack in {} frames: ", chain.bytes, chain.frames.len());
    for (position, frame) in chain.frames.iter().enumerate() {
        let Function { name, bytes, .. } = &functions[*frame];
        let _ = write!(text, "{}{name} ({bytes})", if position == 0 { "" } else { " > " });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, bytes: u32, calls: &[usize]) -> Function {
        Function { name: name.to_owned(), bytes, is_program: name.starts_with("zc_"), calls: calls.to_vec() }
    }

    #[test]
    fn what_just_fits_is_said() {
        let functions = [function("zc_a", 32, &[1, 2]), function("b", 449, &[]), function("c", 400, &[])];
        let said = judge(&functions).expect("32 and 480 bytes fit");
        assert!(said.ends_with("512 bytes of stack in 2 frames: zc_a (32) > b (449)"), "{said}");
    }

    #[test]
    fn a_byte_that_begins_another_step_is_too_much() {
        let functions = [function("zc_a", 33, &[1]), function("b", 449, &[])];
        let error = judge(&functions).expect_err("64 and 480 bytes do not fit").to_string();
        assert!(error.ends_with("\n  zc_a: 544 bytes of stack in 2 frames: zc_a (33) > b (449)"), "{error}");
    }

    #[test]
    fn a_ninth_frame_is_too_much_however_small() {
        let chain = |length: usize| -> Vec<Function> {
            let name = |index| if index == 0 { "zc_a" } else { "b" };
            let next = |index| if index + 1 < length { vec![index + 1] } else { Vec::new() };
            (0..length).map(|index| function(name(index), 8, &next(index))).collect()
        };
        assert!(judge(&chain(8)).is_ok());
        let error = judge(&chain(9)).expect_err("nine frames").to_string();
        assert!(error.contains("zc_a: 288 bytes of stack in 9 frames"), "{error}");
    }

    #[test]
    fn every_program_that_does_not_fit_is_named() {
        let functions = [
            function("zc_a", 8, &[2]),
            function("zc_b", 8, &[2]),
            function("large", 512, &[]),
            function("zc_c", 8, &[]),
        ];
        let error = judge(&functions).expect_err("two do not fit").to_string();
        assert!(error.contains("\n  zc_a: 544") && error.contains("\n  zc_b: 544"), "{error}");
        assert!(!error.contains("zc_c"), "{error}");
    }
}
