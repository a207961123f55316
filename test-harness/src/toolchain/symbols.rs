//! Names of functions, taken out of a module into a file beside it.
//!
//! They are a seventh of a plugin, and of use only to a person who reads the trace of a trap. Envoy writes
//! `wasm-function[12]` there, and the file says which that is.

use std::fmt::Write as _;

/// What stands before the first section.
const HEADER: usize = 8;
/// Sections of this kind have names, and mean nothing to an engine.
const CUSTOM: u8 = 0;
/// The part of the section `name` that is about functions.
const FUNCTIONS: u8 = 1;

/// The module without its names, and the names, a line each. `None`: it is no module that can be read.
pub(super) fn split(module: &[u8]) -> Option<(Vec<u8>, String)> {
    let mut bare = module.get(..HEADER)?.to_vec();
    let mut names = String::new();
    let mut rest = Reader(module.get(HEADER..)?);
    while !rest.0.is_empty() {
        let whole = rest.0;
        let kind = rest.byte()?;
        let mut content = rest.part()?;
        let section = whole.get(..whole.len() - rest.0.len())?;
        if kind == CUSTOM && content.part()?.0 == b"name" {
            functions(content, &mut names)?;
        } else {
            bare.extend_from_slice(section);
        }
    }
    Some((bare, names))
}

fn functions(mut section: Reader<'_>, names: &mut String) -> Option<()> {
    while !section.0.is_empty() {
        let kind = section.byte()?;
        let mut part = section.part()?;
        if kind != FUNCTIONS {
            continue;
        }
        for _ in 0..part.number()? {
            let index = part.number()?;
            let name = String::from_utf8_lossy(part.part()?.0);
            // The alternate form leaves out the hash.
            writeln!(names, "wasm-function[{index}] {:#}", rustc_demangle::demangle(&name)).ok()?;
        }
    }
    Some(())
}

/// Bytes that are still to be read.
struct Reader<'m>(&'m [u8]);

impl<'m> Reader<'m> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number as LEB128.
    fn number(&mut self) -> Option<usize> {
        let mut number = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// Bytes with their length in front.
    fn part(&mut self) -> Option<Reader<'m>> {
        let length = self.number()?;
        let (part, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Reader(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &[u8] =
        b"\0asm\x01\0\0\0\x01\x02ab\0\x10\x04name\x00\x01x\x01\x06\x01\x85\x01\x02fn\0\x05\x03abcd\x0a\x01z";

    #[test]
    fn names_leave_and_all_else_stays() {
        let (bare, names) = split(MODULE).unwrap();
        assert_eq!(bare, b"\0asm\x01\0\0\0\x01\x02ab\0\x05\x03abcd\x0a\x01z");
        assert_eq!(names, "wasm-function[133] fn\n");
        assert_eq!(split(&bare), Some((bare.clone(), String::new())));
    }

    #[test]
    fn what_is_no_module_is_left_alone() {
        for end in [0, 7, 9, 11, 14, 20, 29] {
            assert_eq!(split(&MODULE[..end]), None, "{end}");
        }
        assert_eq!(split(b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\xff\xff"), None);
    }
}
