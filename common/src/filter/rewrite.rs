//! A piece of a body, rewritten or looked at as it passes. Envoy hands over pieces of many mebibytes where its buffers may be
//! that large, and linear memory never shrinks: so a piece is read in slices, what stays the same is not written,
//! and what is written waits with the host.

use super::env::{Body, Host, HostError};
use crate::http::Fault;

/// How much is read at once.
const SLICE: usize = 64 << 10;
/// For what is written beyond what was read.
const ROOM: usize = 128;
/// How much of what is to be written is kept here; more waits in filter state, which ends with the stream.
const KEPT: usize = 256 << 10;

/// Gets a slice, is told whether it is the last, and writes what is to be sent.
pub(super) type Edit<'a> = dyn FnMut(&[u8], bool, &mut Vec<u8>) -> Result<(), Fault> + 'a;

/// Why a piece is not what it was to become.
#[derive(Debug)]
pub(super) enum Broken {
    /// The filter says so.
    Fault(Fault),
    /// The host could not read or write it.
    Host(HostError),
}

impl From<HostError> for Broken {
    fn from(error: HostError) -> Self {
        Self::Host(error)
    }
}

/// Reads the piece of `size` bytes that the host has, and puts what `edit` makes of it in its place.
pub(super) fn rewrite(
    host: &dyn Host,
    body: Body,
    name: &str,
    size: usize,
    edit: &mut Edit<'_>,
) -> Result<(), Broken> {
    let mut waiting = Waiting { host, name, count: 0 };
    let mut out = Vec::with_capacity(SLICE.min(size) + ROOM);
    // As long as only this much of the piece itself was written, nothing need be.
    let mut same = Some(0);
    let mut start = 0;
    loop {
        let slice = read(host, body, start, SLICE.min(size - start))?;
        start += slice.len();
        let is_last = start >= size || slice.is_empty();
        edit(&slice, is_last, &mut out).map_err(Broken::Fault)?;
        match same {
            Some(_) if out == slice => {
                same = Some(start);
                out.clear();
            }
            Some(known) => {
                same = None;
                let changed = std::mem::take(&mut out);
                let mut at = 0;
                while at < known {
                    let slice = read(host, body, at, SLICE.min(known - at))?;
                    if slice.is_empty() {
                        return Err(HostError::Empty.into());
                    }
                    at += slice.len();
                    out.extend_from_slice(&slice);
                    waiting.take(&mut out);
                }
                out.extend_from_slice(&changed);
            }
            None => {}
        }
        waiting.take(&mut out);
        if is_last {
            break;
        }
    }
    match same {
        Some(_) => Ok(()),
        None => Ok(waiting.write(body, &out)?),
    }
}

/// Shows the piece of `size` bytes that the host has, slice by slice, and whether a slice is the last.
pub(super) fn observe(
    host: &dyn Host,
    body: Body,
    size: usize,
    see: &mut dyn FnMut(&[u8], bool),
) -> Result<(), HostError> {
    let mut start = 0;
    loop {
        let slice = read(host, body, start, SLICE.min(size - start))?;
        start += slice.len();
        let is_last = start >= size || slice.is_empty();
        see(&slice, is_last);
        if is_last {
            return Ok(());
        }
    }
}

/// Up to so many bytes of a body; where there is none, none.
pub(super) fn read(host: &dyn Host, body: Body, start: usize, size: usize) -> Result<Vec<u8>, HostError> {
    if size == 0 {
        return Ok(Vec::new());
    }
    match host.body(body, start, size) {
        Err(HostError::NotFound | HostError::Empty) => Ok(Vec::new()),
        read => read,
    }
}

/// Bytes that wait with the host.
struct Waiting<'a> {
    host: &'a dyn Host,
    name: &'a str,
    count: usize,
}

impl Waiting<'_> {
    fn key(&self, at: usize) -> String {
        format!("{}.waiting.{at}", self.name)
    }

    fn take(&mut self, out: &mut Vec<u8>) {
        if out.len() >= KEPT {
            self.host.set_property(&self.key(self.count), out);
            self.count += 1;
            out.clear();
        }
    }

    /// [rule 10] Whole, then only appended. Unbuffered, so the limit of rule 4 does not apply.
    fn write(self, body: Body, rest: &[u8]) -> Result<(), HostError> {
        for at in 0..self.count {
            let key = self.key(at);
            let bytes = self.host.property(&[&key]).filter(|bytes| !bytes.is_empty());
            let bytes = bytes.ok_or(HostError::NotFound)?;
            match at {
                0 => self.host.replace_body(body, &bytes)?,
                _ => self.host.append_body(body, &bytes)?,
            }
            self.host.set_property(&key, b"");
        }
        if self.count == 0 { self.host.replace_body(body, rest) } else { self.host.append_body(body, rest) }
    }
}
